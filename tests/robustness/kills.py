"""Kills commands at a seeded moment or write, once to three times, and runs them to their end.

    python tests/robustness/kills.py --count 50 --seed 0

Held: the last run ends well, and what it leaves is byte for byte what an undisturbed one leaves: rows, maps, digests,
weights, metrics, and no file besides.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from _processes import Ended, Writes, cold, kill, start, tear, warm_up
from _store import KINDS, Job, Undisturbed, checked, jobs, undisturbed
from _trials import Trial, run_trials

_KILLED = -9
# Of all kills: of a command that is started cold, and by a moment instead of a write.
_COLD, _BY_TIME = 0.1, 0.25
_COLD_SECONDS = 8.0


def main(given: Sequence[str] | None = None) -> int:
    """Runs the trials that are asked for."""
    return run_trials(__doc__ or "", KINDS, _prepare, count=50, given=given)


def _prepare(folder: Path, kinds: Sequence[str]) -> Mapping[str, Trial]:
    warm_up()
    made = jobs(folder, kinds)
    return {kind: partial(_trial, job, undisturbed(job, folder / kind / "out")) for kind, job in made.items()}


def _trial(job: Job, whole: Undisturbed, rng: np.random.Generator, folder: Path) -> str:
    out = folder / "out"
    out.mkdir()
    for number in range(int(rng.integers(1, 4))):
        ended = _killed(job, whole, rng, out, folder / f"{number}.log")
        if ended.code not in (0, _KILLED):
            return f"run {number}, to be killed as those before: {ended.error}"
    ended = start(job.work(out), folder / "last.log").wait()
    if ended.code:
        return f"the last run: {ended.error}"
    return checked(job, whole.folder, out, folder / "check.log")


def _killed(job: Job, whole: Undisturbed, rng: np.random.Generator, out: Path, log: Path) -> Ended:
    """Runs a job until it is killed, or to its end where that comes first."""
    if rng.random() < _COLD:
        child, moment = start(cold(job.arguments(out)), log), rng.uniform(0, _COLD_SECONDS + whole.seconds)
    elif rng.random() < _BY_TIME:
        child, moment = start(job.work(out), log), rng.uniform(0, whole.seconds)
    else:
        at = int(rng.integers(1, whole.writes + 1))
        watching = Writes(out, at, tear if rng.random() < 0.5 else kill)
        return start(job.work(out), log, writes=watching).wait()
    if not child.ends_within(moment):
        child.kill()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
