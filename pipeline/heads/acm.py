"""ACM, the action coordination module of TA2N: a pair of clips is aligned in time (TC), then in space (SC).

Li et al., "TA2N: Two-Stage Action Alignment Network for Few-Shot Action Recognition", AAAI 2022, stage 2.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from ta2n.pipeline.heads.ops.offset_network import OffsetNetwork


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

    Args:
        channels: C.
        size: H = W, at least 4 for SC.
        tc: build the attention of TC.
        sc: build the offset network of SC.
    """

    def __init__(self, channels: int, size: int, *, tc: bool, sc: bool) -> None:
        super().__init__()
        self.channels = channels
        if tc:
            self.keynet = nn.Conv1d(channels, channels, 1, bias=False)
            self.querynet = nn.Conv1d(channels, channels, 1, bias=False)
            self.valuenet = nn.Conv1d(channels, channels, 1, bias=False)
        if sc:
            self.mvnet = OffsetNetwork(channels, size)

    def attention(self, key: Tensor, question: Tensor) -> Tensor:
        """Keys of N supports (N, T, C), questions of Q queries (Q, T, C) to (N, Q, T, T), softmax over query time.

        What attention calls its queries are questions here: the queries are the clips.
        """
        logits = torch.einsum("nsc,qtc->nqst", key, question) / sqrt(self.channels)
        return logits.softmax(dim=-1)
