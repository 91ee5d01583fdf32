"""What a fine-tuning run learns from, keeps and gives."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tuning
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.commands.tuning import plan_finetuning
from ta2n.pipeline.demo.render import render_demo_clips
from ta2n.pipeline.evaluation.metrics import Estimate, estimate
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.features.backbones import load_backbone, weights_sha256
from ta2n.pipeline.heads import Head
from ta2n.pipeline.training.batches import episodes_of, seeded
from ta2n.pipeline.training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint, save_checkpoint
from ta2n.pipeline.training.finetune import network
from ta2n.pipeline.training.finetune.batch_norm import hold_statistics
from ta2n.pipeline.training.finetune.frames import ClipFrames
from ta2n.pipeline.training.finetune.task import FineTuneTask
from ta2n.pipeline.training.timing import Stopwatch
from ta2n.pipeline.videos.pool import DecodePool

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_tuning.registered():
        yield tiny_tuning.made(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(workers=1) as made:
        yield made


def task_of(folder: Path, pool: DecodePool, **changes: Any) -> FineTuneTask:
    given = {name: value for name, value in {**tiny_tuning.TUNE, **changes}.items() if name not in ("device",)}
    plan = plan_finetuning(folder / "feats", checkpoint=folder / "head", device="cpu", settings=given)
    settings = plan.settings
    clips = ClipFrames(
        plan.cache, plan.root, frames=settings.frames, pool=pool, seed=settings.seed, flip=bool(settings.flip)
    )
    return FineTuneTask(
        plan.cache, settings, plan.start, clips, device=CPU, scratch=Scratch(folder), run="run", clips_at_once=2
    )


def accuracies(task: FineTuneTask, monkeypatch: pytest.MonkeyPatch) -> np.ndarray[Any, Any]:
    """The val accuracy of each episode."""
    seen: list[np.ndarray[Any, Any]] = []

    def kept(values: np.ndarray[Any, Any]) -> Estimate:
        seen.append(values)
        return estimate(values)

    with monkeypatch.context() as patch:
        patch.setattr("ta2n.pipeline.training.finetune.task.estimate", kept)
        task.validate()
    return seen[0]


@pytest.mark.parametrize("frames", [4, 2])
def test_before_the_first_step_it_is_the_head_on_the_store(
    tmp_path: Path, pool: DecodePool, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On encoded clips, episode by episode; also where the head takes fewer frames than are stored."""
    with tiny_tuning.registered():
        render_demo_clips(tmp_path / "clips", clips_per_class=2)
        ta2n.extract(tmp_path / "clips", tmp_path / "feats", frames=4, **tiny_tuning.EXTRACT)
        ta2n.train_head(
            *(tmp_path / "feats", "otam"), out=tmp_path / "head", frames=frames, **{**tiny_tuning.SHORT, "project": 4}
        )
        task = task_of(tmp_path, pool, val_episodes=200, augment=False)
        found = accuracies(task, monkeypatch)
        cache = FeatureCache.open(tmp_path / "feats")
        head = load_checkpoint(tmp_path / "head").build()
        from ta2n.pipeline.cache.loader import MapLoader
        from ta2n.pipeline.evaluation.evaluate import evaluate

        loader = MapLoader(cache, frames=frames, device=CPU)
        expected = evaluate(head, loader, episodes_of(cache, task.settings, "val"), 200)
        assert np.array_equal(found, expected)
        assert len(set(expected.tolist())) > 1
        rows = episodes_of(cache, task.settings, "val").rows
        maps = network_maps(task, rows)
        torch.testing.assert_close(maps.float(), loader.test(rows).float(), rtol=2e-3, atol=2e-3)


def network_maps(task: FineTuneTask, rows: np.ndarray[Any, Any]) -> Tensor:
    from ta2n.pipeline.training.finetune.maps import tuned_maps

    return tuned_maps(task.network, task.clips, rows, CPU, task.scratch).test(rows)


def test_without_a_learning_rate_it_stays_the_head_on_the_store(folder: Path, tmp_path: Path) -> None:
    rates = {"lr": 1e-30, "lr_backbone": 0.0}
    run = tiny_tuning.tune(folder, tmp_path / "run", **rates, augment=False, val_episodes=50)
    assert len(run.progress.val) == 3
    assert set(run.progress.val) == {run.progress.val[0]}
    backbone = load_checkpoint(run.folder).backbone()
    assert backbone.spec.weights_sha256 == load_backbone(tiny_tuning.NAME, "random").spec.weights_sha256


