"""Chamfer++: every tuple of frames goes to the most similar tuple of the other side, in both directions.

Bertrand, Kalantidis and Tolias, "Rethinking Matching-based Few-shot Action Recognition", SCIA 2023.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import Embedding, Head, frame_means, parameter_dtype, split_shots
from ta2n.pipeline.heads.official import fitting_weights
from ta2n.pipeline.heads.ops.clip_matching import lengths, padded_cosines
from ta2n.pipeline.heads.ops.frame_tuples import mapped_tuples, tuple_members

WIDTH = 1152
FIRST_TEMPERATURE = 0.1
GLOBAL_TEMPERATURE = 100.0


class Chamfer(Head):
    """Joint chamfer similarity of ordered frame tuples: all shots of a class are matched as one set of tuples.

    Every ω frames in order are concatenated, mapped and normalised; each of a query's tuples goes to the most similar
    tuple of the class and each of the class's to that of the query. The distance is −similarity times a learned
    temperature.

    Departures: a linear map of ω concatenated frames is a sum of ω maps of one frame, so every frame is mapped once for
    each place, not once for each tuple: exact. Maps are averaged over space; the published features are one vector a
    clip or frame of a video network.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps, at least ``tuple_length``.
        size: H = W of the feature maps.
        tuple_length: ω, the number of frames in a tuple.
        width: the numbers that describe a tuple.

    Raises:
        InputError: an option is out of its range.
    """

    members: Tensor
    global_temperature: Tensor

    def __init__(self, channels: int, *, frames: int, size: int, tuple_length: int = 3, width: int = WIDTH) -> None:
        super().__init__(channels, frames, size)
        if not 1 <= tuple_length <= frames:
            raise InputError(
                f"chamfer with tuple_length={tuple_length} does not fit {frames} frames; give a number from 1 to "
                f"{frames}, e.g. tuple_length=1"
            )
        if width < 1:
            raise InputError(f"width={width} is not a number of units; give 1 or more")
        self.fc = nn.Linear(tuple_length * channels, width)
        self.layer_norm = nn.LayerNorm(width)
        self.temperature_weight = nn.Parameter(torch.full((1,), FIRST_TEMPERATURE))
        self.register_buffer("global_temperature", torch.tensor(GLOBAL_TEMPERATURE))
        self.register_buffer("members", tuple_members(frames, tuple_length), persistent=False)

    def load_official_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of a published checkpoint, whose names are the head's own.

        Raises:
            InputError: names are missing or unknown, or a shape does not fit; the message lists them.
        """
        self.load_state_dict(fitting_weights("chamfer", self.state_dict(), state))

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``tuples`` (B, M, D); the number of shots makes no difference."""
        self.check(maps)
        means = frame_means(maps, parameter_dtype(self), 0.0)
        return {"tuples": self.layer_norm(mapped_tuples(means, self.fc, self.members))}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N): −similarity at the temperature, below 0 as a rule."""
        shots = support["tuples"]
        classes = torch.unflatten(shots, 0, (split_shots(len(shots), shot), shot)).flatten(1, 2)
        to_class, to_query = chamfer_similarities(set_similarity(query["tuples"], classes))
        return -(to_class + to_query) / 2 * self.temperature_weight * self.global_temperature


def set_similarity(queries: Tensor, classes: Tensor) -> Tensor:
    """Cosines, padded as in public codes, of sets of vectors (Q, M, D) and (N, L, D): (Q, N, M, L)."""
    dot = torch.einsum("qmd,nld->qnml", queries, classes)
    return padded_cosines(dot, lengths(queries)[:, None, :, None], lengths(classes)[:, None])


def chamfer_similarities(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over rows of the largest in each row of (..., M, L), and over columns of that in each: (...) each."""
    return similarity.amax(-1).mean(-1), similarity.amax(-2).mean(-1)
