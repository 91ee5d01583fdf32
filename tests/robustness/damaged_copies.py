"""Damages copies of stores, exports, checkpoints, runs and lists of episodes, and uses them.

    python tests/robustness/damaged_copies.py --count 200 --seed 0

Held: every command gives the numbers of the undamaged one, says that clips are not extracted yet, or refuses in one
line that names the file, and where one refuses a store `ta2n cache verify` has something to say too. Failed: other
numbers, `unexpected`, a traceback, a crash.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _damage import PLAIN, TABLE, edit_header, edit_json, swap_files
from _episode_edits import edit_signed
from _processes import command, start, warm_up
from _store import numbers, require, train, write_store
from _trials import Trial, run_trials

KINDS = ("zarr", "hdf5", "hdf5 gzip", "checkpoint", "run", "episodes")
_EPISODES = ("--way", "3", "--test-episodes", "60", "--json")
_REFUSED, _FOUND = 2, 1

Arguments = Sequence[str | Path]


@dataclass(frozen=True)
class Subject:
    """What is damaged and how it is used.

    Attributes:
        name: of the file or folder in the folder of the originals.
        damage: given the copy; says what it did.
        use: commands on the copy.
    """

    name: str
    damage: Callable[[np.random.Generator, Path], str]
    use: Callable[[Path], Sequence[Arguments]]


@dataclass(frozen=True)
class Outcome:
    """What a command came to: its exit code, the numbers it gave, and its lines of errors."""

    command: str
    code: int
    numbers: Any
    errors: tuple[str, ...]
    pending: bool = False
    """Whether it says that clips are not extracted yet: what a lost state is, and a killed run's."""


def main(given: Sequence[str] | None = None) -> int:
    """Runs the trials that are asked for."""
    return run_trials(__doc__ or "", KINDS, _prepare, count=200, given=given)


def _prepare(folder: Path, kinds: Sequence[str]) -> Mapping[str, Trial]:
    warm_up()
    require(start(lambda: write_store(folder), folder / "store.log").wait())
    store, file = folder / "toy.zarr", folder / "episodes.json"
    evaluate = ("evaluate", "--cache", store, "--method", "protonet", "--episodes-file", file, *_EPISODES)
    for arguments in (
        ("cache", "export", store, folder / "toy.h5"),
        ("cache", "export", store, folder / "packed.h5", "--compression", "gzip"),
        train(store, folder / "run", epochs=1),
        evaluate,
    ):
        require(start(command(arguments), folder / "given.log").wait())
    made = {kind: subject for kind, subject in _subjects(store).items() if kind in kinds}
    return {kind: partial(_trial, subject, folder, _used(subject, folder)) for kind, subject in made.items()}


def _subjects(store: Path) -> Mapping[str, Subject]:
    def of_store(path: Path) -> Sequence[Arguments]:
        run = path.parent / "trained"
        tested = ("evaluate", "--cache", path, "--method", "protonet", *_EPISODES)
        return ("cache", "verify", path, "--json"), tested, train(path, run, epochs=1), ("cache", "info", path)

    def tested(path: Path) -> Arguments:
        return ("evaluate", "--cache", store, "--checkpoint", path, *_EPISODES)

    def listed(path: Path) -> Arguments:
        return ("evaluate", "--cache", store, "--method", "protonet", "--episodes-file", path, *_EPISODES)

    return {
        "zarr": Subject("toy.zarr", _damage_store, of_store),
        "hdf5": Subject("toy.h5", partial(_one_of, {**PLAIN, **TABLE}), of_store),
        "hdf5 gzip": Subject("packed.h5", partial(_one_of, {**PLAIN, **TABLE}), of_store),
        "checkpoint": Subject(
            "run/best.safetensors", partial(_one_of, {**PLAIN, **_HEADER}), lambda path: [tested(path)]
        ),
        "run": Subject("run", _damage_run, lambda path: [train(store, path, epochs=3), tested(path)]),
        "episodes": Subject("episodes.json", partial(_one_of, {**PLAIN, **_SIGNED}), lambda path: [listed(path)]),
    }


_HEADER = {"header": edit_header, "header ": edit_header}  # twice: as often again as any other
_SIGNED = {f"signed{' ' * number}": edit_signed for number in range(10)}


def _one_of(damages: Mapping[str, Any], rng: np.random.Generator, path: Path) -> str:
    name = list(damages)[int(rng.integers(len(damages)))]
    return f"{path.name}: {damages[name](rng, path)}"


