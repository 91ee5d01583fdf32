"""The offset network of SC over all pairs of clips, with everything that depends on one clip computed once.

As published the network sees the channels of both clips side by side. Its first convolution, by far the dearest, is
linear, so it is the sum of a support half and a query half, each made once a clip. TC adds to a query something that
differs from pair to pair, but is one number v per frame and channel, the same at every position. A 3×3 kernel

    a b c
    d e f        then needs nine products v·a … v·i, and not one for each position:
    g h i

    corner         edge           inside             a position sums the products of the cells that do not hang over
    · · ·          · · ·          a b c              the border, which are zero there. There are nine such patterns
    · e f          d e f          d e f              (four corners, four edges, the inside), so that a pair costs a
    · h i          g h i          g h i              product with a (positions, 9) matrix of ones and zeros.

In evaluation the first batch normalisation is a scale and a shift of each channel and goes into the summands, which are
smaller than the sums; and rows and columns that no pooling looks at are left out.
"""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.ops.factorised_conv import (
    border_patterns,
    constant_taps,
    frame_taps,
    map_kernels,
    mix_taps,
    shift_sum,
    shifted,
    spatial_kernels,
    spread,
)

# Two poolings by 2 must leave one cell.
SMALLEST = 4
REACH = 0.75


class OffsetNetwork(nn.Sequential):
    """Offsets of every pair of N supports and Q queries; its layers have the names of the published checkpoints.

    The last layer starts at zero: every offset is 0. In training all pairs of an episode share the statistics of its
    batch normalisations.

    Args:
        channels: C of one clip.
        size: H = W, at least 4.

    Raises:
        InputError: the maps are too small for two poolings.
    """

    def __init__(self, channels: int, size: int) -> None:
        if size < SMALLEST:
            raise InputError(
                f"SC pools space by 2 twice and needs maps of {SMALLEST}×{SMALLEST}, but size={size}; use sc=False"
            )
        super().__init__(*_layers(channels))
        self.channels, self.size = channels, size

    def support_taps(
        self, maps: Tensor, warp: Tensor | None, value: Tensor | None, mapping: nn.Conv1d | None = None
    ) -> Tensor:
        """The support half of the first convolution, before the sum over time: (B, 3, T, P, O) at P positions.

        P is H·W in training, and only what the first pooling looks at else.

        Args:
            maps: raw maps (B, T, H, W, C), of any precision.
            warp: (B, T, T) of TTM, or None.
            value: (B, T, C), what TC adds to every position, or None.
            mapping: a 1×1 map of the maps to put into the convolution, or None.
        """
        kernels = spatial_kernels(self._convolution.weight[:, : self.channels])
        taps = mix_taps(warp, frame_taps(maps, _after(mapping, kernels), self._kept))
        return taps if value is None else taps + spread(constant_taps(value, kernels), self.size, self._kept)

    def query_half(
        self, maps: Tensor, warp: Tensor | None, value: Tensor | None, mapping: nn.Conv1d | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The query half of the first convolution without what TC adds, and what TC will add; arguments as above.

        Returns:
            (B, T, P, O), and taps (B, 3, T, 9, O) of the values, to be mixed by the attention of each pair.
        """
        kernels = spatial_kernels(self._convolution.weight[:, self.channels :])
        half = shift_sum(mix_taps(warp, frame_taps(maps, _after(mapping, kernels), self._kept)))
        return half, None if value is None else constant_taps(value, kernels)

    def offsets(
        self, support: Tensor, query: Tensor, attention: Tensor | None = None, value_taps: Tensor | None = None
    ) -> Tensor:
        """Offsets of every pair, before perturbation.

        Args:
            support: support halves (N, T, P, O).
            query: query halves (Q, T, P, O).
            attention: (N, Q, T, T) of TC, or None.
            value_taps: (Q, 3, T, 9, O) of TC, or None.

        Returns:
            (N, Q, T, 2), last axis (x, y), in ±0.75 of half a frame.
        """
        N, Q, T = len(support), len(query), support.shape[1]
        scale, shift = self._scale_and_shift()
        if scale is not None:
            support, query = support * scale, query * scale
            value_taps = None if value_taps is None else value_taps * scale
        pairs = ((support + shift) + query[:, None]).flatten(0, 2)  # (Q·N·T, P, O)
        if attention is not None and value_taps is not None:
            mixing = shifted(attention).transpose(0, 1)  # (Q, N, T, 3·T)
            cells = torch.unflatten(mixing.flatten(1, 2) @ value_taps.flatten(1, 2).flatten(2), 2, (9, -1))
            patterns = border_patterns(self.size, self._kept, pairs).expand(len(pairs), -1, -1)
            pairs = pairs.baddbmm_(patterns, cells.flatten(0, 1).to(pairs.dtype))
        out = self._behind_the_first(torch.unflatten(pairs, 1, (self._kept, self._kept)), T)
        return REACH * torch.unflatten(out, 0, (Q, N)).permute(1, 0, 3, 2)

    @property
    def _convolution(self) -> nn.Conv3d:
        return cast(nn.Conv3d, self[0])

    @property
    def _kept(self) -> int:
        """Rows and columns of the first convolution that are wanted.

        A pooling by 2 has no use for an odd last one; only batch statistics have.
        """
        return self.size if self.training else self.size - self.size % 2

    def _scale_and_shift(self) -> tuple[Tensor | None, Tensor]:
        """What is done to each channel of the first convolution: its bias, in evaluation with its normalisation."""
        bias, norm = cast(Tensor, self._convolution.bias), cast(nn.BatchNorm3d, self[1])
        if self.training:
            return None, bias
        scale = norm.weight / (cast(Tensor, norm.running_var) + norm.eps).sqrt()
        return scale, norm.bias + (bias - cast(Tensor, norm.running_mean)) * scale

    def _behind_the_first(self, pairs: Tensor, frames: int) -> Tensor:
        """Pairs (Q·N·T, S, S, O) through the other layers: (Q·N, 2, T)."""
        layers = list(self)
        if self.training:
            maps, rest = pairs, layers[1:]
        else:
            maps, rest = _pool_by_2(pairs).relu(), layers[5:]
        maps = torch.unflatten(maps, 0, (-1, frames)).permute(0, 4, 1, 2, 3)  # (Q·N, O, T, S, S)
        if not self.training:
            maps = _even_part(cast(nn.Conv3d, layers[4]), maps)
        for layer in rest:
            maps = layer(maps)
        return maps


def _layers(channels: int) -> tuple[nn.Module, ...]:
    layers = (
        nn.Conv3d(2 * channels, 128, 3, padding=1),
        nn.BatchNorm3d(128),
        nn.MaxPool3d((1, 2, 2)),
        nn.ReLU(),
        nn.Conv3d(128, 128, 3, padding=1),
        nn.BatchNorm3d(128),
        nn.MaxPool3d((1, 2, 2)),
        nn.ReLU(),
        nn.AdaptiveMaxPool3d((None, 1, 1)),
        nn.Flatten(2),
        nn.Conv1d(128, 64, 1),
        nn.ReLU(),
        nn.Conv1d(64, 2, 1),
        nn.Tanh(),
    )
    for weight in layers[12].parameters():
        nn.init.zeros_(weight)
    return layers


def _after(mapping: nn.Conv1d | None, kernels: Tensor) -> Tensor:
    """The kernels (3, 3, C, O) that convolve raw maps as the given ones convolve mapped maps."""
    return kernels if mapping is None else map_kernels(mapping.weight[:, :, 0].T, kernels)


def _pool_by_2(maps: Tensor) -> Tensor:
    """The greatest of each 2×2 positions of (B, S, S, O), S even; whole rows of numbers at a time."""
    rows = torch.maximum(maps[:, 0::2], maps[:, 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def _even_part(conv: nn.Conv3d, maps: Tensor) -> Tensor:
    """The convolution without an odd last row and column, which a pooling by 2 has no use for."""
    odd = maps.shape[-1] % 2
    maps = F.pad(maps, (1, 1 - odd, 1, 1 - odd))
    return F.conv3d(maps, conv.weight, conv.bias, padding=(1, 0, 0))
