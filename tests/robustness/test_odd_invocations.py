"""A short sample of the odd calls; ``odd_invocations.py`` makes hundreds."""

import random
from pathlib import Path

import odd_invocations
import odd_values
import odd_world
import pytest
import typer

from ta2n.cli.app import app

COUNT = 24


def test_odd_calls_hold(tmp_path: Path) -> None:
    outcomes = odd_invocations.run_trials(COUNT, seed=2, folder=tmp_path)
    assert len(outcomes) == COUNT
    failed = [(" ".join(one.trial.words), one.failed) for one in outcomes if one.failed]
    assert not failed, odd_invocations.table_of(outcomes)


def test_a_seed_draws_the_same_calls_and_every_command_comes_up() -> None:
    first, again = ([odd_invocations.draw(random.Random(seed)) for seed in range(300)] for _ in range(2))
    assert first == again
    assert {trial.command for trial in first} == set(odd_values.BASES)


@pytest.mark.parametrize("name", odd_values.BASES)
def test_the_odd_flags_are_flags_of_their_command(name: str) -> None:
    found = typer.main.get_command(app)
    base = odd_values.BASES[name]
    for word in base.command:
        found = found.commands[word]  # type: ignore[attr-defined]
    known = {text for parameter in found.params for text in (*parameter.opts, *parameter.secondary_opts)}
    assert set(base.flags) <= known


def judged(words: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bool]:
    monkeypatch.chdir(folder)
    trial = odd_invocations.Trial("toy", words)
    return odd_invocations.attempt(trial, odd_world.entries(Path()))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """Commands that do what none should."""
    made = typer.Typer()

    @made.command()
    def crash() -> None:
        raise KeyError("crash")

    @made.command()
    def write() -> None:
        Path("left").write_text("")
        typer.echo("error: refused", err=True)
        raise typer.Exit(2)

    @made.command()
    def mute() -> None:
        raise typer.Exit(2)

    @made.command()
    def one() -> None:
        raise typer.Exit(1)

    @made.command()
    def overwrite() -> None:
        Path("theirs").write_text("ours")

    @made.command()
    def colour() -> None:
        typer.echo("\x1b[31m")

    monkeypatch.setattr(odd_invocations, "app", made)
    return made


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(
    ("word", "failed", "changed"),
    [
        ("crash", "traceback: KeyError: 'crash'", False),
        ("write", "refused, but wrote left", True),
        ("mute", "not one line: ''", False),
        ("one", "exit code 1: ", False),
        ("overwrite", "exit 0, but theirs was changed", True),
        ("colour", "control characters on the screen", False),
    ],
)
def test_what_fails_is_seen(
    tmp_path: Path, word: str, failed: str, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").write_text("theirs")
    assert judged((word,), tmp_path, monkeypatch) == (failed, changed)
