"""Distances between whole frames, for TA2N without its spatial stage."""

import torch
from torch import Tensor

from ta2n.pipeline.heads.interface import Embedding

EPSILON = 1e-8


def whole_distances(prototypes: Embedding, queries: Embedding, attention: Tensor | None) -> Tensor:
    """Sum over frames of 1 − cosine of the frames' C·H·W numbers.

    What TC adds to a query differs from pair to pair but not over space: its share in products and norms follows from
    the means, and no map per pair is needed.

    Args:
        prototypes: ``maps`` (N, T, H, W, C) and, with TC, ``mean`` and ``value`` (N, T, C).
        queries: the same of Q videos.
        attention: (N, Q, T, T) of TC, or None.

    Returns:
        (Q, N), in [0, 2·T].
    """
    s, q = prototypes["maps"].flatten(2), queries["maps"].flatten(2)  # (…, T, P·C)
    q_square = q.square().sum(2)[None]  # (1, Q, T)
    if attention is None:
        dot = torch.einsum("ntx,qtx->nqt", s, q)
    else:
        value = prototypes["value"]
        P = s.shape[2] // value.shape[2]
        s = (prototypes["maps"] + value[:, :, None, None]).flatten(2)
        added = attention @ queries["value"]  # (N, Q, T, C)
        shared = torch.einsum("nqtc,ntc->nqt", added, prototypes["mean"] + value)
        dot = torch.einsum("ntx,qtx->nqt", s, q) + P * shared
        crossed = torch.einsum("nqtc,qtc->nqt", added, queries["mean"])
        q_square = q_square + P * (2 * crossed + added.square().sum(3))
    # Clamped before the root: a clip warped out of its range is zero, where the root has no derivative.
    squares = s.square().sum(2)[:, None].clamp_min(EPSILON**2) * q_square.clamp_min(EPSILON**2)
    return (1 - dot / squares.sqrt()).sum(2).T
