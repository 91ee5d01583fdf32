"""What becomes of errors: one line and an exit code; a traceback only where it is asked for."""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from ta2n.cache_schema.errors import Ta2nError
from ta2n.cli.console import note

BAD_INPUT = 2
INTERRUPTED = 130
DEBUG = "TA2N_DEBUG"

_Arguments = ParamSpec("_Arguments")


def guarded(command: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """The command with its errors told in one line: exit code 2 for bad input, 1 for a bug, 130 after Ctrl-C."""

    @functools.wraps(command)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except typer.Exit:
            raise
        except Ta2nError as error:
            raise _told(f"error: {error}", BAD_INPUT) from error
        except KeyboardInterrupt as error:
            raise _told("stopped; run the same command again to continue", INTERRUPTED) from error
        except BrokenPipeError:
            # Whoever read our output has seen enough; Python must not try to flush it again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            kind = type(error).__name__
            raise _told(f"unexpected {kind}: {error} (a bug, or a broken machine; --debug shows where)", 1) from error

    return run


def _told(line: str, code: int) -> typer.Exit:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    note(line)
    return typer.Exit(code)
