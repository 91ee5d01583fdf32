"""One option, one place: a field of a settings class says all there is to say of an option.

From these fields are made the flags of the commands with their help, what a recipe may hold, the arguments of the
Python functions, the defaults, the ranges, and the table of docs/protocols.md. Nothing heavy is imported here, as
``ta2n --help`` needs the fields too::

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        learning_rate: float = option(1e-3, help="Learning rate.", recipe="lr", above=0, protocol="learning_rate")

        def __post_init__(self) -> None:
            check(self)
"""

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ta2n.cache_schema.errors import InputError

MOST_SEED = 2**63 - 1
"""The greatest seed that numpy and torch both take."""
MOST_CLIPS = 10_000
"""N, K and queries of a class at most: what is estimated of an episode must not overflow."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a command.

    Attributes:
        field: its name in the settings class.
        kind: what a value is: ``int``, ``float``, ``str`` or ``bool``.
        default: where nobody says anything, not even the protocol.
        help: a sentence for a person.
        low: the least value.
        high: the greatest value.
        above: every value is greater than this.
        choices: the values there are; empty where that is not known here.
        protocol: the field of a :class:`~ta2n.pipeline.config.protocols.Protocol` that holds its default.
        recipe: its name in a recipe; None where recipes do not have it.
        flag: its name on the command line and in Python, with underscores.
        old: what the flag was called before.
        off: the flag of a switch that turns it off, where it has one.
        metavar: what stands for a value in the help.
        shown: what the help says of the default, where that is not the default itself; empty for nothing.
    """

    field: str
    kind: type
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    protocol: str | None = None
    recipe: str | None
    flag: str
    old: str | None = None
    off: str | None = None
    metavar: str | None = None
    shown: str | None = None

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, as the end of a sentence; None where it can be used."""
        if value is None and self.default is None:
            return None
        wanted = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, wanted) or (isinstance(value, bool) and self.kind is not bool):
            return f"is {value!r}, expected {' or '.join(kind.__name__ for kind in wanted)}"
        if self.choices and value not in self.choices:
            return f"{value!r} is not known; choose {' or '.join(self.choices)}"
        if isinstance(value, int | float) and not self._within(value):
            return f"is {value}, expected {self.range}"
        # Written like the ranges: what is no number is outside.
        if self.kind is float and isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
            return f"is {value}, expected a number that has an end"
        return None

    def _within(self, value: float) -> bool:
        # Written so that a number that is none (NaN) is outside.
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )

    @property
    def range(self) -> str:
        """The values there are, in words."""
        if self.above is not None:
            return f"more than {self.above:g}"
        if self.high is not None:
            return f"{_number(self.low)} to {_number(self.high)}"
        return f"at least {_number(self.low)}" if self.low is not None else "any"

    @property
    def help_with_default(self) -> str:
        """The help, and what is used where nobody says anything."""
        shown = self.shown
        if shown is None and self.protocol:
            shown = "the protocol's"
        if shown is None and self.default is not None:
            shown = str(self.default)
        return f"{self.help} [default: {shown}]" if shown else self.help


def _number(value: float | None) -> str:
    # Whole numbers in full: no 9.22337e+18.
    return str(value) if isinstance(value, int) else f"{value:g}"


def option(default: Any, *, help: str, **said: Any) -> Any:  # noqa: A002 (the word for it)
    """A field of a settings class that is an option: see :class:`Option` for what may be said of it."""
    return dataclasses.field(default=default, metadata={"option": {"help": help, **said}})


def options(table: type) -> tuple[Option, ...]:
    """The options among the fields of a settings class, in their order."""
    kinds = typing.get_type_hints(table)
    return tuple(_bound(field, kinds[field.name]) for field in dataclasses.fields(table) if "option" in field.metadata)


def _bound(field: "dataclasses.Field[Any]", kind: Any) -> Option:
    said = dict(field.metadata["option"])
    recipe = said.pop("recipe", field.name)
    flag = said.pop("flag", recipe or field.name)
    if isinstance(kind, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
    return Option(field=field.name, kind=kind, default=field.default, recipe=recipe, flag=flag, **said)


def one_option(table: type, field: str) -> Option:
    """The option of one field."""
    return next(one for one in options(table) if one.field == field)


def recipe_names(*tables: type) -> dict[str, Option]:
    """The options that a recipe's table may hold, by their names in it."""
    return {one.recipe: one for table in tables for one in options(table) if one.recipe is not None}


def check(settings: Any) -> None:
    """Refuses settings with a value of another type than its field's, or out of its range.

    Raises:
        InputError: names the field, the value, and what was expected.
    """
    for one in options(type(settings)):
        if problem := one.problem(getattr(settings, one.field)):
            raise InputError(f"{one.field.replace('_', ' ')} {problem}")


def takes(*tables: type) -> Callable[[_Function], _Function]:
    """Shows the options of some settings classes in the signature of a function that takes them as ``**settings``."""

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        taken = {one.name for one in own}
        more = [
            inspect.Parameter(one.flag, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=one.kind | None)
            for table in tables
            for one in options(table)
            if one.flag not in taken
        ]
        function.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
        return function

    return decorate


def closest(name: str, known: Iterable[str]) -> str:
    """What a person may have meant by a name that is not known."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