def _damage_store(rng: np.random.Generator, store: Path) -> str:
    """Damages one array's file, however many files the others have; or the JSON; or exchanges shards."""
    if rng.random() < 0.15:
        return swap_files(rng, store)
    arrays = sorted({path.relative_to(store).parts[0] for path in store.rglob("*") if path.is_file()})
    part = store / arrays[int(rng.integers(len(arrays)))]
    files = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
    file = files[int(rng.integers(len(files)))]
    damages = {**PLAIN, "edit": edit_json, "edit ": edit_json} if file.suffix == ".json" else {**PLAIN, **TABLE}
    return f"{file.relative_to(store)}: {_one_of(damages, rng, file).partition(': ')[2]}"


def _damage_run(rng: np.random.Generator, run: Path) -> str:
    file = run / ("best.safetensors", "last.safetensors", "metrics.jsonl")[int(rng.integers(3))]
    return _one_of({**PLAIN, **(_HEADER if file.suffix == ".safetensors" else {})}, rng, file)


def _trial(subject: Subject, originals: Path, whole: Sequence[Outcome], rng: np.random.Generator, folder: Path) -> str:
    copy = _copied(subject, originals, folder)
    did = subject.damage(rng, copy)
    found = _outcomes(subject.use(copy), folder)
    if isinstance(found, str):
        return f"{did} -> {found}"
    wrong = [
        f"{one.command}: {what}"
        for one, sound in zip(found, whole, strict=True)
        if (what := _wrong(one, sound, folder))
    ]
    if not wrong and found[0].command == "cache verify" and found[0].code == 0 and any(one.code for one in found):
        refusal = next(one for one in found if one.code)
        wrong = [f"cache verify: says that it is sound, and {refusal.command} refuses it: {refusal.errors[-1][:160]}"]
    return f"{did} -> {'; '.join(wrong)}" if wrong else ""


def _used(subject: Subject, originals: Path) -> Sequence[Outcome]:
    """What the commands come to on an undamaged copy."""
    folder = originals / f"{subject.name.replace('/', '-')}, undamaged"
    folder.mkdir()
    found = _outcomes(subject.use(_copied(subject, originals, folder)), folder)
    if isinstance(found, str) or any(one.code for one in found):
        raise SystemExit(f"{subject.name}: does not work undamaged: {found}")
    return found


def _copied(subject: Subject, originals: Path, folder: Path) -> Path:
    source, copy = originals / subject.name, folder / Path(subject.name).name
    shutil.copytree(source, copy) if source.is_dir() else shutil.copyfile(source, copy)
    return copy


def _outcomes(use: Sequence[Arguments], folder: Path) -> Sequence[Outcome] | str:
    """Runs commands one after another in one child; text where it crashes or hangs."""
    file = folder / "outcomes.json"
    ended = start(lambda: _run_all(use, file), folder / "use.log").wait()
    if ended.code:
        return f"crashed or hung: {ended.error}"
    return [Outcome(one[0], one[1], one[2], tuple(one[3]), one[4]) for one in json.loads(file.read_text())]


def _run_all(use: Sequence[Arguments], file: Path) -> int:
    from typer.testing import CliRunner

    from ta2n.cli.app import app

    made = []
    for arguments in use:
        words = [str(word) for word in arguments]
        done = CliRunner().invoke(app, words)
        errors = [line for line in done.stderr.splitlines() if line.startswith(("error", "unexpected", "Traceback"))]
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            errors.append(f"Traceback of {type(done.exception).__name__}: {done.exception}")
        name = " ".join(words[: 2 if words[0] == "cache" else 1])
        pending = "not extracted yet" in done.stderr or (
            '"pending"' in done.stdout and '"pending": 0' not in done.stdout
        )
        found = None if done.exit_code else _numbers(words, done.stdout)
        made.append((name, done.exit_code, found, errors, pending))
    file.write_text(json.dumps(made))
    return 0


def _numbers(words: Sequence[str], stdout: str) -> Any:
    """The numbers of a command that ended well, by which two calls are compared."""
    if words[0] == "evaluate":
        return numbers(stdout)
    if words[0] == "train-head":
        return (Path(words[words.index("--out") + 1]) / "metrics.jsonl").read_text()
    if words[1] == "verify":
        return json.loads(stdout)
    return ""


def _wrong(one: Outcome, sound: Outcome, folder: Path) -> str:
    """What is wrong with an outcome; nothing where it is the undamaged one's, or a refusal as it should be."""
    if one.code == 0:
        return (
            "" if one.numbers == sound.numbers or one.pending else f"other numbers: {_short(one)}, not {_short(sound)}"
        )
    if one.code == _FOUND and one.command == "cache verify" and not one.errors:
        return ""
    said = " | ".join(one.errors)[:300] or f"exit code {one.code} without a word"
    if one.code != _REFUSED or len(one.errors) != 1 or not one.errors[0].startswith("error: "):
        return said
    return "" if str(folder) in one.errors[0] else f"names no file: {said}"


def _short(one: Outcome) -> str:
    return re.sub(r"\s+", " ", json.dumps(one.numbers))[-100:]


if __name__ == "__main__":
    sys.exit(main())
