"""Random episodes read from a cache into a reused batch, beside what else would read them; videos per second.

    python benchmarks/cache_reads.py --videos 600 --json reads.json

Ratios are to ``numpy.memmap`` with a list of rows, repeat by repeat.
"""

import argparse
import gc
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from side_by_side import interleaved, paired_ratio, print_table, write_json
from synthetic_store import Shape, sparse_map, table_of, write_store
from torch import Tensor

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.export import export_hdf5
from ta2n.pipeline.cache.in_memory import InMemory
from ta2n.pipeline.cache.loader import MapLoader

COMPRESSIONS = ("none", "zstd", "lz4")
MAP = "numpy.memmap"
# What is wanted, as shares of the raw memory map.
WANTED = {"FeatureCache none": 0.8, "FeatureCache zstd": 700 / 1960}

Rows = NDArray[np.int64]
Read = Callable[[Rows, Tensor], object]


def stored_maps(given: argparse.Namespace) -> tuple[int, Shape, Callable[[int], NDArray[np.float16]]]:
    """How many maps, of which shape, and how to get one: those of a real store, or synthetic ones."""
    if given.real:
        real = FeatureCache.open(given.real)
        rows = np.flatnonzero(real.done)[: given.videos]
        return len(rows), real.map_shape, lambda row: real.read([rows[row]])[0].numpy()
    shape = (given.channels, given.frames, given.size, given.size)
    return given.videos, shape, lambda row: sparse_map(shape, np.random.default_rng([0, row]))


def make_files(folder: Path, given: argparse.Namespace) -> Shape:
    """A store of each compression, an HDF5 file and a raw one, all of the same maps."""
    count, shape, map_of = stored_maps(given)
    videos = table_of(count)
    plain = write_store(folder / "none.zarr", videos, shape, map_of, compression="none", shard_size=given.shard)
    cache = FeatureCache.open(plain)
    for name in COMPRESSIONS[1:]:
        write_store(
            folder / f"{name}.zarr",
            videos,
            shape,
            lambda row: cache.read([row])[0].numpy(),
            compression=name,
            shard_size=given.shard,
        )
    export_hdf5(cache, folder / "maps.h5")
    with (folder / "maps.raw").open("wb") as file:
        for row in range(count):
            file.write(cache.read([row])[0].numpy().tobytes())
    return shape


def readers(folder: Path, shape: Shape) -> dict[str, Read]:
    """Each way of filling a batch."""
    caches = {name: FeatureCache.open(folder / f"{name}.zarr") for name in COMPRESSIONS}
    count = len(caches["none"])
    resident = InMemory(caches["none"], np.arange(count), torch.device("cpu"))
    hdf5 = FeatureCache.open(folder / "maps.h5")
    mapped = np.memmap(folder / "maps.raw", np.float16, "r", shape=(count, *shape))
    memory = np.array(mapped)
    features: Any = zarr.open_group(folder / "none.zarr", mode="r")["features"]

    def one_by_one(rows: Rows, batch: Tensor) -> None:
        for place, row in enumerate(rows.tolist()):
            batch[place].copy_(torch.from_numpy(features[row, 0]))

    def by_cache(cache: FeatureCache) -> Read:
        loader = MapLoader(cache, frames=cache.map_shape[1], device=torch.device("cpu"))
        return lambda rows, _: loader.test(rows)

    return {
        MAP: lambda rows, batch: batch.copy_(torch.from_numpy(mapped[rows])),
        "in-RAM gather": lambda rows, batch: batch.copy_(torch.from_numpy(memory[rows])),
        **{f"FeatureCache {name}": by_cache(cache) for name, cache in caches.items()},
        "FeatureCache HDF5": by_cache(hdf5),
        "InMemory ram": lambda rows, batch: batch.copy_(resident.read(rows, np.zeros(len(rows), np.int64))),
        "zarr one by one": one_by_one,
        "zarr oindex": lambda rows, batch: batch.copy_(torch.from_numpy(features.oindex[rows, 0])),
    }


def measure_warm(folder: Path, shape: Shape, size: int, repeats: int) -> list[dict[str, Any]]:
    """A row of the table for each way, at one episode size."""
    ways = readers(folder, shape)
    if size > 10:
        del ways["zarr oindex"]  # tens of seconds a repeat
    batch = torch.empty((size, *shape))
    count = len(FeatureCache.open(folder / "none.zarr"))

    def call(read: Read) -> Callable[[int], object]:
        return lambda repeat: read(np.random.default_rng([1, repeat]).choice(count, size, replace=False), batch)

    times = interleaved({name: call(read) for name, read in ways.items()}, repeats)
    return [
        {
            "episode": size,
            "way": name,
            "videos/s": size / found.median,
            "±": f"{100 * found.spread:.0f} %",
            "of the map": round(paired_ratio(found, times[MAP]), 2),
            "wanted": f"{WANTED[name]:.2f}" if name in WANTED else "",
        }
        for name, found in times.items()
    ]


