"""Evaluation of TA2N: work per video once and each pair once, against the method as it is written, episode by episode.

    python benchmarks/evaluation.py --episodes 10000 --queries 5

Writes a store of synthetic maps (1.6 GB for 1,000 clips of 2048×8×7×7), evaluates an untrained head on it, and a few of
the same episodes as written; both from maps in the system's file cache.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heads import written_ta2n
from side_by_side import print_table, write_json
from synthetic_store import Maps, Shape, sparse_map, table_of, write_store
from torch import Tensor

from ta2n.cli.process import prepare_process
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episode, Episodes
from ta2n.pipeline.evaluation.embeddings import embed_all
from ta2n.pipeline.evaluation.evaluate import accuracy, evaluate
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.ta2n import TA2N

BASES = 32


def make_store(path: Path, videos: int, shape: Shape, *, split: str = "test") -> FeatureCache:
    """A store of one split, every map another: a few of them with their channels moved round."""
    bases = [sparse_map(shape, np.random.default_rng([2, number])) for number in range(BASES)]

    def map_of(row: int) -> Maps:
        return np.roll(bases[row % BASES], 1 + row // BASES, axis=0)

    table = table_of(videos, clips_per_class=40, splits=(split,))
    return FeatureCache.open(write_store(path, table, shape, map_of, compression="none", shard_size=64))


def written(head: TA2N, loader: MapLoader, episode: Episode) -> Tensor:
    """Distances (Q, N) of one episode, read and computed in full."""
    state = dict(head.named_parameters()) | dict(head.named_buffers())
    support, query = (loader.test(rows).float() for rows in (episode.support, episode.query))
    return written_ta2n(support, query, state, train=False)


def random_head(shape: Shape) -> TA2N:
    """A head whose every part matters: offsets and warps are not those of a fresh one, which are none."""
    head = build_head("ta2n", channels=shape[0], frames=shape[1], size=shape[2], seed=0, init="random")
    assert isinstance(head, TA2N)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in head.named_parameters():
            if not weight.any():
                weight.normal_(std=0.1 if "mvnet" in name else 0.02, generator=generator)
    return head.eval()


@torch.inference_mode()
def measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds per episode of both, their ratio, the difference of their distances, and the memory it took."""
    shape = (given.channels, given.frames, given.size, given.size)
    cache = make_store(folder / "maps.zarr", given.videos, shape)
    loader = MapLoader(cache, frames=given.frames, device=torch.device("cpu"))
    episodes = Episodes(cache.labels("test"), way=5, shot=1, queries=given.queries, seed=0)
    head = random_head(shape)
    few = list(episodes.take(given.written))
    start = time.perf_counter()
    slow = [written(head, loader, episode) for episode in few]
    slow_seconds = (time.perf_counter() - start) / len(few)
    start = time.perf_counter()
    memory = None if given.memory is None else int(given.memory * 1e9)
    accuracies = evaluate(head, loader, episodes, given.episodes, memory_bytes=memory)
    seconds = time.perf_counter() - start
    for found, distances, episode in zip(accuracies, slow, few, strict=False):
        assert abs(found - accuracy(distances, episode.query_labels)) <= 1 / len(episode.query_labels)
    return {
        "episodes": given.episodes,
        "queries": 5 * given.queries,
        "seconds": seconds,
        "ms per episode": 1e3 * seconds / given.episodes,
        "as written, ms": 1e3 * slow_seconds,
        "ratio": slow_seconds * given.episodes / seconds,
        "distances differ by": largest_difference(head, loader, few, slow),
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def largest_difference(head: TA2N, loader: MapLoader, few: list[Episode], slow: list[Tensor]) -> float:
    """The largest difference of a distance from what it should be, as a share of the latter."""
    differences = []
    for episode, expected in zip(few, slow, strict=True):
        rows = np.concatenate([episode.support, episode.query])
        kept = embed_all(head, loader, rows, 1)
        assert kept is not None
        way = len(episode.support)
        found = head.compare(kept.take(np.arange(way)), kept.take(np.arange(way, len(rows))))
        differences.append(float(((found - expected) / expected).abs().max()))
    return max(differences)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=5, help="query clips of a class")
    parser.add_argument("--written", type=int, default=3, help="episodes computed as written")
    parser.add_argument("--memory", type=float, help="GB for what is computed once per video")
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=7)
    parser.add_argument("--json", type=Path, help="file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, and print a line."""
    given = parse_arguments()
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        row = measure(Path(folder), given)
    print_table([row])
    write_json(given.json, evaluation=row)


if __name__ == "__main__":
    main()
