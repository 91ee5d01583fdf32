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
from ta2n.pipeline.heads.interface import Embedding, Head, parameter_dtype, split_shots
from ta2n.pipeline.heads.official import official_weights
from ta2n.pipeline.heads.ops.dropout import drop
from ta2n.pipeline.heads.ops.factorised_conv import mix_frames, shift_sum
from ta2n.pipeline.heads.ops.frame_distance import EPSILON, whole_distances
from ta2n.pipeline.heads.ops.pooling import mixed_pool
from ta2n.pipeline.heads.ttm import TemporalTransform, hat_matrix

SUPPORT, QUERY = "support", "query"


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
        super().__init__(channels, frames, size)
        _check_options(perturbation, dropout, init)
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

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) to everything that depends on one video: see :meth:`Head.embed`.

        One shot and several need different work: the maps of several pass through the value map of the fusion.
        """
        return self._embed(maps, shot, (SUPPORT, QUERY))

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """See :meth:`Head.compare`."""
        prototypes, queries = self.prototypes(support, shot), query
        pairs = self.pairs(prototypes, queries)
        if pairs.offsets is None:
            s, q = (videos | {"maps": self.warped(videos)} for videos in (prototypes, queries))
            return whole_distances(s, q, pairs.attention)
        aligned = self.aligned(prototypes, queries, pairs, shot)
        # A class at a time: what its similarities need on the way stays in the processor's cache.
        similarities = [F.cosine_similarity(s, q, dim=2, eps=EPSILON) for s, q in zip(*aligned, strict=True)]
        return (1 - torch.stack(similarities)).sum(2).T

    def embed_episode(self, support: Tensor, query: Tensor, shot: int = 1) -> tuple[Embedding, Embedding]:
        """See :meth:`Head.embed_episode`; a clip is embedded only for the part it plays."""
        return self._embed(support, shot, (SUPPORT,)), self._embed(query, shot, (QUERY,))

    def prototypes(self, support: Embedding, shot: int) -> Embedding:
        """Fuse the shots of each class: N·K embedded videos to N prototypes, ready to be paired.

        The fusion only mixes frames, and everything in the embedding is linear in them. The maps are left as they are,
        (N, K·T, H, W, C), beside the matrix that mixes them; :meth:`warped` applies it.
        """
        N = split_shots(len(support["maps"]), shot)
        if ("fusion_key" in support) != (shot > 1):
            raise InputError(f"this embedding was not made for {shot} shots; call embed(maps, shot={shot})")
        if shot == 1:
            return support
        shots = support
        question = shots["fusion_question"][::shot]  # (N, T, C), of the first shot
        key = torch.unflatten(shots["fusion_key"], 0, (N, shot))
        logits = torch.einsum("nsc,nktc->nskt", question, key) / sqrt(self.channels)
        attention = logits.softmax(dim=3) / shot  # (N, T, K, T)
        mixing = attention.flatten(2)
        fused = {k: mix_frames(mixing, _join(shots[k], N)) for k in shots if k in ("mean", "key", "value")}
        if self.sc:
            taps = shots["support_taps"].transpose(1, 2)  # (N·K, T, 3, P, O)
            fused["support_half"] = shift_sum(mix_frames(mixing, _join(taps, N)).transpose(1, 2))
        if self.ttm:
            warp = torch.unflatten(shots["warp"], 0, (N, shot))
            mixing = torch.einsum("nskt,nktr->nskr", attention, warp).flatten(2)
        return fused | {"maps": _join(shots["maps"], N), "warp": mixing}

    def warped(self, videos: Embedding) -> Tensor:
        """The maps (B, T, H, W, C) of prototypes or queries, warped and fused but not yet mapped by the fusion."""
        return mix_frames(videos.get("warp"), videos["maps"].to(parameter_dtype(self)))

    def pairs(self, prototypes: Embedding, queries: Embedding) -> Pairs:
        """Attention of TC and offsets of SC for every prototype and query."""
        attention, offsets = None, None
        if self.tc:
            attention = self.secondstage.attention(prototypes["key"], queries["question"])
        if self.sc:
            halves = prototypes["support_half"], queries["query_half"]
            offsets = self.secondstage.mvnet.offsets(*halves, attention, queries.get("query_value_taps"))
        return Pairs(attention, offsets)

    def aligned(self, prototypes: Embedding, queries: Embedding, pairs: Pairs, shot: int) -> tuple[Tensor, Tensor]:
        """Support and query as SC pools them, each (N, Q, T, C).

        A mask sums to 1, so what TC adds to every position passes through the pooling unchanged; and the value map of
        the fusion is linear, so it is left to here, where it has T columns to map instead of T·H·W.
        """
        if pairs.offsets is None:
            raise InputError("this head was built with sc=False and pools nothing")
        o = pairs.offsets.to(parameter_dtype(self))
        s_mask, q_mask = (averaged_mask(sign * o, self.size, self.perturbation).flatten(3) for sign in (1, -1))
        s = _pooled(s_mask, prototypes)
        q = _pooled(q_mask.transpose(0, 1), queries).transpose(0, 1)
        if shot > 1:
            s, q = _linear(self.valuenet_multi, s), _linear(self.valuenet_multi, q)
        if pairs.attention is not None:
            s = s + prototypes["value"][:, None]
            q = q + pairs.attention @ queries["value"]
        return s, q

    def _channels_last(self, maps: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, T, H, W, C), the layout of all that follows."""
        self.check(maps)
        return maps.permute(0, 2, 3, 4, 1).contiguous()

    def _embed(self, maps: Tensor, shot: int, roles: tuple[str, ...]) -> Embedding:
        maps = self._channels_last(maps)
        if self.training:
            maps = drop(maps, self.dropout)
        # Kept in the precision of the cache and not yet warped: exact, and half the memory where that is float16.
        embedding = {"maps": maps}
        warp = None
        if self.ttm:
            embedding["warp"] = warp = hat_matrix(self.firststage(maps).to(parameter_dtype(self)), self.frames)
        return embedding | self._describe(maps, warp, roles, several=shot > 1)

    def _describe(self, maps: Tensor, warp: Tensor | None, roles: tuple[str, ...], *, several: bool) -> Embedding:
        """What the fusion, TC, SC and the distance need of maps (B, T, H, W, C) that are not warped yet."""
        out: Embedding = {}
        dtype = parameter_dtype(self)
        mean = mix_frames(warp, _means(maps, dtype))
        if several and SUPPORT in roles:
            out["fusion_key"] = _linear(self.keynet_multi, mean)
            out["fusion_question"] = _linear(self.querynet_multi, mean)
        mapping = self.valuenet_multi if several else None
        if mapping is not None:
            mean = _linear(mapping, mean)
        if not self.sc:  # whole frames are compared
            out["mean"] = mean
            if mapping is not None:
                out["maps"] = _linear(mapping, maps.to(dtype))
        if self.tc:
            out["value"] = _linear(self.secondstage.valuenet, mean)
            if SUPPORT in roles:
                out["key"] = _linear(self.secondstage.keynet, mean)
            if QUERY in roles:
                out["question"] = _linear(self.secondstage.querynet, mean)
        if self.sc and SUPPORT in roles:
            taps = self.secondstage.mvnet.support_taps(maps, warp, out.get("value"), mapping)
            out |= {"support_taps": taps} if several else {"support_half": shift_sum(taps)}
        if self.sc and QUERY in roles:
            out["query_half"], value_taps = self.secondstage.mvnet.query_half(maps, warp, out.get("value"), mapping)
            if value_taps is not None:
                out["query_value_taps"] = value_taps
        return out


