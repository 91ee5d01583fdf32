"""ProtoNet as it is written: loops over queries and classes."""

import torch
from torch import Tensor


def plain_protonet(support: Tensor, query: Tensor, shot: int, metric: str) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> (Q, N)."""
    rows = []
    for clip in query:
        q = clip.mean((1, 2, 3))
        row = []
        for shots in torch.split(support, shot):
            prototype = torch.stack([s.mean((1, 2, 3)) for s in shots]).mean(0)
            if metric == "cosine":
                row.append(1 - q @ prototype / (q.norm() * prototype.norm()))
            else:
                row.append(((q - prototype) ** 2).sum())
        rows.append(torch.stack(row))
    return torch.stack(rows)
