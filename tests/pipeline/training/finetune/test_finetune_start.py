"""What fine-tuning starts from: the backbone that made the store, found by name, by file, or in a fine-tuned run."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_tuning
import torch
from torch import nn

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.datasets.resolve import resolve
from ta2n.pipeline.features import extract as stage
from ta2n.pipeline.features import networks
from ta2n.pipeline.features.networks import Backbone
from ta2n.pipeline.features.plan import Plan
from ta2n.pipeline.training.checkpoint import load_checkpoint
from ta2n.pipeline.training.finetune.start import backbone_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_tuning.registered():
        yield tiny_tuning.made(tmp_path_factory.mktemp("tuning"))


def store(folder: Path, cache: Path, **changes: Any) -> FeatureCache:
    ta2n.extract(folder / "clips", cache, frames=4, **{**tiny_tuning.EXTRACT, **changes})
    return FeatureCache.open(cache)


def store_of(folder: Path, cache: Path, backbone: Backbone) -> FeatureCache:
    """A store of a backbone that has no name."""
    found = resolve(folder / "clips")
    plan = Plan(dataset="clips", videos=found.videos, backbone=backbone.spec, frames=4, resize=(32, 36))
    stage.extract(plan, cache, device=torch.device("cpu"), network=backbone.module, workers=1)
    return FeatureCache.open(cache)


def test_random_weights_are_found_by_their_seed(folder: Path, tmp_path: Path) -> None:
    cache = store(folder, tmp_path, seed=3)
    found = backbone_of(cache)
    assert found.spec.weights == "random (seed 3)"
    assert found.spec.weights_sha256 == cache.manifest.weights_sha256
    assert any(isinstance(one, nn.BatchNorm2d) for one in found.module.modules())


def test_weights_of_a_file_are_to_be_given(folder: Path, tmp_path: Path) -> None:
    for seed in (7, 8):
        (tmp_path / f"{seed}.pth").write_text(str(seed))
    cache = store(folder, tmp_path / "feats", weights=str(tmp_path / "7.pth"))
    with pytest.raises(InputError, match=r"its weights are '7\.pth'; give their file, or their run, with --weights"):
        backbone_of(cache)
    with pytest.raises(InputError, match=r"8\.pth: are other weights of tiny .* give its own, 7\.pth, with --weights"):
        backbone_of(cache, tmp_path / "8.pth")
    found = backbone_of(cache, tmp_path / "7.pth").spec
    assert (found.weights, found.source) == ("7.pth", None)


def test_a_tuned_run_can_be_tuned_further_on_a_store_of_its_own(folder: Path, tmp_path: Path) -> None:
    first = tiny_tuning.tune(folder, tmp_path / "first", lr_backbone=1e-2, epochs=1, val_episodes=0)
    with pytest.raises(InputError, match="was trained on other features"):
        tiny_tuning.tune(folder, tmp_path / "second", checkpoint=first.folder)
    with pytest.raises(InputError, match="are other weights of tiny than those of"):
        tiny_tuning.tune(folder, tmp_path / "second", weights=first.folder)
    cache = store_of(folder, tmp_path / "feats" / "clips.zarr", load_checkpoint(first.folder).backbone())
    assert cache.manifest.weights == "random (seed 0), fine-tuned (first)"
    with pytest.raises(InputError, match=r"its weights are 'random \(seed 0\), fine-tuned \(first\)'; give their file"):
        backbone_of(cache)
    assert backbone_of(cache, first.folder).spec.weights_sha256 == cache.manifest.weights_sha256
    found = ta2n.evaluate(tmp_path / "feats", checkpoint=first.folder, split="val", test_episodes=20)
    second = tiny_tuning.tune(tmp_path, tmp_path / "second", checkpoint=first.folder, epochs=1, val_episodes=20)
    assert second.progress.val[0] == found.accuracy.mean
    weights = load_checkpoint(second.folder).metadata["backbone"]["weights"]
    assert weights == "random (seed 0), fine-tuned (first), fine-tuned (second)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"layers": {"second": (8, 7), "third": (8, 7)}}, "layer second"), ({"image_size": 24}, "crop 28")],
)
def test_maps_of_another_layer_or_crop_are_refused(
    folder: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache.open(folder / "feats")
    usual = networks.NETWORKS[tiny_tuning.NAME]
    monkeypatch.setitem(networks.NETWORKS, tiny_tuning.NAME, dataclasses.replace(usual, **changes))
    with pytest.raises(InputError, match="its maps are not those of tiny's") as caught:
        backbone_of(cache)
    assert message in str(caught.value)
