"""How the benchmarks time and write down."""

import json
from pathlib import Path

import numpy as np
import pytest
from side_by_side import Times, interleaved, paired_ratio, print_table, write_json
from synthetic_store import sparse_map, table_of, write_store

from ta2n.pipeline.cache import FeatureCache


def test_cases_take_turns_after_a_round_to_warm_up() -> None:
    called: list[tuple[str, int]] = []
    cases = {"a": lambda repeat: called.append(("a", repeat)), "b": lambda repeat: called.append(("b", repeat))}
    times = interleaved(cases, 2)
    assert called == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert [len(found.seconds) for found in times.values()] == [2, 2]


def test_ratios_are_of_pairs() -> None:
    slow, fast = Times([2.0, 8.0, 2.0]), Times([1.0, 2.0, 1.0])
    assert paired_ratio(fast, slow) == 2
    assert slow.median == 2
    assert Times([1.0, 2.0, 3.0, 4.0, 5.0]).spread == pytest.approx(1 / 3)


def test_the_table_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"what": "open", "ms": 1.23456}, {"what": "read", "ms": 20.0}])
    assert capsys.readouterr().out.splitlines() == ["| what | ms |", "|---|---|", "| open | 1.23 |", "| read | 20 |"]
    write_json(tmp_path / "found.json", rows=[1])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["rows"] == [1]
    assert {"torch", "zarr"} <= found["machine"]["versions"].keys()


def test_a_synthetic_store_holds_what_was_asked_for(tmp_path: Path) -> None:
    maps = [sparse_map((64, 2, 7, 7), np.random.default_rng(row)) for row in range(7)]
    path = write_store(
        tmp_path / "a.zarr", table_of(7, 2), (64, 2, 7, 7), maps.__getitem__, compression="zstd", shard_size=3
    )
    cache = FeatureCache.open(path)
    assert np.array_equal(cache.read(range(7)).numpy(), np.stack(maps))
    assert cache.videos.split.tolist() == ["train", "train", "val", "val", "test", "test", "train"]
    assert 0.7 < float(np.mean(np.stack(maps) == 0)) < 0.95