def measure_cold(folder: Path, shape: Shape, repeats: int) -> list[dict[str, Any]]:
    """Every map once, in random episodes of 50, beside ``cat`` of the files; empty where nothing can be dropped.

    Each ``cat`` runs twice: a disk that is itself a file on another machine is several times as fast for bytes that
    were read in order a moment ago, though they are in no cache of ours. Cases of all ways come in random order.
    """
    count = len(FeatureCache.open(folder / "none.zarr"))
    batch = torch.zeros((50, *shape))
    files = {name: files_of(folder, name) for name in (MAP, *COMPRESSIONS)}
    found: dict[tuple[str, str], list[float]] = {(name, what): [] for name in files for what in ("cat", "again", "own")}
    for repeat in range(repeats):
        random = np.random.default_rng([2, repeat])
        for place in random.permutation(2 * len(files)).tolist():
            name = list(files)[place // 2]
            if not drop(files[name]):
                return []
            if place % 2:
                read = cold_read(folder, name, (count, *shape))
                found[name, "own"].append(seconds(partial(read_all, read, random.permutation(count), batch)))
                del read  # what is still mapped is not dropped
                continue
            cat = partial(subprocess.run, ["cat", *files[name]], check=True, stdout=subprocess.DEVNULL)
            found[name, "cat"].append(seconds(cat))
            drop(files[name])
            found[name, "again"].append(seconds(cat))
    return [
        cold_row(name, files[name], {what: found[name, what] for what in ("cat", "again", "own")}) for name in files
    ]


def cold_row(name: str, files: Sequence[Path], found: dict[str, list[float]]) -> dict[str, Any]:
    """A row of the table of first reads, of seconds of each repeat."""
    size = sum(path.stat().st_size for path in files) / 1e6
    median = {what: float(np.median(taken)) for what, taken in found.items()}
    low, high = np.quantile(found["own"], [0.25, 0.75])
    return {
        "way": name if name == MAP else f"FeatureCache {name}",
        "MB": round(size),
        "MB/s": size / median["own"],
        "±": f"{50 * (high - low) / median['own']:.0f} %",
        "cat MB/s": size / median["cat"],
        "of cat": round(median["cat"] / median["own"], 2),
        "cat again MB/s": size / median["again"],
        "of cat again": round(median["again"] / median["own"], 2),
        "wanted": 0.8 if name == "none" else "",
    }


def files_of(folder: Path, name: str) -> list[Path]:
    """The files that hold the maps of a store, or of the raw map."""
    if name == MAP:
        return [folder / "maps.raw"]
    return sorted(path for path in (folder / f"{name}.zarr" / "features" / "c").rglob("*") if path.is_file())


def cold_read(folder: Path, name: str, shape: tuple[int, ...]) -> Read:
    """A way of reading that has nothing mapped yet."""
    if name == MAP:
        mapped = np.memmap(folder / "maps.raw", np.float16, "r", shape=shape)
        return lambda rows, batch: batch.copy_(torch.from_numpy(mapped[rows]))
    cache = FeatureCache.open(folder / f"{name}.zarr")
    loader = MapLoader(cache, frames=shape[1 + 1], device=torch.device("cpu"))
    return lambda rows, _: loader.test(rows)


def read_all(read: Read, rows: Rows, batch: Tensor) -> None:
    """Every row, a batch at a time."""
    for start in range(0, len(rows), len(batch)):
        part = rows[start : start + len(batch)]
        read(part, batch[: len(part)])


def drop(files: Sequence[Path]) -> bool:
    """Takes files out of the system's file cache, where it lets us."""
    gc.collect()
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=150)
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=7)
    parser.add_argument("--shard", type=int, default=64, help="videos in a shard")
    parser.add_argument("--real", type=Path, help="a store whose maps are taken, instead of synthetic ones")
    parser.add_argument("--episodes", type=int, nargs="+", default=[10, 50], help="videos in an episode")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where the files are made; they are deleted afterwards")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Make the files, measure, print the tables."""
    given = parse_arguments()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        shape = make_files(folder, given)
        sizes = {
            name: sum(file.stat().st_size for file in (folder / f"{name}.zarr").rglob("*") if file.is_file())
            for name in COMPRESSIONS
        }
        print(
            ", ".join(
                f"{name}: {size / 1e6:.0f} MB ({sizes['none'] / size:.1f} times smaller)"
                for name, size in sizes.items()
            )
        )
        cold = measure_cold(folder, shape, max(3, given.repeats // 5))
        warm = [row for size in given.episodes for row in measure_warm(folder, shape, size, given.repeats)]
    print_table(warm)
    if cold:
        print()
        print_table(cold)
    write_json(given.json, shape=shape, sizes=sizes, warm=warm, cold=cold)


if __name__ == "__main__":
    main()
