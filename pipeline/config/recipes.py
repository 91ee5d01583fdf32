"""Recipes: settings of the commands in a TOML file, between what a protocol says and what a flag says."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ta2n.cache_schema.errors import InputError, MissingError

# The names of each command's flags, with underscores, and what a value may be.
_NUMBER = (int, float)
EXTRACT: Mapping[str, type | tuple[type, ...]] = {
    "backbone": str,
    "weights": str,
    "frames": int,
    "rule": str,
    "views": int,
    "flip": bool,
    "resize": str,
    "normalise": str,
    "seed": int,
}
TRAIN: Mapping[str, type | tuple[type, ...]] = {
    "way": int,
    "queries": int,
    "frames": int,
    "epochs": int,
    "episodes": int,
    "accumulate": int,
    "objective": str,
    "optimizer": str,
    "lr": _NUMBER,
    "dropout": _NUMBER,
    "project": int,
    "val_episodes": int,
    "patience": int,
    "seed": int,
}
TEST: Mapping[str, type | tuple[type, ...]] = {"way": int, "shot": int, "queries": int, "episodes": int, "seed": int}
TABLES = {"extract": EXTRACT, "train": TRAIN, "test": TEST}


@dataclass(frozen=True)
class Recipe:
    """What a file says; empty where it says nothing.

    Attributes:
        protocol: name of the protocol that the rest is set against.
        extract: settings of ``ta2n extract``.
        train: of ``ta2n train-head``.
        test: of ``ta2n evaluate``.
    """

    protocol: str | None = None
    extract: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)


def read_recipe(file: Path) -> Recipe:
    """Reads a recipe.

    Raises:
        MissingError: there is no such file.
        InputError: it is not TOML, or has a name or a type of value that no command has.
    """
    values = read_toml(file)
    _refuse_unknown(values, {"protocol", *TABLES}, file, "at the top")
    protocol = values.get("protocol")
    if protocol is not None and not isinstance(protocol, str):
        raise InputError(f"{file}: protocol is {protocol!r}, expected a name")
    return Recipe(protocol, **{name: check_table(values.get(name, {}), name, file) for name in TABLES})


def read_toml(file: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        MissingError: there is no such file.
        InputError: it is not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{file}: there is no such recipe") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file}: not a TOML file ({error})") from error


def check_table(values: Any, name: str, file: Path) -> Mapping[str, Any]:
    """One table of a recipe, if every name in it is a flag of its command and every value of the flag's type.

    Raises:
        InputError: otherwise; the message has the closest name there is.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{file}: [{name}] is {values!r}, expected a table of settings")
    _refuse_unknown(values, set(TABLES[name]), file, f"in [{name}]")
    for key, value in values.items():
        wanted = TABLES[name][key]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            kinds = " or ".join(kind.__name__ for kind in (wanted if isinstance(wanted, tuple) else (wanted,)))
            raise InputError(f"{file}: {key} in [{name}] is {value!r}, expected {kinds}")
    return dict(values)


def _refuse_unknown(values: Mapping[str, Any], known: set[str], file: Path, where: str) -> None:
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
            raise InputError(f"{file}: there is no setting {name!r} {where}; {meant}")


def first_given(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Every name of the layers with its first value that is not None: flags, then recipe, then protocol."""
    names = dict.fromkeys(name for layer in layers for name in layer)
    found = {name: next((la[name] for la in layers if la.get(name) is not None), None) for name in names}
    return {name: value for name, value in found.items() if value is not None}
