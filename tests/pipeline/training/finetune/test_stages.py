"""Which part of a backbone learns, by name."""

import pytest
import tiny_tuning
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features.backbones import Backbone, load_unfolded
from ta2n.pipeline.training.finetune.stages import split, stages_of, trainable_parameters, usual

RESNET, LITE = "resnet18", "efficientnet-lite0"


def learning(backbone: Backbone) -> set[str]:
    """The first parts of the names of the parameters that learn."""
    depth = 2 if backbone.spec.name == LITE else 1
    return {
        ".".join(name.split(".")[:depth]).removesuffix(".weight").removesuffix(".bias")
        for name, one in backbone.module.named_parameters()
        if one.requires_grad
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layer4", {"7"}),
        ("layer3+", {"6", "7"}),
        ("layer3", {"6"}),
        ("layer1+", {"4", "5", "6", "7"}),
        ("stem+", {"0", "1", "4", "5", "6", "7"}),
        ("all", {"0", "1", "4", "5", "6", "7"}),
    ],
)
def test_the_stages_of_a_resnet(text: str, expected: set[str]) -> None:
    backbone = load_unfolded(RESNET, "random")
    parameters = trainable_parameters(backbone, text)
    assert learning(backbone) == expected
    assert {id(one) for one in parameters} == {id(one) for one in backbone.module.parameters() if one.requires_grad}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("head", {"conv_head", "bn1"}),
        ("blocks15+", {"blocks.15", "conv_head", "bn1"}),
        ("blocks12+", {*(f"blocks.{number}" for number in range(12, 16)), "conv_head", "bn1"}),
        ("stem", {"conv_stem", "bn0"}),
    ],
)
def test_the_stages_of_efficientnet_lite0(text: str, expected: set[str]) -> None:
    backbone = load_unfolded(LITE, "random")
    trainable_parameters(backbone, text)
    assert learning(backbone) == expected
    trainable_parameters(backbone, "all")
    assert all(one.requires_grad for one in backbone.module.parameters())


def test_what_learns_where_nobody_says() -> None:
    found = {name: usual(load_unfolded(name, "random")) for name in (RESNET, LITE)}
    assert found == {RESNET: "layer4", LITE: "blocks12+"}
    with tiny_tuning.registered():
        assert usual(load_unfolded(tiny_tuning.NAME, "random")) == "second"


@pytest.mark.parametrize("text", ["layer5", "", "+", "layer3++", "Layer4", "blocks3"])
def test_a_stage_that_is_not_there_is_refused_with_those_that_are(text: str) -> None:
    backbone = load_unfolded(RESNET, "random")
    with pytest.raises(InputError) as caught:
        trainable_parameters(backbone, text)
    said = str(caught.value)
    assert f"--trainable {text!r}: resnet18 has no such stage" in said
    assert "all, one of stem, layer1, layer2, layer3, layer4, or one of them and all behind it, as layer4+" in said
    assert "\n" not in said


@pytest.mark.parametrize(("name", "text", "fixed"), [(RESNET, "layer3+", 3), (LITE, "blocks14+", 15), (LITE, "all", 0)])
def test_the_stages_one_after_the_other_are_the_backbone(name: str, text: str, fixed: int) -> None:
    backbone = load_unfolded(name, "random")
    trainable_parameters(backbone, text)
    first, second = split(stages_of(backbone))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(second(first(images)), backbone.module(images))
    assert len(first) == fixed
    assert not any(one.requires_grad for one in first.parameters())
