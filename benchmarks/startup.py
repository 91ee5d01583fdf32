"""From the command to its first result: ``ta2n --help``, and ``ta2n train-head`` up to and with its first step.

    python benchmarks/startup.py

The seconds of train-head are those behind the import of torch, on a store of 10,000 videos with tiny maps.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Times, interleaved, print_table, write_json
from synthetic_store import sparse_map, table_of, write_store

SHAPE = (16, 8, 7, 7)
WANTED = {"ta2n --help": 0.5, "train-head, first step": 3.0}

HELP = "import sys; sys.argv = ['ta2n', '--help']; from ta2n.cli import main; main()"
TRAIN = """
import contextlib, sys, time, torch
start = time.perf_counter()
from ta2n.cli import main
with contextlib.suppress(SystemExit):
    main()
print(time.perf_counter() - start)
"""


def python(code: str, *arguments: str) -> str:
    """What a fresh process prints."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def train(store: Path, found: list[float], out: Path, val_episodes: int, repeat: int) -> None:
    """Trains for one episode, and notes the seconds behind the import of torch."""
    run = ("train-head", "--cache", str(store), "--out", str(out / f"{val_episodes}-{repeat}"))
    few = ("--epochs", "1", "--episodes", "1", "--accumulate", "1", "--val-episodes", str(val_episodes))
    found.append(float(python(TRAIN, *run, *few).split()[-1]))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Make the store, measure, print the table."""
    given = parse_arguments()
    maps = [sparse_map(SHAPE, np.random.default_rng([0, number])) for number in range(64)]
    with tempfile.TemporaryDirectory() as name:
        store, found, found_val = Path(name) / "tiny.zarr", list[float](), list[float]()
        write_store(
            store, table_of(given.videos), SHAPE, lambda row: maps[row % 64], compression="none", shard_size=1000
        )
        cases: dict[str, Callable[[int], Any]] = {
            "python": lambda _: python("pass"),
            "ta2n --help": lambda _: python(HELP),
            "import torch": lambda _: python("import torch"),
            "train-head, first step": partial(train, store, found, Path(name), 0),
            "train-head, 200 val episodes, first step": partial(train, store, found_val, Path(name), 200),
        }
        times = interleaved(cases, given.repeats)
    times |= {name: Times(part[1:]) for name, part in zip(list(cases)[-2:], (found, found_val), strict=True)}
    rows = [
        {"what": name, "s": part.median, "±": f"{100 * part.spread:.0f} %", "wanted": WANTED.get(name, "")}
        for name, part in times.items()
    ]
    print_table(rows)
    write_json(given.json, rows=rows)


if __name__ == "__main__":
    main()
