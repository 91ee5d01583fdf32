"""Backbones of fine-tuned runs: loaded from a run's tensors, built again by a worker, refused where they do not fit."""

import dataclasses
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features.backbones import load_backbone, rebuild, trained_network, weights_sha256
from ta2n.pipeline.features.plan import BackboneSpec
from ta2n.pipeline.features.tuned import plain_spec, read_tuned, spec_of, tuned_backbone


def tuned(name: str = "resnet18", layer: str | None = None) -> tuple[BackboneSpec, dict[str, Tensor], nn.Module]:
    """A spec, the tensors of a checkpoint with a head beside, and the network as it was trained."""
    spec = load_backbone(name, "random", layer=layer).spec
    network = trained_network(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    tensors = {f"backbone.{key}": value for key, value in network.state_dict().items()}
    return (
        dataclasses.replace(spec, weights_sha256=weights_sha256(network)),
        {**tensors, "ttm.weight": torch.ones(3)},
        network,
    )


def stored(folder: Path, spec: BackboneSpec, tensors: Mapping[str, Tensor], **header: Any) -> Path:
    file = folder / "best.safetensors"
    text = json.dumps({"backbone": plain_spec(spec), **header})
    safetensors.torch.save_file({key: one.contiguous() for key, one in tensors.items()}, file, {"ta2n": text})
    return file


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-lite0"])
def test_a_tuned_backbone_computes_what_the_trained_network_computes(name: str) -> None:
    spec, tensors, network = tuned(name)
    backbone = tuned_backbone(spec, tensors)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected, found = network(images), backbone.module(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert backbone.spec == spec
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.module.modules())


def test_a_worker_builds_it_again_from_its_file(tmp_path: Path) -> None:
    spec, tensors, _ = tuned()
    found, kept = read_tuned(stored(tmp_path, spec, tensors))
    assert found == dataclasses.replace(spec, source=str(tmp_path / "best.safetensors"))
    assert kept.keys() == {name for name in tensors if name.startswith("backbone.")}
    sent = pickle.loads(pickle.dumps(found))
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(rebuild(sent)(images), tuned_backbone(spec, tensors).module(images))


def test_another_file_under_the_same_name_is_refused(tmp_path: Path) -> None:
    spec, tensors, _ = tuned()
    planned, _ = read_tuned(stored(tmp_path, spec, tensors))
    changed = {name: one + 1 if one.is_floating_point() else one for name, one in tensors.items()}
    stored(tmp_path, spec, changed)
    with pytest.raises(InputError, match=r"best.safetensors: its backbone's tensors have the sha256 .*, expected"):
        rebuild(planned)


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {key: one for key, one in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("backbone.0.weight"), r"its tensor backbone.0.weight is missing"),
        (lambda tensors: {**tensors, "backbone.9.bias": torch.ones(1)}, r"backbone.9.bias is not one of resnet18"),
        (
            lambda tensors: {**tensors, "backbone.0.weight": torch.ones(2, 3)},
            r"backbone.0.weight is float32 \(2, 3\), expected float32 \(64, 3, 7, 7\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    from ta2n.pipeline.features.networks import tensors_sha256

    spec, tensors, _ = tuned()
    tensors = change(tensors)
    own = {key.removeprefix("backbone."): one for key, one in tensors.items() if key.startswith("backbone.")}
    with pytest.raises(InputError, match=message):
        tuned_backbone(dataclasses.replace(spec, weights_sha256=tensors_sha256(own)), tensors)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "backbone is NoneType, expected a mapping"),
        ({"name": "resnet18"}, "misses or adds channels, layer, weights, weights_sha256"),
        ({"colour": "red"}, "misses or adds colour"),
        ({"channels": "many"}, "backbone.channels is 'many', expected int"),
        ({"mean": [0.5]}, r"backbone.mean is \[0.5\], expected three numbers"),
        ({"layer": "layer9"}, "resnet18 has no layer 'layer9'; choose one of layer1, layer2, layer3, layer4"),
        ({"name": "vgg"}, "backbone 'vgg' is not known"),
    ],
)
def test_a_header_that_describes_no_backbone_is_refused(values: Any, message: str) -> None:
    whole = json.loads(json.dumps(plain_spec(load_backbone("resnet18", "random").spec)))
    if isinstance(values, dict) and values != {"name": "resnet18"}:
        values = {**whole, **values}
    with pytest.raises(InputError, match=message):
        spec_of(values, source="runs/a/best.safetensors")


def test_plain_values_give_the_spec_back() -> None:
    spec = load_backbone("efficientnet-lite0", "random").spec
    values = json.loads(json.dumps(plain_spec(spec)))
    assert spec_of(values, source="a") == dataclasses.replace(spec, source="a")


def test_weights_of_a_run_are_asked_for_as_a_checkpoint(tmp_path: Path) -> None:
    spec, tensors, _ = tuned()
    file = stored(tmp_path, spec, tensors)
    with pytest.raises(InputError, match=r"holds a fine-tuned backbone beside its head; give it with --checkpoint"):
        load_backbone("resnet18", str(file))


def test_a_file_of_a_head_alone_is_no_tuned_backbone(tmp_path: Path) -> None:
    file = tmp_path / "best.safetensors"
    safetensors.torch.save_file({"a": torch.ones(1)}, file, {"ta2n": "{}"})
    with pytest.raises(InputError, match="holds a head alone, no backbone; give the folder of a run of ta2n finetune"):
        read_tuned(file)
    safetensors.torch.save_file({"a": torch.ones(1)}, file)
    with pytest.raises(InputError, match="not the checkpoint of a fine-tuned run"):
        read_tuned(file)
