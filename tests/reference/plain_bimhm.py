"""Bi-MHM as it is written: one pair of clips, one frame at a time."""

import torch
from torch import Tensor


def plain_bimhm(support: Tensor, query: Tensor, shot: int, shots: str = "clips") -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> (Q, N)."""
    rows = []
    for clip in query:
        row = []
        for start in range(0, len(support), shot):
            class_clips = [frames_of(one) for one in support[start : start + shot]]
            if shots == "frames":
                class_clips = [[torch.stack(same_time).mean(0) for same_time in zip(*class_clips, strict=True)]]
            row.append(torch.stack([clip_distance(frames_of(clip), one) for one in class_clips]).mean())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def frames_of(clip: Tensor) -> list[Tensor]:
    return [clip[:, t].mean((1, 2)) for t in range(clip.shape[1])]


def clip_distance(first: list[Tensor], second: list[Tensor]) -> Tensor:
    total = torch.zeros((), dtype=first[0].dtype)
    for these, those in ((first, second), (second, first)):
        for frame in these:
            total = total + torch.stack([1 - cosine(frame, other) for other in those]).min()
    return total


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())
