"""`extract --checkpoint`: a store of a fine-tuned backbone's features, which everything takes as any other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tuned_runs import make_tuned, tuned_resnet18, write_clips
from typer.testing import CliRunner

import ta2n
from ta2n.cache_schema.errors import InputError, ManifestMismatchError, MissingError
from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.commands.extract import plan_extraction
from ta2n.pipeline.config.stored import from_stored
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.features.backbones import rebuild
from ta2n.pipeline.training.batches import episodes_of
from ta2n.pipeline.training.checkpoint import load_checkpoint
from ta2n.pipeline.training.finetune.settings import FineTuneSettings

TINY: dict[str, Any] = {"backbone": "resnet18", "weights": "random", "frames": 3, "workers": 1}
SHORT: dict[str, Any] = {"way": 2, "queries": 1, "epochs": 1, "episodes": 2, "val_episodes": 4, "project": 8}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, features of frames taken as no protocol does by default, a head on them, and the head's tuned backbone."""
    root = tmp_path_factory.mktemp("world")
    write_clips(root / "clips")
    ta2n.extract(root / "clips", root / "feats", rule="linspace", resize="short-240", normalise="none", **TINY)
    ta2n.train_head(root / "feats", "protonet", out=root / "head", **SHORT)
    make_tuned(root / "head", root / "tuned", tuned_resnet18())
    ta2n.extract(root / "clips", root / "tuned-feats", checkpoint=root / "tuned", workers=1)
    return root


