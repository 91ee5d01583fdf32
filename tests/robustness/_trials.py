"""What the scripts of this folder share: seeded trials of several kinds, and one table of what held.

A trial is a function of a generator, which is all its chance, and of an empty folder. It gives the reason why something
failed, or nothing where it held; the same seed and number make the same trial.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

Trial = Callable[[np.random.Generator, Path], str]
Prepare = Callable[[Path, Sequence[str]], Mapping[str, Trial]]
"""Makes, in a folder, what the trials of some kinds need."""


def run_trials(
    description: str, kinds: Sequence[str], prepare: Prepare, *, count: int, given: Sequence[str] | None = None
) -> int:
    """Reads the arguments of a script, does its trials and prints the table.

    Args:
        description: of the script.
        kinds: of trial; they take turns.
        prepare: makes the trials of the kinds that are asked for.
        count: trials, where nothing else is asked for.
        given: arguments; None for those of the command line.

    Returns:
        The exit code: 1 if any trial failed.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count, help=f"trials in all [{count}]")
    parser.add_argument("--seed", type=int, default=0, help="of everything that chance decides [0]")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial, to repeat one [0]")
    parser.add_argument("--kinds", default=",".join(kinds), help=f"some of {','.join(kinds)} [all]")
    parser.add_argument("--folder", type=Path, help="where trials that fail are kept [a temporary one]")
    asked = parser.parse_args(given)
    chosen = asked.kinds.split(",")
    if odd := sorted(set(chosen) - set(kinds)):
        parser.error(f"no kind {odd[0]!r}; choose some of {', '.join(kinds)}")
    with tempfile.TemporaryDirectory(prefix="robustness-") as temporary:
        folder = asked.folder or Path(temporary)
        trials = prepare(_fresh(folder / "given"), chosen)
        failures: dict[str, list[str]] = {kind: [] for kind in chosen}
        tried = dict.fromkeys(chosen, 0)
        for number in range(asked.first, asked.first + asked.count):
            kind = chosen[number % len(chosen)]
            reason = trials[kind](np.random.default_rng([asked.seed, number]), _fresh(folder / f"{number}"))
            tried[kind] += 1
            failures[kind] += [f"trial {number}: {reason}"] if reason else []
        _print_table(tried, failures)
    return int(any(failures.values()))


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _print_table(tried: Mapping[str, int], failures: Mapping[str, Sequence[str]]) -> None:
    width = max(len(kind) for kind in (*tried, "in all"))
    lines = [f"{'':{width}}  tried   held  failed"]
    failed = {kind: len(found) for kind, found in failures.items()}
    for kind, all_of, bad in [*((kind, tried[kind], failed[kind]) for kind in tried),
                              ("in all", sum(tried.values()), sum(failed.values()))]:  # fmt: skip
        lines.append(f"{kind:{width}}  {all_of:5}  {all_of - bad:5}  {bad:6}")
    for kind, found in failures.items():
        lines += [f"{kind}, {reason}" for reason in found]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
