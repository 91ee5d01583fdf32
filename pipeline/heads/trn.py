"""TRN++: relations between ordered frames at several time scales, then the nearest class mean.

Zhou, Andonian, Oliva and Torralba, "Temporal Relational Reasoning in Videos", ECCV 2018, section 3.1, equations 1-3.
The "++" is a recipe: Cao et al., "Few-Shot Video Classification via Temporal Alignment" (OTAM), CVPR 2020, section 4.
"""

from itertools import combinations
from math import comb

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

WIDTH = 256
# What 8 frames have at the scale with the most of them (4 of 8): up to there every tuple is used.
MOST_TUPLES = 70


class TRN(Head):
    """Multi-scale temporal relations as a clip's embedding, compared with class means by 1 − cosine.

    For every scale k = 2 … T, all k-tuples of frames in order are concatenated and taken through a linear map to 256
    units and a ReLU; the results are averaged over the tuples and summed over the scales.

    Departures: the paper gives every scale a classifier of its own and adds the scores; here, as one vector is needed,
    the 256 units of the scales are added. A linear map of k concatenated frames is a sum of k maps of one frame, so
    every frame is mapped once for each place it can take, not once for each tuple: exact, and 9 times less work at
    8 frames. Where a scale has more than 70 tuples (never below 9 frames) the paper draws some anew at every step; here
    70 are fixed, evenly spread over all of them in lexicographic order. The "++" recipe, trained as a cosine
    classifier over the base classes and tested by the nearest class mean, is our reading of one sentence.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps, at least 2.
        size: H = W of the feature maps.
        dropout: probability of dropping an element of the maps in training.
    """

    clip_channels = WIDTH
    objective = "base"
    """What the "++" recipe trains it as, unless a run says otherwise: a classifier over the base classes."""

    def __init__(self, channels: int, *, frames: int, size: int, dropout: float = 0.5) -> None:
        super().__init__(channels, frames, size)
        check_dropout(dropout)
        if frames < 2:
            raise InputError(f"trn++ relates frames to one another and needs 2, but frames={frames}; use tsn++")
        self.dropout = dropout
        self.scales = nn.ModuleList(Relation(channels, frames, scale) for scale in range(2, frames + 1))

    def embed_clip(self, maps: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) -> (B, 256), nothing negative."""
        self.check(maps)
        means = frame_means(maps, parameter_dtype(self), self.dropout if self.training else 0.0)
        return torch.stack([scale(means) for scale in self.scales]).sum(0)

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``clip`` (B, 256); the number of shots makes no difference."""
        return {"clip": self.embed_clip(maps)}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N), 0 to 2, of every query to every mean of K shots."""
        return cosine_to_class_means(support["clip"], query["clip"], shot)


class Relation(nn.Module):
    """One scale: frames (B, T, C) to the average of ReLU(linear(tuple)) over tuples of k frames, (B, 256).

    Args:
        channels: C.
        frames: T.
        scale: k, 1 to T.
    """

    members: Tensor

    def __init__(self, channels: int, frames: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.bottleneck = nn.Linear(scale * channels, WIDTH)
        # (M, k·(T−k+1)): which frame stands at each place of each tuple; place p can hold frames p … p + T − k.
        reach = frames - scale + 1
        places = torch.tensor(ordered_tuples(frames, scale)) - torch.arange(scale)
        self.register_buffer("members", F.one_hot(places, reach).flatten(1).float(), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C) -> (B, 256)."""
        windows = frames.unfold(1, self.members.shape[1] // self.scale, 1)  # (B, k, C, T−k+1)
        weight = torch.unflatten(self.bottleneck.weight, 1, (self.scale, -1))  # (256, k, C)
        mapped = torch.einsum("bpcr,dpc->bprd", windows, weight).flatten(1, 2)
        return F.relu(self.members.to(mapped.dtype) @ mapped + self.bottleneck.bias).mean(1)


def ordered_tuples(frames: int, scale: int, most: int = MOST_TUPLES) -> list[tuple[int, ...]]:
    """The k-tuples of frames in order, or ``most`` of them evenly spread where there are more.

    >>> ordered_tuples(4, 3)
    [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]
    >>> ordered_tuples(4, 3, most=2)
    [(0, 1, 2), (1, 2, 3)]
    """
    total = comb(frames, scale)
    if total <= most:
        return list(combinations(range(frames), scale))
    return [_nth_tuple(frames, scale, place * (total - 1) // (most - 1)) for place in range(most)]


def _nth_tuple(frames: int, scale: int, rank: int) -> tuple[int, ...]:
    """The tuple at a place of the lexicographic order, without listing those before it."""
    chosen: list[int] = []
    for frame in range(frames):
        starting_here = comb(frames - frame - 1, scale - len(chosen) - 1)
        if rank < starting_here:
            chosen.append(frame)
            if len(chosen) == scale:
                break
        else:
            rank -= starting_here
    return tuple(chosen)


def cosine_to_class_means(shots: Tensor, queries: Tensor, shot: int) -> Tensor:
    """1 − cosine of queries (Q, D) to the class means of shots (N·K, D), class-major: (Q, N)."""
    prototypes = torch.unflatten(shots, 0, (split_shots(len(shots), shot), shot)).mean(1)
    return 1 - F.normalize(queries, dim=1) @ F.normalize(prototypes, dim=1).T
