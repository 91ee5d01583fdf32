"""Calls commands with odd values and odd files, and counts what held.

    python tests/robustness/odd_invocations.py --count 300 --seed 0

A call *held* where it ended with its result and left what was there as it was, or with exit code 2, one line, and
nothing written. It *failed* where it ended with ``unexpected``, a traceback or another exit code, took too long, or
wrote although it was refused. The exit code is 1 where any failed.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from odd_values import BASES, CACHES, FILES, FLAGS, Base
from odd_world import entries, make_world
from typer.testing import CliRunner, Result

from ta2n.cli.app import app

SECONDS = 60


@dataclass(frozen=True)
class Trial:
    """One call: the words, and the command that they are of."""

    command: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a call: empty where it held, else what failed."""

    trial: Trial
    failed: str


class TooLongError(BaseException):
    """A call did not end; no error that a command could catch."""


def draw(generator: random.Random) -> Trial:
    """A call with one to three oddities."""
    command = generator.choice(sorted(BASES))
    base = BASES[command]
    words = list(base.words)
    for _ in range(generator.choice((1, 1, 1, 2, 2, 3))):
        _twist(words, base, generator)
    return Trial(command, tuple(words))


def _twist(words: list[str], base: Base, generator: random.Random) -> None:
    """Changes one thing about a call."""
    kind = generator.random()
    if kind < 0.75:
        flag = generator.choice(base.flags)
        values = FLAGS[flag]
        words += [flag] if values is None else [flag, generator.choice(values)]
    elif kind < 0.9:
        places = [place for place, word in enumerate(words) if word in base.paths]
        if places:
            words[generator.choice(places)] = generator.choice(FILES + CACHES)
    elif kind < 0.95:
        del words[generator.randrange(len(base.command), len(words))]
    else:
        words.append(generator.choice(("--no-such-flag", "word", "--", "-x", "--help", "--version", "\x1b[31m", "-")))


def attempt(trial: Trial, before: dict[str, str]) -> tuple[str, bool]:
    """Makes a call in the folder that is there.

    Args:
        trial: the call.
        before: what the folder holds.

    Returns:
        What failed, empty where nothing did; and whether the folder has changed.
    """
    try:
        with _time_limit():
            result = CliRunner().invoke(app, list(trial.words))
    except TooLongError:
        return f"did not end in {SECONDS} s", True
    after = entries(Path())
    return _judge(trial, result, before, after), after != before


def _judge(trial: Trial, result: Result, before: dict[str, str], after: dict[str, str]) -> str:
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        return "traceback: " + traceback.format_exception_only(error)[-1].strip()[:200]
    last = (result.stderr.strip().splitlines() or [""])[-1]
    if any(line.startswith(("unexpected ", "Traceback ")) for line in result.stderr.splitlines()):
        return last[:200]
    if any(character in result.output for character in "\x1b\x07"):
        return "control characters on the screen"
    if result.exit_code == 0:
        lost = [name for name, what in before.items() if after.get(name) != what and not _is_ours(name)]
        return f"exit 0, but {lost[0]} was changed" if lost else _odd_result(trial, result.stdout)
    if result.exit_code == 1 and _is_answer(trial, result):
        return ""
    if result.exit_code != 2:
        return f"exit code {result.exit_code}: {last[:150]}"
    if sum(line.startswith("error: ") for line in result.stderr.splitlines()) != 1 or not _one_line(last):
        return f"not one line: {result.stderr[:200]!r}"
    written = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"refused, but wrote {written[0]}" if written else ""


def _one_line(last: str) -> bool:
    # Differences between a store and a run are a list, with what to do below it.
    return last.startswith(("error: ", "use another --cache folder"))


def _is_ours(name: str) -> bool:
    """Whether a call that ends well may change it: a store or a run that it continues."""
    return name.split("/")[0] in ("feats", "run") or name.endswith((".lock", ".holder"))


def _is_answer(trial: Trial, result: Result) -> bool:
    """Exit code 1 as an answer: data that gives no episode, or not one clip that can be used."""
    return (trial.command == "dataset check" and "error: " not in result.stderr) or (
        trial.command == "extract" and "no clip could be used" in result.stderr
    )


def _odd_result(trial: Trial, stdout: str) -> str:
    if "--json" not in trial.words or not stdout.startswith(("{", "[")):
        return ""
    try:
        json.loads(stdout, parse_constant=_refuse_constant)
    except ValueError as error:
        return f"not JSON: {error}"
    return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_trials(count: int, seed: int, folder: Path) -> list[Outcome]:
    """Makes so many calls, each in the same world.

    Args:
        count: of calls.
        seed: of what is called.
        folder: empty; the world is made in it.

    Returns:
        What became of each.
    """
    generator = random.Random(seed)
    pristine, world = folder / "pristine", folder / "world"
    here = Path.cwd()
    make_world(pristine)
    shutil.copytree(pristine, world, symlinks=True)
    outcomes = []
    try:
        os.chdir(world)
        before = entries(Path())
        for _ in range(count):
            trial = draw(generator)
            failed, changed = attempt(trial, before)
            outcomes.append(Outcome(trial, failed))
            if changed:
                os.chdir(folder)
                shutil.rmtree(world)
                shutil.copytree(pristine, world, symlinks=True)
                os.chdir(world)
    finally:
        os.chdir(here)
    return outcomes


def table_of(outcomes: list[Outcome]) -> str:
    """The counts by command, as the table that a person reads."""
    tried = Counter(one.trial.command for one in outcomes)
    failed = Counter(one.trial.command for one in outcomes if one.failed)
    rows = [(name, tried[name], tried[name] - failed[name], failed[name]) for name in sorted(tried)]
    rows.append(("all", len(outcomes), len(outcomes) - failed.total(), failed.total()))
    lines = [f"{'command':14} {'tried':>6} {'held':>6} {'failed':>6}"]
    lines += [f"{name:14} {one:6} {two:6} {three:6}" for name, one, two, three in rows]
    return "\n".join(lines)


def main() -> None:
    """Runs the trials and prints the table; every call that failed is named before it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="calls to make")
    parser.add_argument("--seed", type=int, default=0, help="of what is called")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_trials(given.count, given.seed, Path(folder))
    for one in outcomes:
        if one.failed:
            sys.stdout.write(f"ta2n {' '.join(map(repr, one.trial.words))}\n    {one.failed}\n")
    sys.stdout.write(table_of(outcomes) + "\n")
    sys.exit(any(one.failed for one in outcomes))


if __name__ == "__main__":
    main()
