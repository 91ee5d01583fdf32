"""A plan is plain data: it travels, it prints, and a network can be built again from it."""

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.features.backbones import load_backbone, rebuild
from ta2n.pipeline.features.plan import BackboneSpec, Plan

ROWS = VideoTable.from_rows([("a", "a.mp4", "x", "train"), ("b", "b.mp4", "x", "train")], root="clips")


def plan(spec: BackboneSpec) -> Plan:
    return Plan(dataset="clips", videos=ROWS, backbone=spec, frames=4, views=2)


def test_a_plan_travels_and_its_network_is_built_again(tmp_path: Path) -> None:
    torch.manual_seed(3)
    file = tmp_path / "mine.pth"
    torch.save(resnet18().state_dict(), file)
    for weights in ("random", str(file)):
        loaded = load_backbone("resnet18", weights, seed=5)
        sent = pickle.loads(pickle.dumps(plan(loaded.spec)))
        assert sent.manifest() == plan(loaded.spec).manifest()
        assert sent.job(1) == plan(loaded.spec).job(1)
        images = torch.rand(1, 3, 64, 64)
        with torch.inference_mode():
            assert torch.equal(rebuild(sent.backbone)(images), loaded.module(images))


def test_a_plan_prints_without_a_tensor_or_a_thousand_rows() -> None:
    text = repr(plan(load_backbone("resnet18", "random").spec))
    assert "BackboneSpec(name='resnet18'" in text
    assert len(text) < 1000


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save(resnet18().state_dict(), file)
    spec = load_backbone("resnet18", str(file)).spec
    torch.save(resnet18().state_dict(), file)
    with pytest.raises(InputError, match=r"mine.pth' of resnet18 are others than planned \(sha256 .*expected"):
        rebuild(spec)


def test_the_size_of_frames_follows_the_backbone() -> None:
    spec = BackboneSpec(
        name="x", weights="none", weights_sha256="0", layer="l", channels=3, image_size=300, map_size=10
    )
    with pytest.raises(InputError, match="smaller than the crop of 300 pixels"):
        plan(spec)
    made = dataclasses.replace(plan(dataclasses.replace(spec, image_size=224)), resize=320)
    assert made.map_shape == (3, 4, 10, 10)


def test_a_plan_needs_no_torch() -> None:
    code = "import sys, ta2n.pipeline.features.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
