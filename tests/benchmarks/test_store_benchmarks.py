"""The benchmarks of the store, on stores so small that only their arithmetic is tested."""

import argparse
from pathlib import Path

import cache_reads
import growth
import numpy as np
import torch

from ta2n.pipeline.cache import FeatureCache

SMALL = argparse.Namespace(real=None, videos=60, channels=4, frames=2, size=3, shard=25)


def test_every_way_reads_the_same_maps(tmp_path: Path) -> None:
    shape = cache_reads.make_files(tmp_path, SMALL)
    rows = np.array([59, 3, 3, 30])
    expected = FeatureCache.open(tmp_path / "none.zarr").read(rows).float()
    ways = cache_reads.readers(tmp_path, shape)
    assert {"numpy.memmap", "FeatureCache zstd", "FeatureCache HDF5", "zarr oindex"} <= ways.keys()
    for read in ways.values():
        batch = torch.full((4, *shape), torch.nan)
        found = read(rows, batch)
        assert torch.equal(found.float() if isinstance(found, torch.Tensor) else batch, expected)


def test_the_tables_of_reads(tmp_path: Path) -> None:
    shape = cache_reads.make_files(tmp_path, SMALL)
    warm = cache_reads.measure_warm(tmp_path, shape, 12, 2)
    assert [row["of the map"] for row in warm if row["way"] == "numpy.memmap"] == [1]
    assert [row["wanted"] for row in warm if row["way"] == "FeatureCache none"] == ["0.80"]
    cold = cache_reads.measure_cold(tmp_path, shape, 1)
    assert [row["MB"] for row in cold] == [0, 0, 0, 0][: len(cold)]


def test_growth_has_every_line_of_every_store(tmp_path: Path) -> None:
    sizes = [100, 200]
    times = growth.measure(tmp_path, sizes, shard=50, repeats=2)
    assert {key[1] for key in times} == set(sizes)
    assert len(times) == 2 * 2 * len(growth.LINES)
    assert all(len(found.seconds) == 2 for found in times.values())
    assert growth.chart(times, sizes).rstrip().endswith("</svg>")
