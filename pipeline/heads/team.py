"""TEAM: learned tokens gather from a clip what is like them and what is not, and classes are told from each other.

Lee, Moon, Seo and Heo, "Temporal Alignment-Free Video Matching for Few-shot Action Recognition", CVPR 2025.
"""

from collections.abc import Mapping
from math import sqrt

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import Embedding, Head, check_dropout, frame_means, parameter_dtype, split_shots
from ta2n.pipeline.heads.ops.published_names import renamed_weights
from ta2n.pipeline.heads.trx import position_code

HEADS = 8
EPSILON = 1e-8
PUBLISHED = {"tokens": "DPM.AP", "norm": "DPM.ln", "first": "DPM.mlp.inp_fc", "second": "DPM.mlp.out_fc"}


class TEAM(Head):
    """M learned tokens attend to a clip's frames; the tokens with and without what they gathered are compared.

    A clip becomes M tokens P⁺ = φ(P + o) of what it has and M tokens P⁻ = φ(P − o) of what it has not, o the frames
    gathered by attention. A class's tokens are moved away from what it shares with the other classes of the episode. A
    query is near a class whose P⁺ it has, and far from one whose rivals' P⁺ it has not. A distance depends on every
    class of the episode.

    Departures: the published code drops 0.1 of coded frames, attention and gathered frames; here, as in every head, the
    maps are dropped. The first map of φ is linear in what was gathered, so it is applied once to each class, not once
    to each pair of classes: exact. An episode of one class, which the method does not know, is not adapted and has no
    second part of the distance.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        tokens: M; published: 60 at one shot, 80 at five, 70 on HMDB51.
        dropout: probability of dropping an element of the maps in training.

    Raises:
        InputError: an option is out of its range.
    """

    pairwise = False
    code: Tensor

    def __init__(self, channels: int, *, frames: int, size: int, tokens: int = 60, dropout: float = 0.5) -> None:
        super().__init__(channels, frames, size)
        check_dropout(dropout)
        if tokens < 1:
            raise InputError(f"tokens={tokens} is not a number of tokens; give 1 or more, the published one is 60")
        self.dropout, self.temperature = dropout, sqrt(channels / HEADS)
        self.register_buffer("code", position_code(frames, channels), persistent=False)
        self.tokens = nn.Parameter(torch.randn(tokens, channels))
        self.norm = nn.LayerNorm(channels)
        self.first, self.second = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def load_official_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load weights under the published names; those of other parts are left out.

        Raises:
            InputError: names are missing, or a shape does not fit; the message lists them.
        """
        self.load_state_dict(renamed_weights(self.state_dict(), state, PUBLISHED, "team"))

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``plus`` and ``minus`` (B, M, C) and, for the part of a shot, one more.

        With one shot that is ``gathered`` (B, M, C). With more, whose frames are averaged before anything is gathered,
        it is ``frames`` (B, T, C).
        """
        frames = self._frames(maps)
        gathered = self.gather(frames)
        plus, minus = self.respond(gathered)
        own = {"gathered": gathered} if shot == 1 else {"frames": frames}
        return {"plus": plus, "minus": minus, **own}

    def embed_episode(self, support: Tensor, query: Tensor, shot: int = 1) -> tuple[Embedding, Embedding]:
        """Of the support the adapted classes, ``adapted_plus`` and ``adapted_minus`` (N, M, C), and nothing else."""
        way = split_shots(len(support), shot)
        return self.classes({"frames": self._frames(support)}, way), self.embed(query, shot=1)

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N), 0 to 4·M."""
        adapted = support
        if "adapted_plus" not in support:
            adapted = self.classes(support, split_shots(len(support["plus"]), shot))
        return torch.stack(self.both_distances(adapted, query)).sum(0)

    def losses(
        self, distances: Tensor, labels: Tensor, *, support: Embedding, query: Embedding, **classes: Tensor | None
    ) -> dict[str, Tensor]:
        """The cross-entropy of each part of the distances, ``episodic`` and ``minus``, each a mean over queries."""
        adapted = support if "adapted_plus" in support else self.classes(support, distances.shape[1])
        plus, minus = self.both_distances(adapted, query)
        return {"episodic": self.loss(plus, labels), "minus": self.loss(minus, labels)}

    def loss(self, distances: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of −distances, a mean over queries: see :meth:`Head.loss`."""
        return cross_entropy(-distances.float(), labels)

    def gather(self, frames: Tensor) -> Tensor:
        """Coded frames (B, T, C) to what each token gathers from them, (B, M, C)."""
        coded: Tensor = self.norm(frames)
        weights: Tensor = (self.norm(self.tokens) @ coded.transpose(1, 2) / self.temperature).softmax(2)
        return weights @ coded

    def respond(self, gathered: Tensor) -> tuple[Tensor, Tensor]:
        """P⁺ = φ(P + o) and P⁻ = φ(P − o) of what was gathered, (…, M, C) each."""
        mapped = F.linear(gathered, self.first.weight)
        return self._phi(gathered, mapped), self._phi(-gathered, -mapped)

    def classes(self, support: Embedding, way: int) -> Embedding:
        """Shots, class-major, to the classes' tokens ``adapted_plus`` and ``adapted_minus``, (N, M, C) each."""
        gathered = support.get("gathered")
        if gathered is None or len(gathered) != way:
            gathered = self.gather(torch.unflatten(support["frames"], 0, (way, -1)).mean(1))
        plus, minus = self.respond(gathered)
        if way > 1:
            plus, minus = self._adapted(gathered, plus, 1), self._adapted(gathered, minus, -1)
        return {"adapted_plus": plus, "adapted_minus": minus}

    def both_distances(self, classes: Embedding, query: Embedding) -> tuple[Tensor, Tensor]:
        """The two parts of the distances, (Q, N) each."""
        positive = token_distances(query["plus"], classes["adapted_plus"])
        if positive.shape[1] == 1:
            return positive, torch.zeros_like(positive)
        lacking = token_distances(query["minus"], classes["adapted_plus"])
        crossed = token_distances(query["plus"], classes["adapted_minus"])
        return positive, (largest_of_others(lacking) + largest_of_others(crossed)) / 2

    def _frames(self, maps: Tensor) -> Tensor:
        """(B, T, C) coded frames, not yet normalised."""
        self.check(maps)
        means = frame_means(maps, parameter_dtype(self), self.dropout if self.training else 0.0)
        return means + self.code.to(means.dtype)

    def _phi(self, change: Tensor, mapped: Tensor) -> Tensor:
        """φ(P + change), where the first map of the change alone is known."""
        hidden = F.relu(self.first(self.tokens) + mapped)
        return F.relu(self.tokens + change + self.second(hidden))

    def _adapted(self, gathered: Tensor, own: Tensor, sign: int) -> Tensor:
        """Tokens of classes (N, M, C), moved by ``sign`` away from what they share with each other class."""
        N = len(own)
        unit = F.normalize(own, dim=2, eps=EPSILON)
        alike = torch.einsum("nmc,kmc->nkm", unit, unit)
        mapped = F.linear(gathered, self.first.weight)
        others = torch.arange(N - 1, device=own.device).expand(N, -1)
        others = others + (others >= torch.arange(N, device=own.device)[:, None])
        shares = alike.gather(1, others[:, :, None].expand(-1, -1, alike.shape[2]))[..., None]  # (N, N−1, M, 1)
        change, hidden = (
            sign * (given[:, None] - shares * (given[others] - given[:, None])) for given in (gathered, mapped)
        )
        return self._phi(change, hidden).mean(1)


def token_distances(queries: Tensor, classes: Tensor) -> Tensor:
    """Tokens (Q, M, C) and (N, M, C) to (Q, N): 1 − cosine of each token and its like, summed over the M."""
    q, n = (F.normalize(tokens, dim=2, eps=EPSILON).flatten(1) for tokens in (queries, classes))
    return queries.shape[1] - q @ n.T


def largest_of_others(distances: Tensor) -> Tensor:
    """(Q, N), N of 2 or more, to (Q, N): for each class the largest distance to any other."""
    own = torch.eye(distances.shape[1], dtype=torch.bool, device=distances.device)
    return distances[:, None].masked_fill(own, -torch.inf).amax(2)
