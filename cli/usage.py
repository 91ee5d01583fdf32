"""Errors in how a command is called, before it runs: one line, as all others are."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from ta2n.cli.console import note, shown_in_line

# Typer's errors of usage are those of click, or of its own copy of it: this is the class of either.
_UsageError: Any = typer.BadParameter.__base__


def require_values(given: Sequence[str]) -> None:
    """Refuses empty values: what they would mean differs from flag to flag, and none is ever meant.

    Raises:
        UsageError: a word of the line is empty, or a flag is followed by ``=`` and nothing.
    """
    for place, word in enumerate(given):
        if not word or re.fullmatch(r"--[a-z-]+=", word):
            before = given[place - 1] if place else "ta2n"
            raise _UsageError(f"{word.rstrip('=') or before} is followed by nothing; leave it out, or give a value")


def _told(error: Any) -> None:
    message = " ".join(error.format_message().split())
    if type(error).__name__ == "NoArgsIsHelpError":
        # The help is the message, unless it is on the screen already.
        if message:
            note(error.format_message())
        return
    # The first word is how the program was started.
    where = " ".join(["ta2n", *(error.ctx.command_path.split()[1:] if error.ctx else ())])
    note(shown_in_line(f"error: {message.rstrip('.')}; `{where} --help` lists what there is"))


class Commands(TyperGroup):
    """The commands of a program; an error of usage is told in one line, with where the flags are listed."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Runs the command that is named by ``args``: see ``click.Command.main``."""
        given = list(sys.argv[1:] if args is None else args)
        standalone_mode = more.pop("standalone_mode", True)
        try:
            require_values(given)
            found = super().main(given, *rest, **more | {"standalone_mode": False})
        except _UsageError as error:
            if not standalone_mode:
                raise
            _told(error)
            sys.exit(error.exit_code)
        if not standalone_mode:
            return found
        # What a command ends with where no error ends it: the code of typer.Exit, or nothing.
        sys.exit(found if isinstance(found, int) else 0)
