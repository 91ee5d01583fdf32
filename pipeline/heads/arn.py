"""ARN: second-order pooling over space and time, and a convolutional comparator of two such matrices.

Zhang et al., "Few-Shot Action Recognition with Permutation-Invariant Attention", ECCV 2020, section 3.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import Embedding, Head, check_dropout, parameter_dtype, split_shots
from ta2n.pipeline.heads.ops.dropout import drop

WIDTH = 64
POWER = 100.0


class ARN(Head):
    """Attention over space, M = ΦΦᵀ over all positions, power normalisation; four conv blocks give a score of 0 to 1.

    The distance is −log(p / (1 − p)) of the score p: −distance is what goes into the sigmoid. The first convolution
    of a stacked pair is the sum of one of the class and one of the query, and runs N + Q times instead of N·Q.

    Departures: the C3D encoder is replaced by cached maps and a learned 1×1 map to 64 channels. Of the paper's
    attention this has the part in space; that in time, and the losses that align it with shuffled or turned clips, are
    left out. In training, support and query are normalised by the statistics of their own batch, and so are all pairs
    of an episode together. Errors are added up over the N pairs of a query.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        dropout: probability of dropping an element of the maps in training.
        loss: "own", squared error of the score to 1 or 0, or "episodic", cross-entropy of −distances over the classes.
    """

    def __init__(self, channels: int, *, frames: int, size: int, dropout: float = 0.5, loss: str = "own") -> None:
        super().__init__(channels, frames, size)
        check_dropout(dropout)
        if loss not in ("own", "episodic"):
            raise InputError(f"loss={loss!r} is not known to arn; choose 'own' or 'episodic'")
        self.dropout, self.own_loss = dropout, loss == "own"
        self.projection = nn.Sequential(nn.Conv3d(channels, WIDTH, 1, bias=False), nn.BatchNorm3d(WIDTH), nn.ReLU())
        self.attention = nn.Conv3d(WIDTH, 1, (1, 3, 3), padding=(0, 1, 1))
        self.first = nn.Conv2d(2, WIDTH, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*_after_convolution(), *(layer for _ in range(3) for layer in _block()))
        self.score = nn.Linear(WIDTH * (WIDTH // 16) ** 2, 1)

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``moments`` (B, 64, 64), not yet averaged over shots."""
        self.check(maps)
        if self.training:
            maps = drop(maps, self.dropout)
        features = self.projection(maps.to(parameter_dtype(self)))
        features = features * (1 + self.attention(features).sigmoid())
        return {"moments": second_moments(features.flatten(2))}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N), any real number; see :meth:`Head.compare`."""
        way = split_shots(len(support["moments"]), shot)
        classes = torch.unflatten(support["moments"], 0, (way, shot)).mean(1)
        weight = self.first.weight  # (64, 2, 3, 3): class, query
        s_half = F.conv2d(classes[:, None], weight[:, :1], padding=1)
        q_half = F.conv2d(query["moments"][:, None], weight[:, 1:], padding=1)
        # Channels last, where a normalisation or pooling works on whole rows of numbers.
        s_half, q_half = (half.permute(0, 2, 3, 1).contiguous() for half in (s_half, q_half))
        pairs = (q_half[:, None] + s_half).flatten(0, 1).permute(0, 3, 1, 2)  # (Q·N, 64, 64, 64)
        scores: Tensor = self.score(self.blocks(pairs).flatten(1))
        return -scores.view(-1, way)

    def loss(self, distances: Tensor, labels: Tensor) -> Tensor:
        """The loss chosen, summed over queries: see :meth:`Head.loss`."""
        if not self.own_loss:
            return super().loss(distances, labels)
        same = F.one_hot(labels, distances.shape[1]).float()
        return F.mse_loss(torch.sigmoid(-distances.float()), same, reduction="sum")


def second_moments(features: Tensor) -> Tensor:
    """Features (B, D, P) at P positions -> (B, D, D): the mean of their outer products, of trace 1, power-normalised.

    The power normalisation, 2·sigmoid(100·M) − 1, tells whether two channels occur together rather than how often; it
    keeps values in [0, 1) where features are not negative.
    """
    moments = features @ features.transpose(1, 2) / features.shape[2]
    trace = moments.diagonal(dim1=1, dim2=2).sum(1)
    # Half of 100·M in tanh is the same as 2·sigmoid(100·M) − 1.
    return torch.tanh(POWER / 2 * moments / trace.clamp_min(1e-12)[:, None, None])


def _block() -> list[nn.Module]:
    return [nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), *_after_convolution()]


def _after_convolution() -> list[nn.Module]:
    # Pooled first, a quarter is left to rectify, and it comes to the same.
    return [nn.BatchNorm2d(WIDTH), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
