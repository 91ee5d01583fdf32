"""Flags made from the options of settings classes: names, help, ranges and defaults stand there and only there."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from ta2n.pipeline.config.options import Option, options

Given = dict[str, Any]
"""What was given on the line, by flag with underscores; the parameter of this name gives place to the flags."""


def literal(text: str) -> str:
    """A help text whose square brackets are shown: words in brackets would be taken for markup, and left out."""
    return re.sub(r"\[(?=[a-z])", r"\\[", text)


def flags(
    *tables: type, only: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the flags of settings classes, in the place of its parameter ``given``.

    Args:
        tables: the settings classes.
        only: fields to leave it at; empty for all.
        without: fields whose flags the command has in another form.
    """
    known = [
        one
        for table in tables
        for one in options(table)
        if one.field not in without and (not only or one.field in only)
    ]
    made = {one.flag: _flag(one) for one in known}
    made |= {one.old: _flag(one, name=one.old, hidden=True) for one in known if one.old}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = {name: values.pop(name, None) for name in made}
            command(**values, given={name: value for name, value in given.items() if value is not None})

        signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
        parameters = []
        for parameter in signature.parameters.values():
            if parameter.name == "given":
                parameters += [_parameter(name, kind, default=None) for name, kind in made.items()]
            else:
                parameters.append(_parameter(parameter.name, hints[parameter.name], default=parameter.default))
        # Typer reads both.
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _parameter(name: str, kind: Any, *, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _flag(one: Option, *, name: str | None = None, hidden: bool = False) -> Any:
    text = f"--{(name or one.flag).replace('_', '-')}"
    said: dict[str, Any] = {
        "help": literal(one.help_with_default),
        "min": None if one.low is None else one.kind(one.low),
        "max": None if one.high is None else one.kind(one.high),
        "metavar": one.metavar,
        "show_default": False,
        "hidden": hidden,
    }
    return Annotated[one.kind | None, typer.Option(f"{text}/--{one.off}" if one.off else text, **said)]
