"""The parent's side of one decoding process: start it, hand it a clip, wait for the answer, replace it."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import IO, Any, cast

from ta2n.cache_schema.errors import WorkerError
from ta2n.pipeline.videos.decode import Decode, DecodedClip, DecodeJob, FailedClip
from ta2n.pipeline.videos.worker import BOOTSTRAP

START_SECONDS = 120.0
END_SECONDS = 1.0

Child = subprocess.Popen[bytes]


class DecodeProcess:
    """A child process that decodes clips; used by one thread at a time, except for `kill`.

    The process starts with the first clip. It is replaced when it died, overran the deadline or did its share.
    """

    def __init__(self, decode: Decode, deadline_seconds: float, clips: int) -> None:
        self._function = decode
        self._deadline = deadline_seconds
        self._clips = clips
        self._clips_left = 0
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._closed = False

    def decode(self, job: DecodeJob) -> DecodedClip | FailedClip:
        """One clip; a crash or an overrun is an answer too, and costs the process.

        Raises:
            WorkerError: when no process can be started.
        """
        if self._clips_left == 0:
            self.end()
        try:
            child = self._hand_over(job)
        except OSError:  # it died while idle, through no fault of this clip
            self.end()
            child = self._hand_over(job)
        self._clips_left -= 1
        answer: DecodedClip | FailedClip | None
        answer, overran = _await_answer(child, self._deadline)
        if answer is not None and not overran:
            return answer
        code = self.end()
        if answer is not None:  # it came at the last moment, from a process that is ended by now
            return answer
        if overran:
            more = "`ta2n extract --retry-failed --deadline SECONDS` gives it more"
            return FailedClip(job.clip_id, f"{job.path}: not decoded within {self._deadline:g} s; {more}.")
        return FailedClip(job.clip_id, f"{job.path}: the decoding process {_how_it_ended(code)}.")

    def kill(self) -> None:
        """Ends the process at once and lets no other start; from any thread."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()

    def end(self) -> int | None:
        """Ends the process, if there is one, and waits for it; its exit code."""
        with self._lock:
            child, self._child = self._child, None
        return None if child is None else _end(child)

    def _hand_over(self, job: DecodeJob) -> Child:
        child = self._child or self._start()
        _send(child, job)
        return child

    def _start(self) -> Child:
        with self._lock:
            if self._closed:
                raise WorkerError("The decoding processes have been closed.")
            child = self._child = _spawn()
        self._clips_left = self._clips
        with contextlib.suppress(OSError):  # it died at once: no answer says so
            _send(child, sys.path)
            _send(child, self._function)
        trouble, overran = _await_answer(child, START_SECONDS)
        if trouble == "":
            return child
        code = self.end()
        why = f"it did not start within {START_SECONDS:g} s" if overran else trouble or f"it {_how_it_ended(code)}"
        raise WorkerError(f"The decoding process cannot start: {why}.")


def _spawn() -> Child:
    # One clip needs one core: the pools of idle threads that numpy would make are memory for nothing.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-c", BOOTSTRAP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the parent, which ends its children
    )


def _send(child: Child, message: Any) -> None:
    pipe = cast(IO[bytes], child.stdin)
    pickle.dump(message, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _await_answer(child: Child, seconds: float) -> tuple[Any, bool]:
    """What the child sends back, None if it ends first, and whether it was ended for taking too long."""
    overran = threading.Event()

    def give_up() -> None:
        overran.set()
        child.kill()

    # No thread can wait longer, some 300 years: an infinite deadline is none.
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), give_up)
    timer.daemon = True
    timer.start()
    try:
        answer = pickle.load(cast(IO[bytes], child.stdout))  # noqa: S301 - written by our own child
    except (EOFError, OSError, pickle.UnpicklingError):
        answer = None
    timer.cancel()
    timer.join()
    return answer, overran.is_set()


def _end(child: Child) -> int:
    """Closes the child's input, on which it exits by itself; kills it where it does not."""
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            cast(IO[bytes], pipe).close()
    try:
        return child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _how_it_ended(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    names = {member.value: member.name for member in signal.Signals}
    return f"was killed by signal {names.get(-code, -code)}"
