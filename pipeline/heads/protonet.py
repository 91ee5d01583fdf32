"""Prototypical networks on clips: the mean over time and space, compared with the mean of each class's shots.

Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, section 2.3.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import Embedding, Head, split_shots


class ProtoNet(Head):
    """Nearest class mean.

    Departures: the paper compares squared Euclidean distances of a trained embedding. The default here is 1 − cosine,
    which suits frozen ImageNet features better; ``metric="euclidean"`` is the paper's. The head itself has no weights.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        metric: "cosine" (1 − cosine, range [0, 2]) or "euclidean" (squared).
    """

    def __init__(self, channels: int, *, frames: int, size: int, metric: str = "cosine") -> None:
        super().__init__(channels, frames, size)
        if metric not in ("cosine", "euclidean"):
            raise InputError(f"metric={metric!r} is not known to protonet; choose 'cosine' or 'euclidean'")
        self.metric = metric
        self.clip_channels = channels

    def embed_clip(self, maps: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) -> (B, C), their means."""
        self.check(maps)
        return maps.mean((2, 3, 4), dtype=torch.promote_types(maps.dtype, torch.float32))

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``mean`` (B, C); the number of shots makes no difference."""
        return {"mean": self.embed_clip(maps)}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N) of every query mean to every mean of K shot means."""
        shots = support["mean"]
        prototypes = torch.unflatten(shots, 0, (split_shots(len(shots), shot), shot)).mean(1)
        queries = query["mean"]
        if self.metric == "cosine":
            return 1 - F.normalize(queries, dim=1) @ F.normalize(prototypes, dim=1).T
        # Differences, not expanded squares: those lose the digits that decide between close prototypes.
        return (queries[:, None] - prototypes).square().sum(2)
