"""DCM as it is written: one frame, one pair of channels, one pair of frames at a time."""

import torch
from torch import Tensor


def plain_dcm(
    support: Tensor, query: Tensor, shot: int, alpha: float, matrix: str, generator: Tensor | None = None
) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> (Q, N); ``generator`` (T·T, C) for the learned matrix."""
    shots = [frames_of(clip, alpha) for clip in support]
    rows = []
    for clip in query:
        frames, row = frames_of(clip, alpha), []
        for start in range(0, len(support), shot):
            of_class = [torch.stack(same_time).mean(0) for same_time in zip(*shots[start : start + shot], strict=True)]
            table = torch.stack([torch.stack([cosine(q, s) for s in of_class]) for q in frames])
            if matrix == "bimhm":
                row.append((1 - table).min(0).values.sum() + (1 - table).min(1).values.sum())
            elif generator is None:
                row.append(-table.sum())
            else:
                token = clip.mean((1, 2, 3)) + torch.stack([one.mean((1, 2, 3)) for one in support]).mean(0)
                row.append(-((generator @ token).reshape(table.shape) * table).sum())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def frames_of(clip: Tensor, alpha: float) -> list[Tensor]:
    return [representation(clip[:, t].flatten(1), alpha) for t in range(clip.shape[1])]


def representation(frame: Tensor, alpha: float) -> Tensor:
    """(C, P) -> the upper triangle of the centred matrix between channels."""
    channels, positions = frame.shape
    token = frame.mean(1)
    columns = []
    for position in range(positions):
        vector = frame[:, position]
        norms = token.square().sum().sqrt().clamp_min(1e-8) * vector.square().sum().sqrt().clamp_min(1e-8)
        columns.append(vector * (token @ vector) / norms)
    weighed = torch.stack(columns, 1)
    between = torch.stack(
        [
            torch.stack([((weighed[k] - weighed[m]) ** 2).sum() / (2 * positions) + 1e-5 for m in range(channels)])
            ** alpha
            for k in range(channels)
        ]
    )
    centred = [
        between[k, m] - between[k].mean() - between[:, m].mean() + between.mean()
        for k in range(channels)
        for m in range(k, channels)
    ]
    return torch.stack(centred)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.square().sum().sqrt() * b.square().sum().sqrt() + 0.01)
