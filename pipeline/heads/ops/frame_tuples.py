"""Linear maps of ordered tuples of frames, without a product for every tuple."""

from math import comb

import torch
from torch import Tensor, nn

from ta2n.pipeline.heads.trn import ordered_tuples


def tuple_members(frames: int, scale: int) -> Tensor:
    """(M, ω) of all ω-tuples of frames in order: which of the (frame, place) pairs, numbered t·ω + p, are its parts."""
    chosen = ordered_tuples(frames, scale, most=comb(frames, scale))
    return torch.tensor(chosen) * scale + torch.arange(scale)


def mapped_tuples(frames: Tensor, linear: nn.Linear, members: Tensor) -> Tensor:
    """A linear map of the tuples' frames side by side: a sum of one map for each place, so every frame is mapped once.

    Args:
        frames: (B, T, C).
        linear: ω·C -> D, with a bias.
        members: (M, ω) of :func:`tuple_members`.

    Returns:
        (B, M, D).
    """
    scale, width = members.shape[1], linear.out_features
    weight = torch.unflatten(linear.weight, 1, (scale, -1)).transpose(0, 1).flatten(0, 1)  # (ω·D, C)
    parts = torch.unflatten(frames @ weight.T, 2, (scale, width)).flatten(1, 2)  # (B, T·ω, D)
    chosen = parts[:, members[:, 0]]
    for place in range(1, scale):
        chosen = chosen + parts[:, members[:, place]]
    return chosen + linear.bias
