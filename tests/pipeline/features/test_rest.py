"""Layers: maps of an earlier one, and what is behind it, which together are the whole backbone."""

import dataclasses

import pytest
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features.backbones import load_backbone, require_backbone, trained_network, weights_sha256
from ta2n.pipeline.features.networks import network_of
from ta2n.pipeline.features.rest import joined, rest_of


def cases() -> list[tuple[str, str]]:
    small = [("resnet18", layer) for layer in network_of("resnet18").layers]
    return [*small, ("resnet50", "layer3")]


@pytest.mark.parametrize(("name", "layer"), cases())
def test_maps_of_a_layer_have_the_promised_shape(name: str, layer: str) -> None:
    backbone = load_backbone(name, "random", layer=layer)
    with torch.inference_mode():
        maps = backbone.module(torch.rand(1, 3, 224, 224))
    assert maps.shape == (1, backbone.spec.channels, backbone.spec.map_size, backbone.spec.map_size)
    assert backbone.spec.layer == layer


def test_maps_of_every_block_have_the_promised_shape() -> None:
    network = network_of("efficientnet-lite0")
    whole, images = network.build().eval(), torch.rand(1, 3, 224, 224)
    for layer, (channels, size) in network.layers.items():
        with torch.inference_mode():
            assert network.part(whole, None, layer)(images).shape == (1, channels, size, size)


def test_layer3_of_resnet50_and_the_usual_layer() -> None:
    spec = load_backbone("resnet50", "random", layer="layer3").spec
    assert (spec.channels, spec.map_size) == (1024, 14)
    assert load_backbone("resnet18", "random").spec.layer == "layer4"


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet50", "layer3"), ("resnet18", "layer1"), ("efficientnet-lite0", "blocks10")]
)
def test_the_rest_on_stored_maps_gives_the_last_layers_maps(name: str, layer: str) -> None:
    before = load_backbone(name, "random", layer=layer)
    last = load_backbone(name, "random")
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        stored = before.module(images).half()
        found, expected = rest_of(before.spec)(stored.float()), last.module(images)
    assert float((found - expected).norm() / expected.norm()) < 1e-3
    assert before.spec.weights_sha256 == last.spec.weights_sha256


def test_the_rest_can_be_trained() -> None:
    rest = rest_of(load_backbone("resnet18", "random", layer="layer3").spec)
    rest(torch.rand(1, 256, 14, 14)).sum().backward()
    assert all(parameter.grad is not None for parameter in rest.parameters())
    assert not rest.training


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer3"), ("efficientnet-lite0", "blocks11")])
def test_a_trained_rest_goes_back_into_the_whole(name: str, layer: str) -> None:
    spec = load_backbone(name, "random", layer=layer).spec
    rest = rest_of(spec)
    whole = joined(spec, rest)
    assert weights_sha256(whole) == spec.weights_sha256
    with torch.no_grad():
        for parameter in rest.parameters():
            parameter.mul_(1.5)
    tuned = joined(spec, rest)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        stored = network_of(name).part(trained_network(spec), None, layer).eval()(images)
        torch.testing.assert_close(tuned(images), rest(stored))
    assert weights_sha256(tuned) != spec.weights_sha256


def test_joining_changes_nothing_of_the_rest_and_takes_no_other() -> None:
    spec = load_backbone("resnet18", "random", layer="layer3").spec
    rest = rest_of(spec)
    whole = joined(spec, rest)
    with torch.no_grad():
        next(iter(rest.parameters())).zero_()
    assert weights_sha256(whole) == spec.weights_sha256
    with pytest.raises(InputError, match="the layers to join are not those behind layer2 of resnet18"):
        joined(dataclasses.replace(spec, layer="layer2"), rest)


def test_nothing_is_behind_the_last_layer() -> None:
    spec = load_backbone("resnet18", "random").spec
    with pytest.raises(InputError, match=r"layer4 is the last layer of resnet18.*extract with --layer layer3"):
        rest_of(spec)


@pytest.mark.parametrize("layer", ["layer3", "layer4"])
def test_other_weights_than_the_stores_are_refused(layer: str) -> None:
    spec = load_backbone("resnet18", "random", layer=layer).spec
    with pytest.raises(InputError, match="are others than planned"):
        trained_network(dataclasses.replace(spec, seed=1))


def test_a_layer_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        InputError, match="resnet18 has no layer 'layer5'; choose one of layer1, layer2, layer3, layer4"
    ):
        load_backbone("resnet18", "random", layer="layer5")
    with pytest.raises(InputError, match=r"has no layer 'layer4'; choose one of blocks0, .*, blocks15, head"):
        require_backbone("efficientnet-lite0", "layer4")