def plainly(task: FineTuneTask, number: int) -> dict[str, Tensor]:
    """The gradients of an item by one backward through everything."""
    body, head = copy.deepcopy(task.network), copy.deepcopy(task.head)
    data = task.read(number)
    modules = nn.ModuleDict({"backbone": body, "head": head}).train()
    hold_statistics(body)
    mean = torch.tensor(task.clips.preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(task.clips.preprocessing.std).view(3, 1, 1)
    maps = [
        torch.unflatten(body((part.flatten(0, 1).float() / 255 - mean) / std), 0, part.shape[:2]).transpose(1, 2)
        for part in (data.support, data.query)
    ]
    with seeded(task.settings.seed, number, device=CPU):
        assert isinstance(head, Head)
        loss = head.loss(head(*maps, shot=task.settings.shot), torch.from_numpy(data.episode.query_labels))
    torch.autograd.backward(loss)
    return {name: one.grad for name, one in modules.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("kept", [0, 1 << 30])
@pytest.mark.parametrize(("trainable", "bn"), [("second", "frozen"), ("all", "frozen"), ("second", "clip")])
def test_what_it_learns_from_is_the_gradient_of_the_episode(
    folder: Path, pool: DecodePool, trainable: str, bn: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_KEPT_BYTES", kept)
    task = task_of(folder, pool, trainable=trainable, bn=bn)
    expected = plainly(task, 3)
    task.modules.train()
    learned = task.learn(3, task.read(3), Stopwatch())
    found = {name: one.grad for name, one in task.modules.named_parameters() if one.grad is not None}
    assert found.keys() == expected.keys()
    assert any(name.startswith("backbone.second") for name in found)
    assert any(name.startswith("backbone.first") for name in found) == (trainable == "all")
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()) + 1e-6)
    assert learned.clips == 2


@pytest.mark.parametrize("bn", ["frozen", "clip"])
def test_what_does_not_learn_keeps_its_bits_and_rates_are_two(folder: Path, tmp_path: Path, bn: str) -> None:
    before = load_file(folder / "head" / BEST)
    start = tiny_tuning.tiny_weights(tiny_tuning.NAME, "random", 0)[0].state_dict()
    rates = {"lr": 1e-30, "lr_backbone": 1e-2, "weight_decay": 0.1, "clip_norm": 1.0}
    tiny_tuning.tune(folder, tmp_path / "body", bn=bn, **rates)
    tensors = load_file(tmp_path / "body" / LAST)
    changed = {name for name, one in start.items() if not torch.equal(one, tensors[f"backbone.{name}"])}
    learning = {f"second.{name}" for name in ("0.weight", "1.weight", "1.bias")}
    running = {f"second.1.running_{name}" for name in ("mean", "var")}
    assert changed == (learning | running if bn == "clip" else learning)
    tiny_tuning.tune(folder, tmp_path / "head", lr=1e-2, lr_backbone=0.0, bn="frozen")
    tensors = load_file(tmp_path / "head" / LAST)
    assert all(torch.equal(one, tensors[f"backbone.{name}"]) for name, one in start.items())
    assert any(not torch.equal(one, tensors[f"head.{name}"]) for name, one in before.items())


def test_a_run_holds_head_and_backbone(folder: Path, tmp_path: Path) -> None:
    run = tiny_tuning.tune(folder, tmp_path / "run", val_episodes=0, lr_backbone=1e-2)
    stored = load_checkpoint(run.folder)
    head, backbone = stored.build(), stored.backbone()
    assert set(head.state_dict()) == {name for name in stored.tensors if not name.startswith("backbone.")}
    last = load_file(run.folder / LAST)
    tuned = tiny_tuning.tiny_weights(tiny_tuning.NAME, None, 0)[0]
    tuned.load_state_dict({name: last[f"backbone.{name}"] for name in tuned.state_dict()})
    assert backbone.spec.weights_sha256 == weights_sha256(tuned)
    assert backbone.spec.weights_sha256 != FeatureCache.open(folder / "feats").manifest.weights_sha256
    assert backbone.spec.weights == "random (seed 0), fine-tuned (run)"
    assert stored.metadata["backbone"]["weights_sha256"] == stored.metadata["features"]["weights_sha256"]
    assert stored.metadata["manifest"]["weights"] == backbone.spec.weights
    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(backbone.module(images), tuned.eval()(images))
    assert not any(one.requires_grad for one in backbone.module.parameters())
    with pytest.raises(InputError, match="was trained on other features"):
        ta2n.evaluate(folder / "feats", checkpoint=run.folder, test_episodes=2)
    with pytest.raises(InputError, match="holds a head and no backbone"):
        load_checkpoint(folder / "head").backbone()


def test_a_backbone_that_is_not_the_headers_is_refused(folder: Path, tmp_path: Path) -> None:
    run = tiny_tuning.tune(folder, tmp_path / "run", epochs=1)
    stored = load_checkpoint(run.folder)
    other = {**stored.tensors, "backbone.first.0.weight": 2 * stored.tensors["backbone.first.0.weight"]}
    with pytest.raises(InputError, match="its backbone's weights are others than its header says"):
        dataclasses.replace(stored, tensors=other).backbone()
    fewer = {name: one for name, one in stored.tensors.items() if name != "backbone.first.0.weight"}
    with pytest.raises(InputError, match=r"its tensor 'first\.0\.weight' is missing"):
        dataclasses.replace(stored, tensors=fewer).backbone()
    odd = {**stored.metadata, "backbone": {"name": tiny_tuning.NAME}}
    save_checkpoint(tmp_path / "odd.safetensors", Checkpoint(stored.tensors, odd))
    with pytest.raises(InputError, match="settings of another ta2n"):
        load_checkpoint(tmp_path / "odd.safetensors").backbone()
