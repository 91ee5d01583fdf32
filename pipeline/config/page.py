"""The options of recipes and protocols as the table of docs/protocols.md."""

from collections.abc import Mapping, Sequence

from ta2n.pipeline.config.options import Option, options
from ta2n.pipeline.config.protocols import PROTOCOLS

_KINDS = {int: "whole number", float: "number", str: "text", bool: "true, false"}


def options_table(tables: Mapping[str, Sequence[type]]) -> str:
    """A Markdown table with a line for every option that a recipe may hold.

    Args:
        tables: the settings classes behind each table of a recipe.
    """
    lines = ["| recipe | flag | | values | default |", "|---|---|---|---|---|"]
    for table, classes in tables.items():
        lines += [_line(table, one) for own in classes for one in options(own) if one.recipe]
    return "\n".join(lines) + "\n"


def _line(table: str, one: Option) -> str:
    flag = f"--{one.flag.replace('_', '-')}"
    cells = [f"`[{table}]` `{one.recipe}`", f"`{flag}`", one.help, _values(one), _default(one)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(one: Option) -> str:
    if one.choices:
        return ", ".join(f"`{choice}`" for choice in one.choices)
    return _KINDS[one.kind] if one.range == "any" else f"{_KINDS[one.kind]}, {one.range}"


def _default(one: Option) -> str:
    """What is used where nobody says anything; by protocol, where protocols differ."""
    if one.shown is not None or not one.protocol:
        return one.shown or ("" if one.default is None else f"`{one.default}`")
    by_value: dict[str, list[str]] = {}
    for name, protocol in PROTOCOLS.items():
        by_value.setdefault(f"`{getattr(protocol, one.protocol)}`", []).append(name)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{value} in {', '.join(names)}" for value, names in by_value.items())
