"""TRX as it is written: every tuple concatenated, mapped and compared by itself."""

from collections.abc import Mapping
from itertools import combinations
from math import cos, sin, sqrt

import torch
from torch import Tensor

# For each cardinality: weight and bias of the key, of the value, and of the normalisation.
Weights = Mapping[int, tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]]


def plain_trx(support: Tensor, query: Tensor, shot: int, weights: Weights) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> (Q, N)."""
    rows = []
    for clip in query:
        row = []
        for start in range(0, len(support), shot):
            per_scale = [
                distance(clip, support[start : start + shot], scale, weights[scale]) for scale in sorted(weights)
            ]
            row.append(torch.stack(per_scale).mean())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def distance(clip: Tensor, shots: Tensor, scale: int, weights: tuple[Tensor, ...]) -> Tensor:
    """One query and the shots of one class."""
    theirs = [pair for one in shots for pair in keys_and_values(one, scale, weights)]
    distances = []
    for key, value in keys_and_values(clip, scale, weights):
        shares = torch.stack([torch.exp(key @ other / sqrt(len(key))) for other, _ in theirs])
        shares = shares / shares.sum()
        rebuilt = sum(share * other for share, (_, other) in zip(shares, theirs, strict=True))
        distances.append(((value - rebuilt) ** 2).sum())
    return torch.stack(distances).mean()


def keys_and_values(clip: Tensor, scale: int, weights: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    """(C, T, H, W) -> a key and a value of each tuple."""
    key_weight, key_bias, value_weight, value_bias, norm_weight, norm_bias = weights
    pairs = []
    for chosen in combinations(range(clip.shape[1]), scale):
        tuple_ = torch.cat([clip[:, t].mean((1, 2)) + code(t, len(clip)).to(clip) for t in chosen])
        key = key_weight @ tuple_ + key_bias
        spread = ((key - key.mean()) ** 2).mean() + 1e-5
        key = (key - key.mean()) / spread.sqrt() * norm_weight + norm_bias
        pairs.append((key, value_weight @ tuple_ + value_bias))
    return pairs


def code(frame: int, channels: int) -> Tensor:
    """The position code of one frame, (C,)."""
    values = []
    for channel in range(channels):
        angle = frame / 10000 ** (channel // 2 * 2 / channels)
        values.append(0.1 * (sin(angle) if channel % 2 == 0 else cos(angle)))
    return torch.tensor(values, dtype=torch.float64)
