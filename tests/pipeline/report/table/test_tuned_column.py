"""The column fine-tuned: runs found by what they say, tested on the features of their own backbones."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_cache
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.report.table.entries import TableEntry
from ta2n.pipeline.report.table.episodes import TestEpisodes
from ta2n.pipeline.report.table.fill import TablePlan, fill
from ta2n.pipeline.report.table.rows import TableRow
from ta2n.pipeline.training.checkpoint import BEST, Checkpoint, load_checkpoint, save_checkpoint
from ta2n.pipeline.training.loop import train_head
from ta2n.pipeline.training.settings import Settings

CPU = torch.device("cpu")
SHAPE = (6, 4, 7, 7)


def settings(cache: FeatureCache, row: TableRow, shot: int, seed: int) -> Settings:
    return Settings(
        method=row.method, way=3, shot=shot, queries=2, frames=4, epochs=1, episodes_per_epoch=2, val_episodes=2
    )


def plan(folder: Path) -> TablePlan:
    return TablePlan(
        rows=[TableRow(method, method.upper(), {}, {}, folder / f"{method}.toml") for method in ("protonet", "tsn++")],
        shots=[1],
        seeds=[0],
        settings=settings,
        test=TestEpisodes(episodes=10, queries=1),
        runs=folder / "runs",
        tuned=folder / "tuned",
        device=CPU,
    )


def tuned_run(folder: Path, store: Path, *, seed: int = 0, weights: str = "1" * 64) -> Path:
    """A run whose header has what a fine-tuned run's has, and the store of its features."""
    cache = FeatureCache.open(tiny_cache.write_cache(store, map_shape=SHAPE, signal=5.0, weights_sha256=weights))
    row = TableRow("tsn++", "", {}, {}, folder)
    train_head(cache, dataclasses.replace(settings(cache, row, 1, 0), seed=seed), folder, device=CPU)
    stored = load_checkpoint(folder)
    more = {"trainable": "layer4", "grad_clips": None}
    metadata = {
        **stored.metadata,
        "backbone": {"weights_sha256": weights},
        "settings": {**stored.metadata["settings"], **more},
    }
    save_checkpoint(folder / BEST, Checkpoint(stored.tensors, metadata))
    return folder


@pytest.fixture
def frozen(tmp_path: Path) -> FeatureCache:
    return FeatureCache.open(tiny_cache.write_cache(tmp_path / "feats", map_shape=SHAPE, signal=0.0))


def entries(cache: FeatureCache, made: TablePlan) -> tuple[TableEntry, TableEntry]:
    protonet, tsn = fill(cache, made)
    return protonet, tsn


@pytest.mark.parametrize("store", ["tuned/any/name", "tuned", "feats-tuned"])
def test_a_run_is_tested_on_the_store_of_its_own_features(tmp_path: Path, frozen: FeatureCache, store: str) -> None:
    tuned_run(tmp_path / "tuned" / "any" / "name", tmp_path / store)
    protonet, tsn = entries(frozen, plan(tmp_path))
    assert tsn.accuracy
    assert tsn.tuned_accuracy
    assert tsn.tuned_plain
    assert tsn.tuned_accuracy.mean > tsn.accuracy.mean + 0.2
    assert tsn.tuned_plain.mean > tsn.accuracy.mean + 0.2
    assert tsn.tuned[0].run.fingerprint == tsn.fingerprint
    assert protonet.tuned == ()
    made = tmp_path / "tuned"
    assert protonet.tuned_missing == f"no fine-tuned checkpoint of this method and number of shots in {made}"
    again = entries(frozen, plan(tmp_path))[1]
    assert np.array_equal(again.tuned[0].plain, tsn.tuned[0].plain)


def test_seeds_are_averaged(tmp_path: Path, frozen: FeatureCache) -> None:
    for seed in (0, 1):
        folder = tmp_path / "tuned" / f"seed{seed}"
        tuned_run(folder, folder, seed=seed, weights=str(seed + 1) * 64)
    _, tsn = entries(frozen, plan(tmp_path))
    assert len(tsn.tuned) == 2
    assert tsn.tuned_accuracy
    assert tsn.tuned_accuracy.mean == pytest.approx(np.mean([one.run.accuracy.mean for one in tsn.tuned]))


def test_two_runs_of_a_seed_are_not_averaged(tmp_path: Path, frozen: FeatureCache) -> None:
    first = tuned_run(tmp_path / "tuned" / "a", tmp_path / "tuned" / "a")
    shutil.copytree(first, tmp_path / "tuned" / "b")
    _, tsn = entries(frozen, plan(tmp_path))
    assert "two fine-tuned runs of seed 0" in tsn.tuned_missing
    assert not tsn.tuned


def test_without_a_run_every_row_says_the_same(tmp_path: Path, frozen: FeatureCache) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / BEST).write_bytes(b"nothing")
    found = entries(frozen, plan(tmp_path))
    assert {one.tuned_missing for one in found} == {f"no fine-tuned checkpoint in {tmp_path / 'tuned'}"}


def test_heads_alone_are_no_fine_tuned_runs(tmp_path: Path, frozen: FeatureCache) -> None:
    made = plan(tmp_path)
    row = made.rows[1]
    train_head(frozen, settings(frozen, row, 1, 0), made.tuned / "head", device=CPU)
    _, tsn = entries(frozen, made)
    assert tsn.tuned_missing == f"no fine-tuned checkpoint in {made.tuned}"


def test_a_missing_store_is_named_with_what_makes_it(tmp_path: Path, frozen: FeatureCache) -> None:
    folder = tmp_path / "tuned" / "a"
    tuned_run(folder, tmp_path / "elsewhere" / "deep" / "down")
    _, tsn = entries(frozen, plan(tmp_path))
    assert f"{folder}: there is no store of its backbone's features (weights 111111111111)" in tsn.tuned_missing
    wanted = f"`ta2n extract --dataset toy --checkpoint {folder} --cache {folder}`"
    assert wanted in tsn.tuned_missing
    assert "\n" not in tsn.tuned_missing


def test_runs_tested_on_other_episodes_have_no_mean(tmp_path: Path, frozen: FeatureCache) -> None:
    tuned_run(tmp_path / "tuned" / "a", tmp_path / "tuned" / "a")
    _, tsn = entries(frozen, plan(tmp_path))
    other: Any = dataclasses.replace(tsn.tuned[0].run, fingerprint="other")
    with pytest.raises(InputError, match="cannot be paired"):
        dataclasses.replace(tsn, tuned=(tsn.tuned[0], dataclasses.replace(tsn.tuned[0], run=other)))
