"""TRX: a query is rebuilt from the frame tuples of a whole class, and compared with what was rebuilt.

Perrett, Masullo, Burghardt, Mirmehdi and Damen, "Temporal-Relational CrossTransformers for Few-Shot Action
Recognition", CVPR 2021, section 3.
"""

from collections.abc import Mapping, Sequence
from math import log, sqrt

import torch
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
from ta2n.pipeline.heads.official import fitting_weights
from ta2n.pipeline.heads.ops.frame_tuples import mapped_tuples, tuple_members

WIDTH = 1152
CODE_SCALE = 0.1


class TRX(Head):
    """Cross-attention from the ordered frame tuples of a query to those of all shots of a class.

    For each cardinality ω, every ω frames in order are concatenated and mapped to a key and a value. A query's tuple
    attends to all tuples of all shots of the class; its value is compared with the weighted mean of theirs by squared
    Euclidean distance, averaged over tuples, then over cardinalities.

    Departures: a linear map of ω concatenated frames is a sum of ω maps of one frame, so every frame is mapped once for
    each place, not once for each tuple: exact. The paper drops 0.1 of the coded frames; here, as in every head, the
    maps are dropped. A clip of fewer frames than a default cardinality does without it.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        cardinalities: numbers of frames in a tuple; the default is the paper's (2, 3), as far as there are frames.
        dropout: probability of dropping an element of the maps in training.
    """

    code: Tensor

    def __init__(
        self,
        channels: int,
        *,
        frames: int,
        size: int,
        cardinalities: Sequence[int] | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(channels, frames, size)
        check_dropout(dropout)
        chosen = [scale for scale in (2, 3) if scale <= frames] if cardinalities is None else list(cardinalities)
        if not chosen or not all(1 <= scale <= frames for scale in chosen):
            raise InputError(
                f"trx with cardinalities={chosen or '(2, 3)'} does not fit {frames} frames; give numbers from 1 to "
                f"{frames}, e.g. cardinalities=[1]"
            )
        self.dropout = dropout
        self.register_buffer("code", position_code(frames, channels), persistent=False)
        self.tuples = nn.ModuleList(Tuples(channels, frames, scale) for scale in chosen)

    def load_official_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of a published checkpoint, ``transformers.<i>`` in the order of the cardinalities.

        The published ``norm_v`` has no part in a distance and is left out.

        Raises:
            InputError: names are missing or unknown, or a shape does not fit; the message lists them.
        """
        renamed = {published_name(name): value for name, value in state.items()}
        self.load_state_dict(fitting_weights("trx", self.state_dict(), renamed, (".norm_v.weight", ".norm_v.bias")))

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> for each cardinality ω ``key<ω>`` and ``value<ω>`` (B, tuples, 1152)."""
        self.check(maps)
        means = frame_means(maps, parameter_dtype(self), self.dropout if self.training else 0.0)
        coded = means + self.code.to(means.dtype)
        embedding: Embedding = {}
        for part in self.tuples:
            embedding[f"key{part.scale}"], embedding[f"value{part.scale}"] = part(coded)
        return embedding

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N), 0 where a query is rebuilt exactly."""
        distances = []
        for part in self.tuples:
            key, value = f"key{part.scale}", f"value{part.scale}"
            way = split_shots(len(support[key]), shot)
            # All tuples of all shots of a class side by side: (N, K·M, D).
            keys, values = (torch.unflatten(support[name], 0, (way, shot)).flatten(1, 2) for name in (key, value))
            distances.append(rebuilding_distances(query[key], query[value], keys, values))
        return torch.stack(distances).mean(0)


class Tuples(nn.Module):
    """Keys and values of all ω-tuples of frames in order.

    Args:
        channels: C.
        frames: T.
        scale: ω.
    """

    members: Tensor

    def __init__(self, channels: int, frames: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.key = nn.Linear(scale * channels, WIDTH)
        self.value = nn.Linear(scale * channels, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.register_buffer("members", tuple_members(frames, scale), persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) -> keys and values, each (B, M, 1152)."""
        key, value = (mapped_tuples(frames, linear, self.members) for linear in (self.key, self.value))
        return self.norm(key), value


def rebuilding_distances(query_keys: Tensor, query_values: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """How far queries are from what they attend to in each class.

    Args:
        query_keys: (Q, M, D).
        query_values: (Q, M, D).
        keys: (N, L, D), L tuples of the class.
        values: (N, L, D).

    Returns:
        (Q, N): squared Euclidean distance of values, averaged over the M tuples.
    """
    scores = torch.einsum("qmd,nld->qnml", query_keys, keys) / sqrt(query_keys.shape[2])
    rebuilt = torch.einsum("qnml,nld->qnmd", scores.softmax(3), values)
    return (query_values[:, None] - rebuilt).square().sum(3).mean(2)


def published_name(name: str) -> str:
    """What a weight of a published checkpoint is called here.

    >>> published_name("transformers.0.k_linear.weight")
    'tuples.0.key.weight'
    """
    for theirs, ours in (("transformers.", "tuples."), ("k_linear", "key"), ("v_linear", "value"), ("norm_k", "norm")):
        name = name.replace(theirs, ours)
    return name


def position_code(frames: int, channels: int) -> Tensor:
    """(T, C) float64: sines and cosines of the frame's number at falling frequencies, in turn, times 0.1."""
    frequencies = torch.exp(torch.arange(0, channels, 2, dtype=torch.float64) * (-log(10000.0) / channels))
    angles = torch.arange(frames, dtype=torch.float64)[:, None] * frequencies
    return CODE_SCALE * torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :channels]
