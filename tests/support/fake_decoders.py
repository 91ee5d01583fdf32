"""Decode functions for `DecodePool` that misbehave as the clip's id tells them to."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

import numpy as np

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob


def obey(job: DecodeJob) -> DecodedClip:
    """Does what the clip's id says: a word before the colon, its argument behind."""
    word, _, argument = job.clip_id.partition(":")
    if word == "hang":
        hang()
    if word == "exit":
        os._exit(3)
    if word == "abort":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "raise":
        raise RuntimeError("surprise")
    if word == "print":
        sys.stdout.write("noise on standard output\n" * 1000)
        sys.stdout.flush()
    if word == "pid":
        raise DecodeError(str(os.getpid()))
    if word == "modules":
        raise DecodeError(" ".join(sorted(sys.modules)))
    if word == "report":  # that it runs, and by the end of the file that it does not any more
        with Path(argument).open("wb", buffering=0) as pipe:
            pipe.write(b"x")
            hang()
    return clip(job)


def clip(job: DecodeJob) -> DecodedClip:
    """A clip of one black frame."""
    index = np.zeros((1, 1), np.int32)
    return DecodedClip(job.clip_id, np.zeros((1, 2, 2, 3), np.uint8), index, index, 1, 25.0)


def hang() -> NoReturn:
    """Never returns, and lets other threads run, as decord does on some files."""
    while True:
        threading.Event().wait(3600)
