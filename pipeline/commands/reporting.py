"""How a command tells its caller what it does: lines worth knowing, and how far it is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """How far a command is.

    Attributes:
        what: is under way, e.g. ``training``.
        done: units done.
        total: units in all.
        unit: what is counted, e.g. ``episodes``.
        text: a few words more.
    """

    what: str
    done: int
    total: int
    unit: str
    text: str = ""


OnNote = Callable[[str], None]
OnProgress = Callable[[Step], None]
# What a Python user may give for a file or a folder.
AnyPath = Path | str


def path_of(value: AnyPath | None) -> Path | None:
    """The path that is meant; None stays None."""
    return None if value is None else Path(value)


def tell(notes: Iterable[str], on_note: OnNote | None) -> None:
    """Hands lines to the caller, where it listens."""
    if on_note:
        for line in notes:
            on_note(line)
