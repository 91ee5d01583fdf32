"""CMN: a clip as what its frames leave over of a few learned keys, compared with class means.

Zhu and Yang, "Compound Memory Networks for Few-shot Video Classification", ECCV 2018, section 3.2 (multi-saliency
embedding).
"""

from math import sqrt

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import (
    Embedding,
    Head,
    check_dropout,
    frame_means,
    parameter_dtype,
    split_shots,
)

WIDTH = 512
KEYS_SPREAD = 0.1


class CMN(Head):
    """Multi-saliency embedding of a clip, compared with class means by squared Euclidean distance.

    Every frame is shared out over 8 learned keys; each key collects the residuals of the frames to it; the residuals,
    each of length 1, are mapped together to 512 numbers.

    Departures: the paper writes clips into a memory of abstract and constituent keys and reads the nearest slot; within
    one episode that is the nearest class mean of the same embedding, which is used here. The width 512 and the initial
    spread of the keys are ours. A residual of length 0 stays 0.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        keys: number of learned keys.
        dropout: probability of dropping an element of the maps in training.
    """

    clip_channels = WIDTH

    def __init__(self, channels: int, *, frames: int, size: int, keys: int = 8, dropout: float = 0.5) -> None:
        super().__init__(channels, frames, size)
        check_dropout(dropout)
        if keys < 1:
            raise InputError(f"keys={keys} is not a number of keys; give 1 or more")
        self.dropout = dropout
        self.keys = nn.Parameter(KEYS_SPREAD * torch.randn(keys, channels))
        self.linear = nn.Linear(keys * channels, WIDTH)

    def embed_clip(self, maps: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) -> (B, 512)."""
        self.check(maps)
        means = frame_means(maps, parameter_dtype(self), self.dropout if self.training else 0.0)  # (B, T, C)
        shares = torch.softmax(means @ self.keys.T / sqrt(self.channels), dim=2)  # (B, T, keys)
        # Σ_t a_tj (f_t − h_j), without a residual for every frame and key.
        collected = shares.transpose(1, 2) @ means - shares.sum(1)[:, :, None] * self.keys
        return self.linear(F.normalize(collected, dim=2).flatten(1))  # type: ignore[no-any-return]

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``clip`` (B, 512); the number of shots makes no difference."""
        return {"clip": self.embed_clip(maps)}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N) of every query to every mean of K shots."""
        shots = support["clip"]
        prototypes = torch.unflatten(shots, 0, (split_shots(len(shots), shot), shot)).mean(1)
        return (query["clip"][:, None] - prototypes).square().sum(2)
