"""ACM, the action coordination module of TA2N: a pair of clips is aligned in time (TC), then in space (SC).

Li et al., "TA2N: Two-Stage Action Alignment Network for Few-Shot Action Recognition", AAAI 2022, stage 2.
"""

from math import sqrt
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.ops.conv import (
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


def window(offsets: Tensor, size: int) -> Tensor:
    """One side of the overlap mask: offsets (…) to (…, size), in [0, 1].

    On a grid g ∈ [−1, 1] of even steps: 1 where |g + o| < 1, then falling linearly to 0 within one step.
    """
    if size == 1:  # a grid of one point, in the middle
        return torch.clamp(2 - offsets.abs(), 0, 1)[..., None]
    grid = torch.linspace(-1, 1, size, dtype=offsets.dtype, device=offsets.device)
    beyond = (grid + offsets[..., None]).abs() - 1
    return torch.clamp(1 - beyond * ((size - 1) / 2), 0, 1)


def overlap_mask(offsets: Tensor, size: int) -> Tensor:
    """The part of a frame that another one covers when it is moved by an offset.

    Args:
        offsets: (…, 2), the last axis (x, y), in units of half a frame.
        size: H = W.

    Returns:
        (…, size, size), axes (y, x), values in [0, 1], not divided by its area.
    """
    x, y = window(offsets[..., 0], size), window(offsets[..., 1], size)
    return y[..., :, None] * x[..., None, :]


def averaged_mask(offsets: Tensor, size: int, perturbation: float) -> Tensor:
    """The mean of nine masks around each offset, each divided by its area: (…, 2) -> (…, size, size), sum 1.

    The nine offsets are a full grid and the masks separate into sides, so the mean is a product of two means of three.
    """
    shifts = perturbation * torch.arange(-1, 2, dtype=offsets.dtype, device=offsets.device)
    sides = window(offsets[..., None] + shifts, size)  # (…, 2, 3, size)
    x, y = (sides / sides.sum(-1, keepdim=True)).mean(-2).unbind(-2)
    return y[..., :, None] * x[..., None, :]


class Coordination(nn.Module):
    """The networks of TC and SC, under the names of the published checkpoints.

    The last layer of the offset network starts at zero: every offset is 0. In training all pairs of an episode share
    the statistics of its batch normalisations.

    Args:
        channels: C.
        size: H = W, at least 4 for SC.
        tc: build the attention of TC.
        sc: build the offset network of SC.
    """

    def __init__(self, channels: int, size: int, *, tc: bool, sc: bool) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        if tc:
            self.keynet = nn.Conv1d(channels, channels, 1, bias=False)
            self.querynet = nn.Conv1d(channels, channels, 1, bias=False)
            self.valuenet = nn.Conv1d(channels, channels, 1, bias=False)
        if sc:
            self.mvnet = _offset_network(channels, size)

    @property
    def _first(self) -> nn.Conv3d:
        return cast(nn.Conv3d, self.mvnet[0])

    def attention(self, key: Tensor, question: Tensor) -> Tensor:
        """Keys of N supports (N, T, C), questions of Q queries (Q, T, C) to (N, Q, T, T), softmax over query time."""
        logits = torch.einsum("nsc,qtc->nqst", key, question) / sqrt(self.channels)
        return logits.softmax(dim=-1)

    @property
    def _kept(self) -> int:
        """Rows and columns of the first convolution that are wanted.

        A pooling by 2 has no use for an odd last one; only batch statistics have.
        """
        return self.size if self.training else self.size - self.size % 2

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
        kernels = spatial_kernels(self._first.weight[:, : self.channels])
        taps = mix_taps(warp, frame_taps(maps, _after(mapping, kernels), self._kept))
        return taps if value is None else taps + spread(constant_taps(value, kernels), self.size, self._kept)

    def query_half(
        self, maps: Tensor, warp: Tensor | None, value: Tensor | None, mapping: nn.Conv1d | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The query half of the first convolution without what TC adds, and what TC will add; arguments as above.

        Returns:
            (B, T, P, O), and taps (B, 3, T, 9, O) of the values, to be mixed by the attention of each pair.
        """
        kernels = spatial_kernels(self._first.weight[:, self.channels :])
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
        N, Q = len(support), len(query)
        mixing = None if attention is None or value_taps is None else shifted(attention).transpose(0, 1)
        network = self._as_a_batch if self.training else self._with_statistics
        out = network(support, query, mixing, value_taps)
        return REACH * torch.unflatten(out, 0, (Q, N)).permute(1, 0, 3, 2)

    def _as_a_batch(self, support: Tensor, query: Tensor, mixing: Tensor | None, taps: Tensor | None) -> Tensor:
        """The network after its first convolution, all pairs in one batch: (Q·N, 2, T)."""
        pairs = support + query[:, None] + cast(Tensor, self._first.bias)  # (Q, N, T, P, O)
        if mixing is not None and taps is not None:
            pairs = pairs + spread(_mixed_cells(mixing, taps), self.size)
        maps = torch.unflatten(pairs.flatten(0, 1), 2, (self.size, self.size)).permute(0, 4, 1, 2, 3)
        out: Tensor = self.mvnet[1:](maps)
        return out

    def _with_statistics(self, support: Tensor, query: Tensor, mixing: Tensor | None, taps: Tensor | None) -> Tensor:
        """The same with the statistics given: the first normalisation goes into its summands, which are smaller."""
        scale, shift = _normalisation(cast(nn.BatchNorm3d, self.mvnet[1]), cast(Tensor, self._first.bias))
        pairs = ((support * scale + shift) + (query * scale)[:, None]).flatten(0, 2)  # (Q·N·T, P, O)
        if mixing is not None and taps is not None:
            patterns = border_patterns(self.size, self._kept, pairs).expand(len(pairs), -1, -1)
            pairs = pairs.baddbmm_(patterns, _mixed_cells(mixing, taps * scale).flatten(0, 2).to(pairs.dtype))
        maps = _pool_by_2(torch.unflatten(pairs, 1, (self._kept, self._kept))).relu()
        maps = torch.unflatten(maps, 0, (-1, support.shape[1])).permute(0, 4, 1, 2, 3)
        out: Tensor = self.mvnet[5:](_even_part(cast(nn.Conv3d, self.mvnet[4]), maps))
        return out


def _mixed_cells(mixing: Tensor, taps: Tensor) -> Tensor:
    """Taps (Q, 3, T, 9, O) of each query mixed for its pairs by (Q, N, T, 3·T): (Q, N, T, 9, O)."""
    cells = mixing.flatten(1, 2) @ taps.flatten(1, 2).flatten(2)
    return torch.unflatten(torch.unflatten(cells, 2, taps.shape[3:]), 1, mixing.shape[1:3])


def _after(mapping: nn.Conv1d | None, kernels: Tensor) -> Tensor:
    """The kernels (3, 3, C, O) that convolve raw maps as the given ones convolve mapped maps."""
    return kernels if mapping is None else map_kernels(mapping.weight[:, :, 0].T, kernels)


def _normalisation(norm: nn.BatchNorm3d, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift of a normalisation by running statistics, of something that still lacks a bias."""
    scale = norm.weight / (cast(Tensor, norm.running_var) + norm.eps).sqrt()
    return scale, norm.bias + (bias - cast(Tensor, norm.running_mean)) * scale


def _pool_by_2(maps: Tensor) -> Tensor:
    """The greatest of each 2×2 positions of (B, S, S, O), S even; whole rows of numbers at a time."""
    rows = torch.maximum(maps[:, 0::2], maps[:, 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def _even_part(conv: nn.Conv3d, maps: Tensor) -> Tensor:
    """The convolution without an odd last row and column, which a pooling by 2 has no use for."""
    odd = maps.shape[-1] % 2
    maps = F.pad(maps, (1, 1 - odd, 1, 1 - odd))
    return F.conv3d(maps, conv.weight, conv.bias, padding=(1, 0, 0))


def _offset_network(channels: int, size: int) -> nn.Sequential:
    if size < SMALLEST:
        raise InputError(
            f"SC pools space by 2 twice and needs maps of {SMALLEST}×{SMALLEST}, but size={size}; use sc=False"
        )
    net = nn.Sequential(
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
    for weight in net[12].parameters():
        nn.init.zeros_(weight)
    return net