def published_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The trunk's tensors by torchvision's names."""
    places = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    return {".".join([places[name.split(".")[0]], *name.split(".")[1:]]): one for name, one in state.items()}


def test_the_store_holds_what_a_file_of_the_same_weights_gives(world: Path, tmp_path: Path) -> None:
    torch.save(published_names(tuned_resnet18().state_dict()), tmp_path / "w.pth")
    asked = TINY | {"weights": str(tmp_path / "w.pth")}
    ta2n.extract(world / "clips", tmp_path, rule="linspace", resize="short-240", normalise="none", **asked)
    one, other = FeatureCache.open(world / "tuned-feats"), FeatureCache.open(tmp_path)
    rows = np.arange(12)
    assert torch.equal(one.read(rows), other.read(rows))
    assert one.manifest.features() == other.manifest.features()


def test_the_manifest_says_where_the_weights_came_from(world: Path) -> None:
    before, after = (FeatureCache.open(world / name).manifest for name in ("feats", "tuned-feats"))
    assert after.weights == "random (seed 0), fine-tuned (tuned)"
    assert after.weights_source == "ta2n finetune on clips with protonet, 2-way 1-shot, seed 0"
    assert after.weights_sha256 != before.weights_sha256
    assert (after.preprocessing, after.sampling, after.layer) == (before.preprocessing, before.sampling, before.layer)


def test_the_runs_head_is_at_home_on_it_and_on_no_other(world: Path) -> None:
    test: dict[str, Any] = {"way": 2, "queries": 1, "test_episodes": 9}
    found = ta2n.evaluate(world / "tuned-feats", checkpoint=world / "tuned", against="protonet", **test)
    assert found.accuracy.episodes == 9
    with pytest.raises(InputError, match=r"was trained on other features.*weights_sha256"):
        ta2n.evaluate(world / "feats", checkpoint=world / "tuned", **test)
    with pytest.raises(InputError, match=r"was trained on other features.*weights_sha256"):
        ta2n.evaluate(world / "tuned-feats", checkpoint=world / "head", **test)


def test_a_fine_tuned_run_gets_its_val_accuracy_on_the_store_of_its_features(world: Path, tmp_path: Path) -> None:
    few: dict[str, Any] = {"epochs": 1, "episodes": 2, "val_episodes": 20, "queries": 1, "workers": 1}
    run = ta2n.finetune(world / "feats", checkpoint=world / "head", out=tmp_path / "run", lr_backbone=1e-3, **few)
    ta2n.extract(world / "clips", tmp_path / "feats", checkpoint=run.folder, workers=1)
    cache, stored = FeatureCache.open(tmp_path / "feats"), load_checkpoint(run.folder)
    assert cache.manifest.hash() == stored.metadata["manifest_hash"]
    settings = from_stored(FineTuneSettings, stored.metadata["settings"], source=run.folder)
    loader = MapLoader(cache, frames=3, device=torch.device("cpu"))
    found = evaluate(stored.build(), loader, episodes_of(cache, settings, "val"), 20)
    assert found.mean() == pytest.approx(stored.metadata["progress"]["best_val"], abs=1e-9)
    with torch.inference_mode():
        images = torch.rand(1, 3, 224, 224)
        planned = plan_extraction(world / "clips", tmp_path / "feats", checkpoint=run.folder)
        assert torch.equal(planned.network(images), stored.backbone().module(images))


def test_another_method_trains_on_it(world: Path, tmp_path: Path) -> None:
    run = ta2n.train_head(world / "tuned-feats", "otam", out=tmp_path / "otam", **SHORT)
    assert run.folder == tmp_path / "otam"


def test_a_worker_builds_the_planned_network_and_a_changed_run_is_refused(world: Path, tmp_path: Path) -> None:
    run = make_tuned(world / "head", tmp_path / "run", tuned_resnet18(2))
    planned = plan_extraction(world / "clips", tmp_path / "f", checkpoint=run)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(rebuild(planned.plan.backbone)(images), planned.network(images))
    (run / "best.safetensors").unlink()
    run.rmdir()
    make_tuned(world / "head", run, tuned_resnet18(3))
    with pytest.raises(InputError, match="tensors have the sha256"):
        rebuild(planned.plan.backbone)


def test_features_of_two_backbones_do_not_mix(world: Path) -> None:
    with pytest.raises(ManifestMismatchError, match="weights"):
        ta2n.extract(world / "clips", world / "feats", checkpoint=world / "tuned", workers=1)


def test_a_protocol_that_is_named_is_heard_before_the_run(world: Path, tmp_path: Path) -> None:
    planned = plan_extraction(world / "clips", tmp_path, protocol="ta2n-paper", checkpoint=world / "tuned")
    assert (planned.plan.rule, planned.plan.resize, planned.plan.frames) == ("tsn", (256, 256), 3)
    planned = plan_extraction(world / "clips", tmp_path, checkpoint=world / "tuned", settings={"rule": "tsn"})
    assert (planned.plan.rule, planned.plan.resize) == ("tsn", 240)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--backbone", "resnet18"), "--backbone beside --checkpoint"),
        (("--weights", "random"), "--weights beside --checkpoint"),
        (("--backbone", "resnet18", "--weights", "random"), "--backbone and --weights beside --checkpoint"),
        (("--layer", "head"), "resnet18 has no layer 'head'; choose one of layer1, layer2, layer3, layer4"),
    ],
)
def test_what_does_not_go_with_a_checkpoint_is_refused_in_one_line(
    world: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    words = ["extract", "--dataset", str(world / "clips"), "--cache", str(tmp_path / "f")]
    made = CliRunner().invoke(app, [*words, "--checkpoint", str(world / "tuned"), *more])
    assert made.exit_code == 2
    assert message in " ".join(made.stderr.split())
    assert not (tmp_path / "f").exists()


def test_a_run_without_a_backbone_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds a head alone, no backbone; give a run of `ta2n finetune`"):
        ta2n.extract(world / "clips", tmp_path, checkpoint=world / "head")
    with pytest.raises(MissingError, match="no checkpoint there"):
        ta2n.extract(world / "clips", tmp_path, checkpoint=world / "none")


def test_layers_are_kept_apart_and_named(world: Path, tmp_path: Path) -> None:
    ta2n.extract(world / "clips", tmp_path, layer="layer3", **TINY)
    cache = FeatureCache.open(tmp_path)
    assert cache.map_shape == (256, 3, 14, 14)
    assert cache.manifest.layer == "layer3"
    with pytest.raises(ManifestMismatchError, match="layer: layer3 -> layer4"):
        ta2n.extract(world / "clips", tmp_path, **TINY)
    tuned = plan_extraction(world / "clips", tmp_path / "t", checkpoint=world / "tuned", settings={"layer": "layer3"})
    assert tuned.plan.map_shape == (256, 3, 14, 14)
