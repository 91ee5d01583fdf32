"""Who is heard first: what was given, else the recipe, else the protocol, else the usual."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.config.options import closest, options, recipe_names
from ta2n.pipeline.config.protocols import PROTOCOLS, Protocol
from ta2n.pipeline.config.recipes import Recipe, read_recipe

DEFAULT_PROTOCOL = "ta2n-paper"
_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class Chosen:
    """The protocol and the recipe of a call.

    Attributes:
        name: of the protocol.
        protocol: its settings.
        recipe: what its file says; empty where there is none.
        notes: lines that the caller should know of.
    """

    name: str
    protocol: Protocol
    recipe: Recipe
    notes: tuple[str, ...] = ()


def choose(name: str | None, recipe: Path | None, tables: Mapping[str, Sequence[type]]) -> Chosen:
    """The protocol that the caller or else a recipe names, and the recipe.

    Args:
        name: of the protocol; None where the caller does not say.
        recipe: its file; None for none.
        tables: the settings classes behind each table of a recipe.

    Raises:
        InputError: there is no such protocol, or the recipe has what no command has.
        MissingError: there is no such file.
    """
    read = read_recipe(recipe, {table: recipe_names(*kinds) for table, kinds in tables.items()}) if recipe else Recipe()
    wanted = next(one for one in (name, read.protocol, DEFAULT_PROTOCOL) if one is not None)
    if wanted not in PROTOCOLS:
        raise InputError(f"protocol {wanted!r} is not known; choose one of {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[wanted]
    return Chosen(wanted, protocol, read, (f"note: protocol {wanted}: {protocol.note}",) if protocol.note else ())


def given_fields(tables: Sequence[type], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What a caller gave by the names of flags, by the names of fields; and notes on names of before.

    Args:
        tables: the settings classes whose options may be given.
        given: values by flag, with underscores; None is nothing said.

    Raises:
        InputError: there is no such option; it is given by its name of before as well; or a value is out of range.
    """
    known = [one for table in tables for one in options(table)]
    by_flag = {one.flag: one for one in known} | {one.old: one for one in known if one.old}
    values: dict[str, Any] = {}
    notes = []
    for name, value in given.items():
        if name not in by_flag:
            raise InputError(f"there is no option {name!r}; {closest(name, [one.flag for one in known])}")
        one = by_flag[name]
        if value is None:
            continue
        if one.field in values:
            raise InputError(f"{_flag(one.flag)} and {_flag(name)} are one option; give only {_flag(one.flag)}")
        if problem := one.problem(value):
            raise InputError(f"{one.field.replace('_', ' ')} {problem}")
        if name == one.old:
            notes.append(f"note: {_flag(name)} is called {_flag(one.flag)} now; the next version knows only that")
        values[one.field] = value
    return values, notes


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def recipe_fields(tables: Sequence[type], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a table of a recipe says, by the names of fields."""
    known = recipe_names(*tables)
    return {known[name].field: value for name, value in values.items()}


def resolve(tables: Sequence[type], layers: Iterable[Mapping[str, Any]], protocol: Protocol) -> dict[str, Any]:
    """The value of every option of some settings classes, by field.

    Args:
        tables: the settings classes.
        layers: values by field, the first heard first; None is nothing said.
        protocol: is heard after the layers, before the defaults of the fields.
    """
    known = [one for table in tables for one in options(table)]
    said = {one.field: getattr(protocol, one.protocol) for one in known if one.protocol}
    heard = first_given(*layers, said, {one.field: one.default for one in known})
    return {one.field: heard.get(one.field) for one in known}


def make(table: type[_Settings], values: Mapping[str, Any], **more: Any) -> _Settings:
    """The settings of a class, from values by field of which some may belong to other classes.

    Args:
        table: the settings class.
        values: of its options, by field.
        more: its fields that are no options.

    Raises:
        InputError: a value is of another type or out of its range.
    """
    return table(**{one.field: values[one.field] for one in options(table) if one.field in values}, **more)


def first_given(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Every name of the layers with its first value that is not None."""
    names = dict.fromkeys(name for layer in layers for name in layer)
    found = {name: next((la[name] for la in layers if la.get(name) is not None), None) for name in names}
    return {name: value for name, value in found.items() if value is not None}
