"""What opening, sampling, reading and evaluating cost as a store grows; maps are tiny, so that only the growth counts.

python benchmarks/growth.py --videos 100 1000 10000 100000 --json growth.json --svg docs/growth.svg
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from line_chart import Panel, line_chart
from side_by_side import Times, interleaved, print_table, write_json
from synthetic_store import sparse_map, table_of, write_store

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.heads import build_head

SHAPE = (16, 8, 3, 3)
COMPRESSIONS = ("none", "zstd")
CLIPS, WAY, QUERIES = 10, 5, 5
# Calls in one timing, so that none is shorter than the clock's grain.
SAMPLED, READ, EVALUATED = 200, 100, 100
# Line, its unit, and how many of the unit a second makes.
LINES = {"open": 1e3, "sample an episode": 1e6, "read 10 videos": 1e6, "evaluate an episode": 1e6}
UNITS = {"open": "ms", "sample an episode": "µs", "read 10 videos": "µs", "evaluate an episode": "µs"}


def costs_of(path: Path) -> dict[str, Callable[[int], object]]:
    """The calls to time on one store, by line."""
    cache = FeatureCache.open(path)
    episodes = Episodes(cache.labels("test"), way=WAY, shot=1, queries=QUERIES, seed=0)
    head = build_head("protonet", channels=SHAPE[0], frames=SHAPE[1], size=SHAPE[2])
    loader = MapLoader(cache, frames=SHAPE[1], device=torch.device("cpu"))

    def read(repeat: int) -> None:
        generator = np.random.default_rng([1, repeat])
        for rows in generator.integers(0, len(cache), (READ, 10)):
            loader.test(rows)

    def sample(repeat: int) -> None:
        for number in range(SAMPLED):
            episodes[repeat * SAMPLED + number]

    return {
        "open": lambda _: FeatureCache.open(path).labels("test"),
        "sample an episode": sample,
        "read 10 videos": read,
        "evaluate an episode": lambda _: evaluate(head, loader, episodes, EVALUATED),
    }


def measure(folder: Path, sizes: Sequence[int], shard: int, repeats: int) -> dict[tuple[str, int, str], Times]:
    """Seconds of one call by (compression, videos, line)."""
    maps = [sparse_map(SHAPE, np.random.default_rng([0, number])) for number in range(64)]
    cases: dict[tuple[str, int, str], Callable[[int], object]] = {}
    for compression in COMPRESSIONS:
        for size in sizes:
            path = folder / f"{compression}-{size}.zarr"
            videos = table_of(size, clips_per_class=CLIPS, splits=("test",))
            write_store(path, videos, SHAPE, lambda row: maps[row % 64], compression=compression, shard_size=shard)
            cases |= {(compression, size, line): call for line, call in costs_of(path).items()}
    calls = {"open": 1, "sample an episode": SAMPLED, "read 10 videos": READ, "evaluate an episode": EVALUATED}
    times = interleaved(cases, repeats)
    return {key: Times([second / calls[key[2]] for second in found.seconds]) for key, found in times.items()}


def chart(times: Mapping[tuple[str, int, str], Times], sizes: Sequence[int]) -> str:
    """Cost against videos, both as powers of ten; an interval is half the distance between the quartiles."""

    def points(compression: str, line: str) -> list[tuple[float, float]]:
        found = [times[compression, size, line] for size in sizes]
        return [(math.log10(one.median * 1e6), math.log10(1 + one.spread)) for one in found]

    panels = [
        Panel(f"compression: {compression}", {line: points(compression, line) for line in LINES})
        for compression in COMPRESSIONS
    ]
    return line_chart(
        panels,
        [math.log10(size) for size in sizes],
        x_label="videos in the store, power of ten",
        y_label="microseconds, power of ten",
        y_range=(1.0, 7.0),
        dashed=["open"],
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--shard", type=int, default=1000, help="videos in a shard")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    return parser.parse_args()


def main() -> None:
    """Make the stores, measure, print the table and draw the chart."""
    given = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        times = measure(Path(name), given.videos, given.shard, given.repeats)
    rows: list[dict[str, Any]] = []
    for compression in COMPRESSIONS:
        for line, scale in LINES.items():
            found = [times[compression, size, line] for size in given.videos]
            texts = [f"{one.median * scale:.3g} ± {100 * one.spread:.0f} %" for one in found]
            cells = {f"{size:,}": text for size, text in zip(given.videos, texts, strict=True)}
            rows.append({"store": compression, "what": f"{line}, {UNITS[line]}", **cells})
    print_table(rows)
    write_json(given.json, shape=SHAPE, shard=given.shard, rows=rows)
    if given.svg:
        given.svg.write_text(chart(times, given.videos))


if __name__ == "__main__":
    main()
