"""Recipes: settings of the commands in a TOML file, between what a protocol says and what a flag says."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.config.options import Option, closest


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


def read_recipe(file: Path, tables: Mapping[str, Mapping[str, Option]]) -> Recipe:
    """Reads a recipe.

    Args:
        file: the recipe.
        tables: what each of its tables may hold, by name: see :func:`~ta2n.pipeline.config.options.recipe_names`.

    Raises:
        MissingError: there is no such file.
        InputError: it is not TOML, or has a name or a value that no command has.
    """
    values = read_toml(file)
    _refuse_unknown(values, {"protocol", *tables}, file, "at the top")
    protocol = values.get("protocol")
    if protocol is not None and not isinstance(protocol, str):
        raise InputError(f"{file}: protocol is {protocol!r}, expected a name")
    return Recipe(protocol, **{name: check_table(values.get(name, {}), name, file, tables[name]) for name in tables})


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
    except (ValueError, RecursionError, OSError) as error:  # a number of 5,000 digits, or lists in lists, too
        raise InputError(f"{file}: not a TOML file ({error})") from error


def check_table(values: Any, name: str, file: Path, known: Mapping[str, Option]) -> Mapping[str, Any]:
    """One table of a recipe, if every name in it is an option of its command and every value one that it may have.

    Raises:
        InputError: otherwise; the message has the closest name there is, or what was expected.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{file}: [{name}] is {values!r}, expected a table of settings")
    _refuse_unknown(values, set(known), file, f"in [{name}]")
    for key, value in values.items():
        if problem := known[key].problem(value):
            raise InputError(f"{file}: {key} in [{name}] {problem}")
    return dict(values)


def _refuse_unknown(values: Mapping[str, Any], known: set[str], file: Path, where: str) -> None:
    for name in values:
        if name not in known:
            raise InputError(f"{file}: there is no setting {name!r} {where}; {closest(name, known)}")
