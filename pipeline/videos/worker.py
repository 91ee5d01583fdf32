"""The child side of `DecodePool`: a process that decodes one clip after another until its input closes.

Runs as `python -c` with pickles on standard input and output, so that it needs nothing of the parent's main module.
"""

import os
import pickle
import queue
import sys
import threading
from dataclasses import replace
from typing import Any, BinaryIO

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.damage import ErrorMessages, report_errors
from ta2n.pipeline.videos.decode import Decode, DecodedClip, DecodeJob, FailedClip

# What the parent starts. The first pickle is the parent's search path: later ones name functions to be found on it.
BOOTSTRAP = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from ta2n.pipeline.videos.worker import main
main()
"""


def main() -> None:
    """Answers every job until the input closes; the first answer says that it is ready ("") or what the trouble is."""
    answers = _take_over_standard_output()
    try:
        decode = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
        _prepare()
    except Exception as error:
        _send(answers, f"{type(error).__name__}: {error}")
        sys.exit(1)
    _send(answers, "")
    messages = ErrorMessages()
    jobs: queue.SimpleQueue[DecodeJob] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    while True:
        _send(answers, _answer(decode, jobs.get(), messages))


def _answer(decode: Decode, job: DecodeJob, messages: ErrorMessages) -> DecodedClip | FailedClip:
    messages.take()
    try:
        return replace(decode(job), concealed=messages.take())
    except DecodeError as error:
        return FailedClip(job.clip_id, str(error))
    except Exception as error:
        return FailedClip(job.clip_id, f"{job.path}: unexpected {type(error).__name__} while decoding: {error}")


def _read_jobs(jobs: "queue.SimpleQueue[DecodeJob]") -> None:
    """Ends the process as soon as the parent is gone, even while a decode hangs in the other thread."""
    while True:
        try:
            jobs.put(pickle.load(sys.stdin.buffer))  # noqa: S301 - written by our own parent
        except (EOFError, OSError, pickle.UnpicklingError):
            os._exit(0)


def _take_over_standard_output() -> BinaryIO:
    """The parent's end of standard output for answers only; whatever else prints goes nowhere."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return answers


def _prepare() -> None:
    """Imports the decoders before the first clip, so that a broken installation is one clear error."""
    import ta2n.pipeline.videos.av_reader  # PyAV before decord, see `report_errors`
    import ta2n.pipeline.videos.reader  # noqa: F401

    report_errors()


def _send(answers: BinaryIO, message: Any) -> None:
    pickle.dump(message, answers, protocol=pickle.HIGHEST_PROTOCOL)
    answers.flush()
