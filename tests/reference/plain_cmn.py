"""CMN's embedding as it is written: a residual for every frame and key."""

from math import sqrt

import torch
from torch import Tensor


def plain_cmn(support: Tensor, query: Tensor, shot: int, keys: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W), keys (J, C), a linear map (D, J·C), (D,) -> (Q, N)."""
    shots = [describe(clip, keys, weight, bias) for clip in support]
    rows = []
    for clip in query:
        q = describe(clip, keys, weight, bias)
        row = []
        for start in range(0, len(shots), shot):
            prototype = torch.stack(shots[start : start + shot]).mean(0)
            row.append(((q - prototype) ** 2).sum())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def describe(clip: Tensor, keys: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(C, T, H, W) -> (D,)."""
    channels, frames = clip.shape[:2]
    collected = [torch.zeros(channels, dtype=clip.dtype) for _ in keys]
    for t in range(frames):
        f = clip[:, t].mean((1, 2))
        shares = torch.stack([torch.exp(f @ h / sqrt(channels)) for h in keys])
        shares = shares / shares.sum()
        for j, h in enumerate(keys):
            collected[j] = collected[j] + shares[j] * (f - h)
    return weight @ torch.cat([q / q.norm() for q in collected]) + bias
