"""A run that fails, for whatever reason, ends neither the table nor the runs after it."""

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from ta2n.cache_schema.disk import explained
from ta2n.cache_schema.errors import Ta2nError

_LOG = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_LONGEST = 400


@dataclass(frozen=True)
class Failure:
    """What stands in place of a result.

    Attributes:
        reason: why there is none, in one line.
    """

    reason: str


def attempt(call: Callable[[], _Value]) -> _Value | Failure:
    """The value of a call, or why there is none; what ends the program (Ctrl-C, a closed pipe) passes."""
    try:
        return call()
    except BrokenPipeError:
        raise
    except Exception as error:
        _LOG.debug("a run failed", exc_info=True)
        failure = Failure(reason_of(error))
    # Not until here are the frames of the failed call gone, with the maps and gradients that they held.
    _free_memory()
    return failure


def reason_of(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, Ta2nError):
        return text
    kind = type(error).__name__
    if _is_memory(error):
        return _short(f"out of memory ({text or kind})")
    if line := explained(error):
        return _short(line)
    if isinstance(error, OSError):
        return _short(f"the system refused ({text or kind})")
    return _short(f"unexpected {kind}: {text} (a bug, or a broken machine)")


def _is_memory(error: Exception) -> bool:
    # torch raises a plain RuntimeError where a CPU has no more.
    no_more = ("allocate memory", "not enough memory", "out of memory")
    named = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in no_more)
    return named or isinstance(error, MemoryError | torch.OutOfMemoryError)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
