"""Small inputs of commands, the commands on them, and whether two folders hold the same."""

import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _processes import Ended, Writes, command, seconds_of, start

# For a script that is started by hand; pytest finds this folder by itself.
sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
import tiny_cache

KINDS = ("extract", "train-head", "train-head saving", "export", "export gzip", "import")
_FRAMES = 20


@dataclass(frozen=True)
class Job:
    """A command that writes something.

    Attributes:
        arguments: of the command that writes into a folder.
        check: of a command that looks at what was written, and must be content; empty for none.
        prepare: called in the process before the command.
    """

    arguments: Callable[[Path], Sequence[str | Path]]
    check: Callable[[Path], Sequence[str | Path]] = lambda folder: ()
    prepare: Callable[[], None] = lambda: None

    def work(self, folder: Path) -> Callable[[], int]:
        """The command, for a forked child."""

        def run() -> int:
            self.prepare()
            return command(self.arguments(folder))()

        return run


@dataclass(frozen=True)
class Undisturbed:
    """A job that nobody disturbed: what it left, how many writes it made and how long it took."""

    folder: Path
    writes: int
    seconds: float


def undisturbed(job: Job, folder: Path) -> Undisturbed:
    """Runs a job to its end."""
    folder.mkdir(parents=True)
    log, watching = folder.with_suffix(".log"), Writes(folder)
    ended, seconds = seconds_of(lambda: start(job.work(folder), log, writes=watching).wait())
    require(ended)
    return Undisturbed(folder, int(log.with_suffix(".writes").read_text()), seconds)


def require(ended: Ended) -> None:
    """Stops the script where even the undisturbed command fails."""
    if ended.code:
        raise SystemExit(f"an undisturbed command failed: {ended.error}")


def jobs(folder: Path, kinds: Sequence[str]) -> Mapping[str, Job]:
    """The jobs of some kinds, and their inputs, which are made in the folder."""
    made = {}
    if "extract" in kinds:
        write_clips(folder / "clips")
        made["extract"] = Job(lambda out: _extract(folder / "clips", out), lambda out: ("cache", "verify", out))
    if set(kinds) - {"extract"}:
        require(start(lambda: write_store(folder), folder / "store.log").wait())
    store, file = folder / "toy.zarr", folder / "toy.h5"
    if "import" in kinds:
        require(start(command(("cache", "export", store, file)), folder / "export.log").wait())
    verify = lambda out: ("cache", "verify", out / "toy.h5")  # noqa: E731
    made |= {
        "train-head": Job(lambda out: train(store, out / "run")),
        "train-head saving": Job(lambda out: train(store, out / "run"), prepare=_save_at_every_step),
        "export": Job(lambda out: ("cache", "export", store, out / "toy.h5"), verify),
        "export gzip": Job(lambda out: ("cache", "export", store, out / "toy.h5", "--compression", "gzip"), verify),
        "import": Job(lambda out: ("cache", "import", file, out), lambda out: ("cache", "verify", out)),
    }
    return {kind: made[kind] for kind in kinds}


def write_store(folder: Path) -> int:
    """Writes ``toy.zarr`` of 144 clips in shards of 10, one of them failed."""
    tiny_cache.write_cache(folder, map_shape=(6, 4, 7, 7), signal=0.3, failed=(3,))
    return 0


def write_clips(folder: Path) -> None:
    """Renders twelve clips, no two alike, in four classes."""
    from ta2n.pipeline.demo.motions import MOTIONS
    from ta2n.pipeline.demo.render import Draw, render_frames, write_clip

    for number, name in enumerate(list(MOTIONS["train"])[:4]):
        for clip in range(3):
            frames = render_frames(MOTIONS["train"][name], Draw.from_generator(np.random.default_rng([number, clip])))
            length = _FRAMES + 3 * number + clip
            write_clip(folder / name / f"{clip}.mp4", itertools.islice(frames, length, 2 * length))


def _extract(clips: Path, out: Path) -> Sequence[str | Path]:
    network = ("--backbone", "efficientnet-lite0", "--weights", "random", "--no-compile")
    return (
        "extract",
        "--dataset",
        clips,
        "--cache",
        out,
        *network,
        "--frames",
        "2",
        "--shard-size",
        "3",
        "--workers",
        "1",
    )


def train(store: Path, out: Path, *, epochs: int = 3) -> Sequence[str | Path]:
    """A short training run: two steps an epoch."""
    head = ("--method", "protonet", "--project", "4", "--way", "3", "--queries", "2", "--accumulate", "2")
    length = ("--epochs", str(epochs), "--episodes", "4", "--val-episodes", "6")
    return ("train-head", "--cache", store, "--out", out, *head, *length)


def _save_at_every_step() -> None:
    import ta2n.pipeline.training.loop as loop

    if not hasattr(loop, "_SAVE_SECONDS"):
        raise LookupError("the training loop has no _SAVE_SECONDS any more; say here how a run saves inside an epoch")
    loop._SAVE_SECONDS = -1.0


def differences(expected: Path, found: Path) -> str:
    """What two folders do not have in common: names, then bytes; nothing where they are the same. Locks may stay."""
    files = [_contents(folder) for folder in (expected, found)]
    left, lost = sorted(files[1].keys() - files[0].keys()), sorted(files[0].keys() - files[1].keys())
    changed = sorted(name for name in files[0].keys() & files[1].keys() if files[0][name] != files[1][name])
    parts = (("left over", left), ("lost", lost), ("other bytes", changed))
    return "; ".join(f"{what}: {', '.join(names[:3])} ({len(names)})" for what, names in parts if names)


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path, and every empty folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if path.suffix != ".lock" and (path.is_file() or not any(path.iterdir()))
    }


def checked(job: Job, expected: Path, found: Path, log: Path) -> str:
    """What is wrong with a folder that a job has written: left-overs, other bytes, or a check that is not content."""
    wrong = differences(expected, found)
    if not wrong and job.check(found):
        ended = start(command(job.check(found)), log).wait()
        wrong = f"its check: {ended.error}" if ended.code else ""
    return wrong


def numbers(stdout: str) -> list[object]:
    """The accuracies and intervals in the JSON of ``ta2n evaluate``."""
    return [[one["accuracy"], one["interval"]] for one in json.loads(stdout)["results"]]
