"""Options that several commands share, and how their text becomes values."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ta2n.cache_schema.errors import InputError
from ta2n.cli.console import note
from ta2n.cli.flags import literal
from ta2n.pipeline.config.options import MOST_SEED

Cache = Annotated[Path, typer.Option("--cache", help="A feature store, or the folder that holds one.", metavar="PATH")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", metavar="NAME")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0, max=MOST_SEED)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV on stdout.")]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--split-file",
        help=literal(
            'A JSON file {"train": [classes], "val": [...], "test": [...]}; replaces the splits of the data set.'
        ),
        metavar="FILE",
    ),
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help=literal(
            "Named settings: ta2n-paper, ta2n-code or trx; a recipe and flags override them. [default: ta2n-paper]"
        ),
        metavar="NAME",
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="A TOML file of settings, between the protocol's and the flags.", metavar="FILE"),
]
HeadOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="An option of the head, e.g. tc=false; may be repeated.", metavar="NAME=VALUE"),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder of a named data set's clips, or one that holds it. \\[default: the variable TA2N_DATA]",
        metavar="FOLDER",
    ),
]
Splits = Annotated[
    Path | None,
    typer.Option(
        "--splits",
        help="Folder of a named data set's split lists. \\[default: fetched once, into the cache folder]",
        metavar="FOLDER",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", help="Which store, where --cache is a folder of several.", metavar="NAME"),
]


def now_called(flag: str, value: str | None, old: str, old_value: str | None) -> str | None:
    """The value of a flag that may be given by its name of before, which is told.

    Raises:
        InputError: both are given.
    """
    if old_value is None:
        return value
    if value is not None:
        raise InputError(f"{flag} and {old} are one option; give only {flag}")
    note(f"note: {old} is called {flag} now; the next version knows only that")
    return old_value


def whole(text: str, flag: str) -> int:
    """A whole number from a list on the line.

    Raises:
        InputError: the text is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{flag} has {text.strip()!r}, expected whole numbers separated by commas") from error


def numbers(text: str, flag: str, *, low: int) -> list[int]:
    """Different whole numbers from a list on the line.

    Raises:
        InputError: one is none, below ``low``, or given twice.
    """
    found = [whole(part, flag) for part in text.split(",")]
    if min(found) < low or len(set(found)) < len(found):
        raise InputError(f"{flag} {text}: expected different numbers of at least {low}, such as {low},{low + 4}")
    return found


def head_options(texts: list[str]) -> dict[str, Any]:
    """``["tc=false", "perturbation=0.1"]`` as keyword arguments; values are JSON, or text where they are not.

    Raises:
        InputError: a text has no ``=``, or a name is given twice.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        if not (name and equals):
            raise InputError(f"--option {text!r}: expected NAME=VALUE, e.g. --option tc=false")
        if name in options:
            raise InputError(f"--option {name} is given twice; once is enough")
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
    return options


def refuse(*wrong: tuple[bool, str]) -> None:
    """Refuses flags that would do nothing: each with whether it is one, and a sentence on why.

    Raises:
        InputError: the first of them.
    """
    for unused, why in wrong:
        if unused:
            raise InputError(why)
