"""OTAM as it is written: one pair of clips and one cell of the table at a time."""

import torch
from torch import Tensor


def plain_cost(table: list[list[Tensor]], smoothing: float) -> Tensor:
    """Cost of the cheapest ordered path through a table of distances, rows by columns."""
    zero = torch.zeros((), dtype=torch.float64)
    padded = [[zero, *row, zero] for row in table]
    last = len(padded[0]) - 1
    cost: dict[tuple[int, int], Tensor] = {}
    for row, distances in enumerate(padded):
        for column, distance in enumerate(distances):
            if row == 0:
                options = [cost[0, column - 1]] if column else []
            elif column == 0:
                options = [cost[row - 1, 0]]
            else:
                options = [cost[row - 1, column - 1], cost[row, column - 1]]
                if column in (1, last):
                    options.append(cost[row - 1, column])
            cost[row, column] = distance + (softmin(options, smoothing) if options else zero)
    return cost[len(padded) - 1, last]


def softmin(values: list[Tensor], smoothing: float) -> Tensor:
    if len(values) == 1:
        return values[0]
    total = sum((torch.exp(-value / smoothing) for value in values), torch.zeros((), dtype=torch.float64))
    return -smoothing * torch.log(total)


def plain_otam(
    support: Tensor, query: Tensor, shot: int, *, smoothing: float = 0.1, cosine_padding: float = 0.0
) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) float64 -> (Q, N)."""
    rows = []
    for clip in query:
        row = []
        for start in range(0, len(support), shot):
            shots = [frames_of(one) for one in support[start : start + shot]]
            costs = []
            for one in shots:
                table = [[1 - cosine(q, s, cosine_padding) for s in one] for q in frames_of(clip)]
                turned = [list(column) for column in zip(*table, strict=True)]
                costs.append(plain_cost(table, smoothing) + plain_cost(turned, smoothing))
            row.append(sum(costs, torch.zeros(())) / len(costs))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def frames_of(clip: Tensor) -> list[Tensor]:
    channels, frames, height, width = clip.shape
    return [torch.stack([clip[c, t].sum() / (height * width) for c in range(channels)]) for t in range(frames)]


def cosine(a: Tensor, b: Tensor, padding: float) -> Tensor:
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt() + padding)
