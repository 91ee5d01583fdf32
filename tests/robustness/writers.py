"""Two of the same command at once, on one store, folder or file.

    python tests/robustness/writers.py --count 20 --seed 0

The second starts within three seconds of the first, or runs to its end while the first stands still just before one of
its writes. Held: whoever is refused is so in one line
that names the other, one of them at least ends well, and what they leave is byte for byte what one alone leaves.
"""

import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from _processes import HUNG_SECONDS, Child, Ended, Writes, cold, start, warm_up
from _store import KINDS, Job, Undisturbed, checked, jobs, undisturbed
from _trials import Trial, run_trials

_REFUSED = 2
# Of all pairs: commands that are started cold, and a moment instead of a write.
_COLD, _BY_TIME = 0.1, 0.25
_APART_SECONDS = 3.0


def main(given: Sequence[str] | None = None) -> int:
    """Runs the trials that are asked for."""
    return run_trials(__doc__ or "", KINDS, _prepare, count=20, given=given)


def _prepare(folder: Path, kinds: Sequence[str]) -> Mapping[str, Trial]:
    warm_up()
    made = jobs(folder, kinds)
    return {kind: partial(_trial, job, undisturbed(job, folder / kind / "out")) for kind, job in made.items()}


def _trial(job: Job, whole: Undisturbed, rng: np.random.Generator, folder: Path) -> str:
    out = folder / "out"
    out.mkdir()
    logs = folder / "first.log", folder / "second.log"
    if rng.random() < _COLD:
        first = start(cold(job.arguments(out)), logs[0])
        first.ends_within(rng.uniform(0, _APART_SECONDS))
        second = start(cold(job.arguments(out)), logs[1])
    elif rng.random() < _BY_TIME:
        first = start(job.work(out), logs[0])
        first.ends_within(rng.uniform(0, min(_APART_SECONDS, whole.seconds)))
        second = start(job.work(out), logs[1])
    else:
        first = _standing_at(job, out, int(rng.integers(1, whole.writes + 1)), logs[0])
        second = start(job.work(out), logs[1])
        second.ends_within(HUNG_SECONDS)
        first.go_on()
    pids = first.pid, second.pid
    ended = first.wait(), second.wait()
    return _wrong(ended, pids) or checked(job, whole.folder, out, folder / "check.log")


def _standing_at(job: Job, out: Path, at: int, log: Path) -> Child:
    """A job that has come to one of its writes and stands still there, or that has ended before."""
    told, tell = os.pipe()

    def stand(path: str, mode: str) -> None:
        os.close(tell)
        os.kill(os.getpid(), signal.SIGSTOP)

    child = start(job.work(out), log, writes=Writes(out, at, stand))
    os.close(tell)
    select.select([told], [], [], HUNG_SECONDS)  # its end closes the pipe too
    os.close(told)
    return child


def _wrong(ended: Sequence[Ended], pids: Sequence[int]) -> str:
    """What is wrong with how two commands ended; nothing where at least one did what it should."""
    if all(one.code for one in ended):
        return f"both failed: {ended[0].error} | {ended[1].error}"
    for one, other in zip(ended, reversed(pids), strict=True):
        errors = [line for line in one.stderr.splitlines() if line.startswith(("error", "unexpected", "Traceback"))]
        refusal = f"(process {other} on "
        if one.code and (one.code != _REFUSED or len(errors) != 1 or refusal not in errors[0]):
            return f"refused without the holder's name: {one.error}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
