"""The table from a store, or without one, and the cost of making it."""

import dataclasses
from pathlib import Path

import pytest
import tiny_cache
import torch

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.report.table.episodes import TestEpisodes
from ta2n.pipeline.report.table.fill import TablePlan, without_store
from ta2n.pipeline.report.table.forecast import forecast_run, product_rate
from ta2n.pipeline.report.table.rows import TableRow
from ta2n.pipeline.training.settings import Settings

CPU = torch.device("cpu")
TEST = TestEpisodes(episodes=10, queries=1)


def settings(cache: FeatureCache, row: TableRow, shot: int, seed: int) -> Settings:
    return Settings(
        method=row.method,
        way=3,
        shot=shot,
        queries=2,
        frames=4,
        epochs=1,
        episodes_per_epoch=2,
        val_episodes=2,
        seed=seed,
    )


def plan(folder: Path, *methods: str) -> TablePlan:
    rows = [TableRow(method, method.upper(), {}, {}, folder / f"{method}.toml") for method in methods]
    return TablePlan(
        rows=rows,
        shots=[1],
        seeds=[0],
        settings=settings,
        test=TEST,
        runs=folder / "runs",
        tuned=folder / "tuned",
        device=CPU,
    )


def test_a_data_set_that_is_not_there(tmp_path: Path) -> None:
    results = without_store("ucf101", plan(tmp_path, "protonet", "otam"), "not on disk")
    assert [(result.dataset, result.method, result.missing) for result in results] == [
        ("ucf101", "protonet", "not on disk"),
        ("ucf101", "otam", "not on disk"),
    ]


@pytest.mark.parametrize("method", ["ta2n", "otam", "protonet"])
def test_estimates_grow_with_the_work(tmp_path: Path, method: str) -> None:
    cache = FeatureCache.open(tiny_cache.write_cache(tmp_path, map_shape=(6, 4, 7, 7)))
    row = TableRow(method, method, {}, {}, tmp_path)
    short = settings(cache, row, 1, 0)
    rate = product_rate(CPU)
    assert rate > 1e8
    one = forecast_run(cache, short, TEST, rate=rate)
    more = forecast_run(cache, dataclasses.replace(short, episodes_per_epoch=200), TEST, rate=rate)
    assert 0 < one.seconds < more.seconds < 600
    assert one.bytes == more.bytes
    assert (one.bytes > 0) == (method == "ta2n")
