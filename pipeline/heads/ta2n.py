"""TA2N: two-stage action alignment, in the exact factorised form that needs no map per pair of clips.

Li et al., "TA2N: Two-Stage Action Alignment Network for Few-Shot Action Recognition", AAAI 2022.
"""

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.acm import Coordination, averaged_mask
from ta2n.pipeline.heads.conv import mix_frames, shift_sum
from ta2n.pipeline.heads.interface import Embedding, Head, check_maps, parameter_dtype, split_shots
from ta2n.pipeline.heads.official import official_weights
from ta2n.pipeline.heads.ttm import TemporalTransform, hat_matrix

SUPPORT, QUERY = "support", "query"
EPSILON = 1e-8


class Pairs(NamedTuple):
    """What TC and SC find out about every pair; None where the stage is off."""

    attention: Tensor | None
    """(N, Q, T, T): support time by query time."""
    offsets: Tensor | None
    """(N, Q, T, 2): (x, y) in half frames."""


class TA2N(Head):
    """TTM, the fusion of shots, TC and SC, each of which can be switched off (fusion is on whenever K > 1).

    The distance is the sum over frames of 1 − cosine: of the maps pooled by SC or, without SC, of whole frames
    (C·H·W numbers each). Queries of an episode with K > 1 pass through the value map of the fusion too.

    Departures: with ``init="identity"`` the value map of the fusion starts as the identity and that of TC at zero, so
    that the untrained head compares the raw maps; ``init="random"`` leaves both as published. The paper pools both
    clips of a pair with one mask; like the published code, this pools the query with the mirrored offset.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps; TTM needs 4.
        size: H = W of the feature maps; TTM and SC need 4.
        ttm: warp every clip in time.
        tc: attend over time between the clips of a pair.
        sc: shift and crop the clips of a pair in space; without it whole frames are compared.
        perturbation: δ of the nine offsets around each, in half frames, 0 to 1; 0 turns it off.
        dropout: probability of dropping an element of the maps in training.
        init: "identity" or "random", see above.
    """

    def __init__(
        self,
        channels: int,
        *,
        frames: int,
        size: int,
        ttm: bool = True,
        tc: bool = True,
        sc: bool = True,
        perturbation: float = 0.2,
        dropout: float = 0.5,
        init: str = "identity",
    ) -> None:
        super().__init__()
        _check_options(perturbation, dropout, init)
        self.channels, self.frames, self.size = channels, frames, size
        self.ttm, self.tc, self.sc = ttm, tc, sc
        self.perturbation, self.dropout = perturbation, dropout
        if ttm:
            self.firststage = TemporalTransform(channels, frames, size)
        if tc or sc:
            self.secondstage = Coordination(channels, size, tc=tc, sc=sc)
        self.keynet_multi = nn.Conv1d(channels, channels, 1, bias=False)
        self.querynet_multi = nn.Conv1d(channels, channels, 1, bias=False)
        self.valuenet_multi = nn.Conv1d(channels, channels, 1, bias=False)
        if init == "identity":
            nn.init.dirac_(self.valuenet_multi.weight)
            if tc:
                nn.init.zeros_(self.secondstage.valuenet.weight)

    def load_official_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load weights under the published names, with or without the "align." prefix.

        Weights of other parts (the backbone) and of stages switched off are left out.

        Raises:
            InputError: names are missing or unknown, or a shape does not fit; the message lists them.
        """
        self.load_state_dict(official_weights(self.state_dict(), state))

    def theta(self, maps: Tensor) -> Tensor:
        """What TTM finds for maps (B, C, T, H, W): (B, 2), the stretch a and the shift b in half clips."""
        theta: Tensor = self.firststage(self._channels_last(maps))
        return theta

    def embed(self, maps: Tensor, *, shot: int | None = None) -> Embedding:
        """Maps (B, C, T, H, W) to everything that depends on one video: see :meth:`Head.embed`.

        One shot and several need different work; ``shot=None`` does both, ``shot=1`` or more only its own.
        """
        return self._embed(maps, shot, (SUPPORT, QUERY))

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """See :meth:`Head.compare`."""
        prototypes = self.prototypes(support, shot)
        queries = _prepared(query, shot)
        pairs = self.pairs(prototypes, queries)
        if pairs.offsets is None:
            return self._whole_distances(prototypes, queries, pairs.attention)
        s, q = self.aligned(prototypes, queries, pairs)
        return (1 - F.cosine_similarity(s, q, dim=3, eps=EPSILON)).sum(2).T

    def forward(self, support: Tensor, query: Tensor, shot: int = 1) -> Tensor:
        """See :meth:`Head.forward`; a clip is embedded only for the part it plays."""
        s, q = self._embed(support, shot, (SUPPORT,)), self._embed(query, shot, (QUERY,))
        return self.compare(s, q, shot)

    def prototypes(self, support: Embedding, shot: int) -> Embedding:
        """Fuse the shots of each class: the embedding of N·K videos to one of N prototypes, ready to be paired.

        The fusion only mixes frames, and everything in the embedding is linear in them.
        """
        N = split_shots(len(next(iter(support.values()))), shot)
        shots = _prepared(support, shot)
        if shot == 1:
            return {k: shift_sum(v) if k == "support_taps" else v for k, v in shots.items()}
        question = shots["fusion_question"][::shot]  # (N, T, C), of the first shot
        key = torch.unflatten(shots["fusion_key"], 0, (N, shot))
        logits = torch.einsum("nsc,nktc->nskt", question, key) / sqrt(self.channels)
        mixing = (logits.softmax(dim=3) / shot).flatten(2)  # (N, T, K·T)
        fused: Embedding = {
            k: mix_frames(mixing, _join(shots[k], N)) for k in ("maps", "mean", "key", "value") if k in shots
        }
        if self.sc:
            taps = shots["support_taps"].transpose(1, 2)  # (N·K, T, 3, P, O)
            fused["support_taps"] = shift_sum(mix_frames(mixing, _join(taps, N)).transpose(1, 2))
        return fused

    def pairs(self, prototypes: Embedding, queries: Embedding) -> Pairs:
        """Attention of TC and offsets of SC for every prototype and query."""
        attention, offsets = None, None
        if self.tc:
            attention = self.secondstage.attention(prototypes["key"], queries["question"])
        if self.sc:
            halves = prototypes["support_taps"], queries["query_half"]
            offsets = self.secondstage.offsets(*halves, attention, queries.get("query_value_taps"))
        return Pairs(attention, offsets)

    def aligned(self, prototypes: Embedding, queries: Embedding, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Support and query as SC pools them, each (N, Q, T, C).

        A mask sums to 1, so what TC adds to every position passes through the pooling unchanged.
        """
        if pairs.offsets is None:
            raise InputError("this head was built with sc=False and pools nothing")
        o = pairs.offsets.to(prototypes["maps"].dtype)
        s_mask, q_mask = (averaged_mask(sign * o, self.size, self.perturbation).flatten(3) for sign in (1, -1))
        s = torch.einsum("nqtp,ntpc->nqtc", s_mask, prototypes["maps"].flatten(2, 3))
        q = torch.einsum("nqtp,qtpc->nqtc", q_mask, queries["maps"].flatten(2, 3))
        if pairs.attention is not None:
            s = s + prototypes["value"][:, None]
            q = q + pairs.attention @ queries["value"]
        return s, q

    def _channels_last(self, maps: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, T, H, W, C) in the precision of the weights, the layout of all that follows."""
        check_maps(maps, self.channels, self.frames, self.size)
        return maps.permute(0, 2, 3, 4, 1).to(parameter_dtype(self)).contiguous()

    def _embed(self, maps: Tensor, shot: int | None, roles: tuple[str, ...]) -> Embedding:
        maps = F.dropout(self._channels_last(maps), self.dropout, self.training)
        warp = hat_matrix(self.firststage(maps), self.frames) if self.ttm else None
        embedding: Embedding = {}
        if shot is None or shot == 1:
            embedding |= {f"single.{k}": v for k, v in self._describe(maps, warp, roles).items()}
        if shot is None or shot > 1:
            mapped = _linear(self.valuenet_multi, maps)
            several = self._describe(mapped, warp, roles)
            if SUPPORT in roles:
                mean = mix_frames(warp, maps.mean((2, 3)))
                several["fusion_key"] = _linear(self.keynet_multi, mean)
                several["fusion_question"] = _linear(self.querynet_multi, mean)
            embedding |= {f"multi.{k}": v for k, v in several.items()}
        return embedding

    def _describe(self, maps: Tensor, warp: Tensor | None, roles: tuple[str, ...]) -> Embedding:
        """What TC, SC and the distance need of one video, from maps (B, T, H, W, C) not yet warped."""
        mean = mix_frames(warp, maps.mean((2, 3)))
        out = {"maps": mix_frames(warp, maps)}
        if not self.sc:
            out["mean"] = mean
        stage = self.secondstage if self.tc or self.sc else None
        if stage is not None and self.tc:
            out["value"] = _linear(stage.valuenet, mean)
            if SUPPORT in roles:
                out["key"] = _linear(stage.keynet, mean)
            if QUERY in roles:
                out["question"] = _linear(stage.querynet, mean)
        if stage is not None and self.sc:
            if SUPPORT in roles:
                out["support_taps"] = stage.support_taps(maps, warp, out.get("value"))
            if QUERY in roles:
                out["query_half"] = stage.query_half(maps, warp)
            if QUERY in roles and self.tc:
                out["query_value_taps"] = stage.query_value_taps(out["value"])
        return out

    def _whole_distances(self, prototypes: Embedding, queries: Embedding, attention: Tensor | None) -> Tensor:
        """Distances (Q, N) of whole frames, without SC.

        What TC adds to a query differs from pair to pair but not over space: its share in products and norms follows
        from the means, and no map per pair is needed.
        """
        s, q = prototypes["maps"].flatten(2), queries["maps"].flatten(2)  # (…, T, P·C)
        q_square = q.square().sum(2)[None]  # (1, Q, T)
        if attention is None:
            dot = torch.einsum("ntx,qtx->nqt", s, q)
        else:
            P, value = self.size**2, prototypes["value"]
            s = (prototypes["maps"] + value[:, :, None, None]).flatten(2)
            added = attention @ queries["value"]  # (N, Q, T, C)
            shared = torch.einsum("nqtc,ntc->nqt", added, prototypes["mean"] + value)
            dot = torch.einsum("ntx,qtx->nqt", s, q) + P * shared
            crossed = torch.einsum("nqtc,qtc->nqt", added, queries["mean"])
            q_square = q_square + P * (2 * crossed + added.square().sum(3))
        # Clamped before the root: a clip warped out of its range is zero, where the root has no derivative.
        squares = s.square().sum(2)[:, None].clamp_min(EPSILON**2) * q_square.clamp_min(EPSILON**2)
        return (1 - dot / squares.sqrt()).sum(2).T


def _check_options(perturbation: float, dropout: float, init: str) -> None:
    if not 0 <= perturbation <= 1:
        raise InputError(f"perturbation={perturbation} is not a distance in half frames; give 0 (off) to 1")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout={dropout} is not a probability below 1; give 0 (off) or more")
    if init not in ("identity", "random"):
        raise InputError(f"init={init!r} is not known to ta2n; choose 'identity' or 'random'")


def _prepared(embedding: Embedding, shot: int) -> Embedding:
    """The part of an embedding that was made for this number of shots, under plain names."""
    prefix = "single." if shot == 1 else "multi."
    part = {k.removeprefix(prefix): v for k, v in embedding.items() if k.startswith(prefix)}
    if not part:
        raise InputError(f"this embedding was not made for {shot} shots; call embed(maps, shot={shot})")
    return part


def _join(videos: Tensor, way: int) -> Tensor:
    """The frames of all shots of a class in a row: (N·K, T, …) -> (N, K·T, …)."""
    return torch.unflatten(videos, 0, (way, -1)).flatten(1, 2)


def _linear(layer: nn.Conv1d, features: Tensor) -> Tensor:
    """Apply a 1×1 convolution to the last axis."""
    return F.linear(features, layer.weight[:, :, 0])