def _check_options(perturbation: float, dropout: float, init: str) -> None:
    if not 0 <= perturbation <= 1:
        raise InputError(f"perturbation={perturbation} is not a distance in half frames; give 0 (off) to 1")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout={dropout} is not a probability below 1; give 0 (off) or more")
    if init not in ("identity", "random"):
        raise InputError(f"init={init!r} is not known to ta2n; choose 'identity' or 'random'")


def _join(videos: Tensor, way: int) -> Tensor:
    """The frames of all shots of a class in a row: (N·K, T, …) -> (N, K·T, …)."""
    return torch.unflatten(videos, 0, (way, -1)).flatten(1, 2)


def _means(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Spatial means (B, T, C) of maps (B, T, H, W, C), a few widened at a time."""
    return torch.cat([part.mean((2, 3), dtype=dtype) for part in torch.split(maps, 8)])


def _pooled(mask: Tensor, videos: Embedding) -> Tensor:
    """Sums (B, R, T, C) of B warped videos, weighted by R masks (B, R, T, P) of each."""
    maps = videos["maps"].flatten(2, 3)
    return mixed_pool(mask.transpose(1, 2), videos.get("warp"), maps).transpose(1, 2)


def _linear(layer: nn.Conv1d, features: Tensor) -> Tensor:
    """Apply a 1×1 convolution to the last axis."""
    return F.linear(features, layer.weight[:, :, 0])
