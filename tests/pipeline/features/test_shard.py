"""One shard: its receipt, and clips that are not those of their rows."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ta2n.cache_schema.errors import WorkerError
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.writer import CacheWriter
from ta2n.pipeline.features.forward import Forward
from ta2n.pipeline.features.plan import BackboneSpec, Plan
from ta2n.pipeline.features.shard import Clip, Receipt, compute_shard
from ta2n.pipeline.videos.decode import DecodedClip, FailedClip

NAMES = [f"clip{number}" for number in range(5)]


@pytest.fixture
def plan() -> Plan:
    spec = BackboneSpec(name="small", weights="none", weights_sha256="0" * 64, layer="pool", channels=3)
    rows = VideoTable.from_rows([(name, name, "x", "train") for name in NAMES])
    return Plan(dataset="clips", videos=rows, backbone=spec, frames=2)


def clip(name: str) -> DecodedClip:
    images = np.full((2, 256, 256, 3), 40 * (1 + NAMES.index(name)), np.uint8)
    steps = np.array([[0, 1]], np.int32)
    return DecodedClip(name, images, steps, steps, 2, 25.0)


def run(plan: Plan, store: Path, clips: list[Clip], rows: range, pending: list[int]) -> Receipt:
    writer = CacheWriter(
        store, plan.manifest(), plan.videos, map_shape=plan.map_shape, shard_size=3, compression="none"
    )
    forward = Forward(nn.AdaptiveAvgPool2d(7), plan.preprocessing, torch.device("cpu"), 4)
    given: Iterator[Clip] = iter(clips)
    return compute_shard(plan, rows, pending, writer=writer, clips=given, forward=forward)


def test_the_receipt_names_the_rows(plan: Plan, tmp_path: Path) -> None:
    clips: list[Clip] = [clip("clip0"), FailedClip("clip1", "clip1: it is broken"), clip("clip2")]
    receipt = run(plan, tmp_path / "clips.zarr", clips, range(3), [0, 1, 2])
    assert receipt == Receipt(range(3), done=(0, 2), failed=(1,))
    cache = FeatureCache.open(tmp_path / "clips.zarr")
    assert cache.failures() == [("clip1", "it is broken")]
    assert cache.done.tolist() == [True, False, True, False, False]
    maps = cache.read([0, 2]).float()
    assert torch.allclose(
        maps[1] - maps[0], (80 / 255 / torch.tensor(plan.preprocessing.std))[:, None, None, None], atol=5e-3
    )


@pytest.mark.parametrize("given", [["clip1", "clip0"], ["clip0", "clip3"]])
def test_a_clip_of_another_row_is_an_error_and_nothing_is_written(plan: Plan, tmp_path: Path, given: list[str]) -> None:
    with pytest.raises(WorkerError, match=r"row \d is the clip 'clip\d', and 'clip\d' was decoded for it"):
        run(plan, tmp_path / "clips.zarr", [clip(name) for name in given], range(3), [0, 1])
    assert not FeatureCache.open(tmp_path / "clips.zarr").done.any()


def test_rows_that_were_done_keep_their_maps(plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path / "clips.zarr", [clip("clip1")], range(3), [1])
    before = FeatureCache.open(tmp_path / "clips.zarr").read([1])
    assert run(plan, tmp_path / "clips.zarr", [clip("clip0"), clip("clip2")], range(3), [0, 2]).done == (0, 2)
    after = FeatureCache.open(tmp_path / "clips.zarr")
    assert torch.equal(after.read([1]), before)
    assert after.done.tolist() == [True] * 3 + [False] * 2


def test_the_decoder_of_each_clip_and_what_it_concealed_are_kept(plan: Plan, tmp_path: Path) -> None:
    told = [dataclasses.replace(clip("clip0"), decoder="pyav", concealed=3), clip("clip1"), clip("clip2")]
    told[2] = dataclasses.replace(told[2], decoder="decord", concealed=0)
    run(plan, tmp_path / "clips.zarr", list(told), range(3), [0, 1, 2])
    cache = FeatureCache.open(tmp_path / "clips.zarr")
    assert cache.concealed() == [("clip0", "pyav", 3)]
    assert cache.decoders() == {"not told": 1, "decord": 1, "pyav": 1}
