"""Files of weights: where checkpoints keep them, what wrappers call them, and what is never loaded."""

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.features.backbones import load_backbone
from ta2n.pipeline.features.weights import read_state_dict

STATE = {"conv1.weight": torch.ones(2), "bn1.bias": torch.zeros(3)}


def save(folder: Path, stored: Any) -> Path:
    torch.save(stored, folder / "w.pth")
    return folder / "w.pth"


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize(
    "stored",
    [
        STATE,
        OrderedDict(STATE),
        {"state_dict": STATE},
        {"model": STATE},
        {"model_state_dict": STATE, "epoch": 3, "optimizer": {"lr": 0.1}},
        {"model": STATE, "args": Namespace(lr=0.1)},
        {"model": {"state_dict": STATE}},
        {"state_dict": prefixed("module.")},
        {"model": prefixed("backbone.")},
        {"state_dict": prefixed("model.")},
        prefixed("module.backbone."),
        prefixed("model.backbone."),
        prefixed("backbone.") | {"head.fc.weight": torch.ones(4)},
        prefixed("module.backbone.") | {"module.cls_head.weight": torch.ones(4)},
    ],
    ids=lambda stored: ", ".join(map(str, stored)),
)
def test_weights_are_found_wherever_scripts_put_them(tmp_path: Path, stored: Any) -> None:
    assert same(read_state_dict(save(tmp_path, stored)))


def test_safetensors(tmp_path: Path) -> None:
    safetensors.torch.save_file(prefixed("module."), tmp_path / "w.safetensors")
    assert same(read_state_dict(tmp_path / "w.safetensors"))
    (tmp_path / "w.safetensors").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"w.safetensors: not a safetensors file"):
        read_state_dict(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"state_dict": STATE, "model": STATE}, "holds weights under state_dict and under model; save the one"),
        (STATE | prefixed("backbone."), "holds both bn1.bias and backbone.bn1.bias; save the one"),
        (STATE | prefixed("module."), "holds both bn1.bias and module.bn1.bias; save the one"),
        ({}, "expected a state dict"),
        ([torch.ones(1)], "found a list"),
        (torch.ones(1), "found a Tensor"),
        ({"epoch": 3, "loss": 0.5}, "found a dict of epoch, loss"),
        ({"encoder": STATE}, "found a dict of encoder"),
        (torchvision.models.resnet18(), r"holds a pickled module \(torchvision.models.resnet\."),
        (nn.Linear(2, 2), r"holds a pickled module \(torch.nn.modules.linear.Linear\)"),
        ({"model": nn.Linear(2, 2)}, r"holds a pickled module"),
        ({"model": STATE, "when": np.random.default_rng(0)}, r"holds Python objects beside its tensors \(.*numpy"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_no_state_dict_is_one_line(tmp_path: Path, stored: Any, message: str, zipped: bool) -> None:
    torch.save(stored, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=message) as caught:
        read_state_dict(tmp_path / "w.pth")
    assert str(caught.value).startswith(str(tmp_path / "w.pth"))
    assert "\n" not in str(caught.value)
    if "pickled" in message:
        assert "torch.save(model.state_dict(), FILE)" in str(caught.value)


@pytest.mark.parametrize("held", [b"", b"hello", b"PK\x03\x04 cut short", bytes(1000), b"\x80\x04K\x01."])
def test_bytes_that_are_no_file_of_tensors(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(held)
    with pytest.raises(InputError, match=r"w.pth: ") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such weights file"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-lite0"])
def test_every_backbone_takes_a_checkpoint(tmp_path: Path, name: str) -> None:
    plain = load_backbone(name, "random", seed=3)
    if name == "resnet18":
        torch.manual_seed(3)
        state = torchvision.models.get_model(name, weights=None, zero_init_residual=True).state_dict()
    else:
        from ta2n.pipeline.features.efficientnet_lite import EfficientNetLite0

        state = EfficientNetLite0().state_dict()
    torch.save({"model": {f"module.backbone.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    found = load_backbone(name, str(tmp_path / "w.pth"))
    assert found.spec.channels == plain.spec.channels
    assert found.spec.weights == "w.pth"
    if name == "resnet18":
        assert found.spec.weights_sha256 == plain.spec.weights_sha256
