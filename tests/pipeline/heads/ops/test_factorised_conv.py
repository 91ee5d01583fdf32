"""The factorised convolution against the one of torch."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ta2n.pipeline.heads.ops.factorised_conv import (
    constant_taps,
    frame_taps,
    mix_frames,
    mix_taps,
    shift_sum,
    shifted,
    spatial_kernels,
    spread,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def convolved(maps: Tensor, weight: Tensor) -> Tensor:
    """(B, T, H, W, C) -> (B, T, H·W, O), by torch."""
    return F.conv3d(maps.permute(0, 4, 1, 2, 3), weight, padding=1).permute(0, 2, 3, 4, 1).flatten(2, 3)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_taps_summed_are_the_convolution(frames: int, size: int) -> None:
    maps, weight = random(2, frames, size, size, 3), random(4, 3, 3, 3, 3, seed=1)
    torch.testing.assert_close(shift_sum(frame_taps(maps, spatial_kernels(weight))), convolved(maps, weight))


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_mixed_taps_are_the_convolution_of_mixed_frames(frames: int) -> None:
    maps, weight, mixing = random(2, frames, 3, 3, 3), random(4, 3, 3, 3, 3, seed=1), random(2, frames, frames, seed=2)
    expected = convolved(mix_frames(mixing, maps), weight)
    taps = frame_taps(maps, spatial_kernels(weight))
    torch.testing.assert_close(shift_sum(mix_taps(mixing, taps)), expected)
    torch.testing.assert_close((shifted(mixing) @ taps.flatten(1, 2).flatten(2)).reshape(expected.shape), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_border_patterns_of_a_constant(size: int) -> None:
    values, weight = random(2, 4, 3), random(4, 3, 3, 3, 3, seed=1)
    maps = values[:, :, None, None].expand(-1, -1, size, size, -1)
    found = shift_sum(spread(constant_taps(values, spatial_kernels(weight)), size))
    torch.testing.assert_close(found, convolved(maps, weight))
