"""What becomes of errors: one line and an exit code; a traceback only where it is asked for."""

import functools
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec

import typer

from ta2n.cache_schema.disk import explained
from ta2n.cache_schema.errors import ManifestMismatchError, Ta2nError
from ta2n.cli.console import note, shown_in_line

BAD_INPUT = 2
INTERRUPTED = 130
DEBUG = "TA2N_DEBUG"
_LONGEST = 2000

# How torch says it, which has no kind of its own for a CPU.
_NO_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)

_Arguments = ParamSpec("_Arguments")


def guarded(command: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """The command with its errors told in one line.

    A command's flag ``wait`` has it wait for another writer, which is then told, instead of ending in an error.

    The exit code is 2 for what the user can mend, such as a disk that is full, 1 for a bug, 130 after Ctrl-C.
    """

    @functools.wraps(command)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            with _waiting() if kwargs.get("wait") else nullcontext():
                command(*args, **kwargs)
        except typer.Exit:
            raise
        except ManifestMismatchError as error:  # a list of differences, a line each
            raise _told(f"error: {error}", BAD_INPUT) from error
        except Ta2nError as error:
            raise _told(f"error: {_one_line(str(error))}", BAD_INPUT) from error
        except KeyboardInterrupt as error:
            raise _told("stopped; run the same command again to continue", INTERRUPTED) from error
        except BrokenPipeError:
            # Whoever read our output has seen enough; Python must not try to flush it again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            if line := _explained(error):
                raise _told(f"error: {_one_line(line)}", BAD_INPUT) from error
            line = _one_line(f"unexpected {type(error).__name__}: {error}")
            raise _told(f"{line} (a bug, or a broken machine; --debug shows where)", 1) from error

    return run


def _waiting() -> AbstractContextManager[None]:
    from ta2n.cache_schema.lock import waiting

    return waiting(note)


def _one_line(text: str) -> str:
    """Text in one line that can be read: of a very long one, both ends."""
    text = shown_in_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def _explained(error: Exception) -> str | None:
    """An error that none of ours raised and that is no bug, in one line; None for all others."""
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object}: is not UTF-8, and cannot be written down; rename it, or use a link of another name"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        what = (str(error).strip().splitlines() or ["the system gives no more"])[0]
        return f"not enough memory ({what[:200]}); ask for less at once, or free some"
    return explained(error)


def _told(line: str, code: int) -> typer.Exit:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    note(line)
    return typer.Exit(code)
