"""Flags made from settings classes: what a command gets, and what its help says."""

import dataclasses
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ta2n.cli.app import app as ta2n_app
from ta2n.cli.errors import guarded
from ta2n.cli.flags import Given, flags, literal
from ta2n.pipeline.config.options import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy:
    count: int = option(3, help="How many.", low=1, old="number")
    learning_rate: float = option(0.1, help="Rate.", above=0, flag="lr")
    switch: bool = option(False, help="A switch.", off="no-switch", shown="no-switch")
    other: str = option("a", help="Another.")


@pytest.fixture
def got() -> dict[str, Any]:
    return {}


@pytest.fixture
def app(got: dict[str, Any]) -> typer.Typer:
    made = typer.Typer(add_completion=False)

    @flags(Toy, without=("other",))
    def command(*, first: Annotated[int, typer.Option(help="First.")] = 1, given: Given, last: bool = False) -> None:
        """Do it."""
        got.update(first=first, given=given, last=last)

    made.command()(guarded(command))
    return made


def run(app: typer.Typer, *arguments: str) -> tuple[int, str]:
    made = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return made.exit_code, made.output


def test_only_what_is_said_is_given(app: typer.Typer, got: dict[str, Any]) -> None:
    assert run(app) == (0, "")
    assert got == {"first": 1, "given": {}, "last": False}
    assert run(app, "--lr", "2", "--no-switch", "--count", "4", "--last") == (0, "")
    assert got == {"first": 1, "given": {"lr": 2.0, "switch": False, "count": 4}, "last": True}
    assert run(app, "--number", "5")[0] == 0
    assert got["given"] == {"number": 5}


def test_what_is_not_there_or_out_of_range_is_refused(app: typer.Typer) -> None:
    assert run(app, "--other", "b")[0] == 2
    assert run(app, "--count", "0")[0] == 2
    assert run(app, "--count", "many")[0] == 2


def test_the_help_stands_in_the_place_of_given(app: typer.Typer) -> None:
    code, text = run(app, "--help")
    assert code == 0
    places = [text.index(flag) for flag in ("--first", "--count", "--lr", "--switch", "--last")]
    assert places == sorted(places)
    assert "How many. [default: 3]" in text
    assert "Do it." in text
    assert "--number" not in text


def test_a_command_can_be_called_from_python() -> None:
    seen = []

    @flags(Toy, only=("count",))
    def command(*, given: Given) -> None:
        seen.append(given)

    command()
    command(count=4)
    assert seen == [{}, {"count": 4}]


def test_words_in_brackets_are_shown() -> None:
    assert literal("N [default: 5], [1, 2] and [...]") == r"N \[default: 5], [1, 2] and [...]"


@pytest.mark.parametrize("command", [["extract"], ["train-head"], ["evaluate"], ["table"], ["cache", "import"]])
def test_no_default_is_taken_for_markup(command: list[str]) -> None:
    found = typer.main.get_command(ta2n_app)
    for name in command:
        found = found.commands[name]  # type: ignore[attr-defined]
    for parameter in found.params:
        text = getattr(parameter, "help", None) or ""
        assert literal(text.replace(r"\[", "[")) == text, parameter.name
