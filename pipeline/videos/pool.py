"""Decoding ahead in processes of their own, so that no clip can hang, crash or bloat the run.

One thread per process hands it a clip and waits, at most until the deadline. decord cannot be interrupted, so a clip
that overruns costs its process, and nothing else: the clip is recorded as failed and a new process takes the next.
Plain child processes rather than `multiprocessing`: they work inside daemonic workers, need no guard around the
user's main module and do not import it.
"""

import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.videos.decode import Decode, DecodedClip, DecodeJob, FailedClip, decode_clip
from ta2n.pipeline.videos.process import DecodeProcess

AHEAD_PER_WORKER = 2
LISTEN_SECONDS = 0.5


class DecodePool:
    """A few processes that decode ahead of a consumer; use as a context manager.

    ::

        with DecodePool(workers=4) as pool:
            for clip in pool.map(jobs):
                ...

    Args:
        workers: processes, at least 1; each decodes one clip at a time.
        deadline_seconds: wall-clock time that one clip may take before it is given up; infinity for no limit.
        clips_per_process: a process is replaced after this many clips, as decord's memory grows with use.
        decode: the function that runs in the processes, importable there by its name.

    Raises:
        InputError: for a number that is not positive.
    """

    def __init__(
        self,
        *,
        workers: int,
        deadline_seconds: float = 30.0,
        clips_per_process: int = 500,
        decode: Decode = decode_clip,
    ) -> None:
        if workers < 1 or not deadline_seconds > 0 or clips_per_process < 1:
            raise InputError(
                "Decoding needs workers >= 1, a deadline > 0 s and clips_per_process >= 1, "
                f"got {workers}, {deadline_seconds} and {clips_per_process}."
            )
        self.look_ahead = AHEAD_PER_WORKER * workers
        self._processes = [DecodeProcess(decode, deadline_seconds, clips_per_process) for _ in range(workers)]
        self._idle: queue.SimpleQueue[DecodeProcess] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def map(self, jobs: Iterable[DecodeJob]) -> Iterator[DecodedClip | FailedClip]:
        """Decodes clips and gives them in the order of `jobs`, with at most `look_ahead` clips taken and not given.

        `jobs` may be lazy: it is read in the consumer's thread, no further than clips are decoded ahead.

        Raises:
            WorkerError: when a decoding process cannot start.
        """
        waiting: deque[Future[DecodedClip | FailedClip]] = deque()
        try:
            for job in jobs:
                waiting.append(self._threads.submit(self._decode, job))
                if len(waiting) == self.look_ahead:
                    yield _result_of(waiting.popleft())
            while waiting:
                yield _result_of(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Ends all processes, whatever they are doing; clips in flight are lost. May be called twice."""
        for process in self._processes:
            process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.end()

    def _decode(self, job: DecodeJob) -> DecodedClip | FailedClip:
        process = self._idle.get()
        try:
            return process.decode(job)
        finally:
            self._idle.put(process)


def _result_of(future: Future[DecodedClip | FailedClip]) -> DecodedClip | FailedClip:
    # A wait without end can miss Ctrl-C: where another thread happens to take the signal, nothing wakes this one.
    while not future.done():
        wait([future], timeout=LISTEN_SECONDS)
    return future.result()
