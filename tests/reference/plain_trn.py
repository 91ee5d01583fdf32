"""TRN++ and TSN++ as they are written: every tuple of frames is concatenated and mapped by itself."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

Weights = Sequence[tuple[Tensor, Tensor]]


def plain_trn(support: Tensor, query: Tensor, shot: int, scales: Weights) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> (Q, N); for each scale weight (D, k·C) and bias (D,)."""
    shots = [describe(clip, scales) for clip in support]
    rows = []
    for clip in query:
        q = describe(clip, scales)
        row = []
        for start in range(0, len(shots), shot):
            prototype = torch.stack(shots[start : start + shot]).mean(0)
            row.append(1 - q @ prototype / (q.norm() * prototype.norm()))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def describe(clip: Tensor, scales: Weights) -> Tensor:
    """(C, T, H, W) -> (D,)."""
    channels, frames = clip.shape[:2]
    total = torch.zeros(len(scales[0][1]), dtype=clip.dtype)
    for weight, bias in scales:
        relations = []
        for chosen in combinations(range(frames), weight.shape[1] // channels):
            concatenated = torch.cat([clip[:, t].mean((1, 2)) for t in chosen])
            relations.append((weight @ concatenated + bias).clamp(min=0))
        total = total + torch.stack(relations).mean(0)
    return total
