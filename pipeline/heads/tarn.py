"""TARN: a recurrent comparison of the query with each shot, aligned to it by attention.

Bishay, Zoumpourlis and Patras, "TARN: Temporal Attentive Relation Network for Few-Shot and Zero-Shot Action
Recognition", BMVC 2019, section 3.
"""

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

HIDDEN = 256


class TARN(Head):
    """Bi-GRU, attention of the shot to the query's steps, [cosine, L2] at each step, GRU, a score of 0 to 1.

    The distance is −log(p / (1 − p)) of the score p, the mean over the shots of a class: with one shot −distance is
    what goes into the sigmoid.

    Departures: C3D segments are replaced by the frames of the cache, averaged over space. The bias in the attention is
    left out: added to all shot steps alike, it cancels in the softmax. The binary cross-entropy is added up over the N
    pairs of a query, which makes its gradients about as large as those of the cross-entropy.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        dropout: probability of dropping an element of the maps in training.
        loss: "own", binary cross-entropy of every pair, or "episodic", cross-entropy of −distances over the classes.
    """

    def __init__(self, channels: int, *, frames: int, size: int, dropout: float = 0.5, loss: str = "own") -> None:
        super().__init__(channels, frames, size)
        check_dropout(dropout)
        if loss not in ("own", "episodic"):
            raise InputError(f"loss={loss!r} is not known to tarn; choose 'own' or 'episodic'")
        self.dropout, self.own_loss = dropout, loss == "own"
        self.encoder = nn.GRU(channels, HIDDEN, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(2 * HIDDEN, 2 * HIDDEN, bias=False)
        self.comparator = nn.GRU(2, HIDDEN, batch_first=True)
        self.score = nn.Linear(HIDDEN, 1)

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``steps`` and, for the part of a shot, ``keys``, both (B, T, 512)."""
        self.check(maps)
        means = frame_means(maps, parameter_dtype(self), self.dropout if self.training else 0.0)
        steps, _ = self.encoder(means)
        return {"steps": steps, "keys": self.attention(steps)}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N), any real number; see :meth:`Head.compare`."""
        way = split_shots(len(support["steps"]), shot)
        compared = _compare_steps(support["keys"], support["steps"], query["steps"])  # (Q, N·K, T, 2)
        _, last = self.comparator(compared.flatten(0, 1))
        logits = self.score(last[0]).view(-1, way, shot)
        return -_logit_of_mean(logits)

    def loss(self, distances: Tensor, labels: Tensor) -> Tensor:
        """The loss chosen, summed over queries: see :meth:`Head.loss`."""
        if not self.own_loss:
            return super().loss(distances, labels)
        same = F.one_hot(labels, distances.shape[1]).float()
        return F.binary_cross_entropy_with_logits(-distances.float(), same, reduction="sum")


def _compare_steps(keys: Tensor, shots: Tensor, queries: Tensor) -> Tensor:
    """Cosine and L2 of every query step and the shot's steps that attend to it: (S, T, D), (Q, T, D) -> (Q, S, T, 2).

    The attention is a softmax over the steps of the shot, so that every query step gets a weighted mean of them.
    """
    attention = torch.einsum("ncd,qtd->qntc", keys, queries).softmax(3)
    aligned = torch.einsum("qntc,ncd->qntd", attention, shots)
    cosine = F.cosine_similarity(aligned, queries[:, None], dim=3)
    # vector_norm, because it has a gradient, zero, also where the two are the same.
    return torch.stack([cosine, torch.linalg.vector_norm(aligned - queries[:, None], dim=3)], dim=3)


def _logit_of_mean(logits: Tensor) -> Tensor:
    """log(p / (1 − p)) for p the mean of sigmoid(logits) over the last axis; exact also where p rounds to 0 or 1."""
    return torch.logsumexp(F.logsigmoid(logits), -1) - torch.logsumexp(F.logsigmoid(-logits), -1)
