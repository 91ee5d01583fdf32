"""Chamfer++ as it is written: one query, one class, one pair of tuples at a time."""

from itertools import combinations

import torch
from torch import Tensor


def plain_chamfer(
    support: Tensor, query: Tensor, shot: int, length: int, weights: dict[str, Tensor], temperature: float = 100.0
) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> (Q, N)."""
    rows = []
    for clip in query:
        mine, row = tuples_of(clip, length, weights), []
        for start in range(0, len(support), shot):
            theirs = [z for one in support[start : start + shot] for z in tuples_of(one, length, weights)]
            there = torch.stack([torch.stack([cosine(q, s) for s in theirs]).max() for q in mine]).mean()
            back = torch.stack([torch.stack([cosine(q, s) for q in mine]).max() for s in theirs]).mean()
            row.append(-(there + back) / 2 * weights["temperature_weight"][0] * temperature)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def tuples_of(clip: Tensor, length: int, weights: dict[str, Tensor]) -> list[Tensor]:
    """(C, T, H, W) -> every tuple, mapped and normalised."""
    found = []
    for chosen in combinations(range(clip.shape[1]), length):
        side_by_side = torch.cat([clip[:, t].mean((1, 2)) for t in chosen])
        mapped = weights["fc.weight"] @ side_by_side + weights["fc.bias"]
        spread = ((mapped - mapped.mean()) ** 2).mean() + 1e-5
        normal = (mapped - mapped.mean()) / spread.sqrt()
        found.append(normal * weights["layer_norm.weight"] + weights["layer_norm.bias"])
    return found


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.square().sum().sqrt() * b.square().sum().sqrt() + 0.01)
