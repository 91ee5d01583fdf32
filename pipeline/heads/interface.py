"""What every head is: a module that embeds one video at a time and compares embeddings in pairs."""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.ops.dropout import drop

Embedding = dict[str, Tensor]


class Head(nn.Module):
    """A few-shot head: feature maps of support and query clips to distances.

    A head defines :meth:`embed` (all work that depends on one video) and :meth:`compare` (the work on pairs); its
    forward is one after the other. An evaluation embeds every video once. In eval mode a row or column of the
    distances depends on nothing but its own query or class, and evaluation may compare any blocks of pairs; a head
    whose distances look at the whole episode says ``pairwise = False``, and is compared episode by episode. A head that
    can also be trained as a classifier is a :class:`ClipEmbedder` besides.

    Args:
        channels: C of the feature maps.
        frames: T.
        size: H = W.
    """

    pairwise = True
    """Whether a distance depends on its own query and class alone."""

    def __init__(self, channels: int, frames: int, size: int) -> None:
        super().__init__()
        self.channels, self.frames, self.size = channels, frames, size

    def check(self, maps: Tensor) -> None:
        """Refuse feature maps that are not (B, C, T, H, W) of this head.

        Raises:
            InputError: their shape is another.
        """
        expected = (self.channels, self.frames, self.size, self.size)
        if maps.ndim != 5 or tuple(maps.shape[1:]) != expected:
            raise InputError(
                f"feature maps of shape {tuple(maps.shape)} do not fit a head built for (B, "
                f"{', '.join(map(str, expected))}); give build_head the channels, frames and size of the cache"
            )

    @abstractmethod
    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Do the work that depends on one video alone.

        Args:
            maps: feature maps (B, C, T, H, W), float16 or wider.
            shot: the number of shots K that it will be compared with.

        Returns:
            Named tensors, each with B first: ``{k: v[rows] for k, v in embedding.items()}`` picks videos.
        """

    @abstractmethod
    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N) between the embeddings of Q queries and N·K class-major shots; smaller is closer."""

    def embed_episode(self, support: Tensor, query: Tensor, shot: int = 1) -> tuple[Embedding, Embedding]:
        """Embed the clips of one episode: maps (N·K, C, T, H, W), class-major, and (Q, C, T, H, W).

        A head whose work depends on the part that a clip plays defines its own.
        """
        return self.embed(support, shot=shot), self.embed(query, shot=shot)

    def forward(self, support: Tensor, query: Tensor, shot: int = 1) -> Tensor:
        """Maps (N·K, C, T, H, W), class-major, and (Q, C, T, H, W) to distances (Q, N); smaller is closer."""
        return self.compare(*self.embed_episode(support, query, shot), shot)

    def losses(
        self,
        distances: Tensor,
        labels: Tensor,
        *,
        support: Embedding,
        query: Embedding,
        support_classes: Tensor | None = None,
        query_classes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The terms of an episode's loss by name; training minimises their sum.

        A head with auxiliary terms, over the base classes for instance, adds them beside the episodic one.

        Args:
            distances: (Q, N).
            labels: (Q,) int64, the class of each query in the episode, 0 to N − 1.
            support: what :meth:`embed` made of the N·K shots.
            query: what it made of the Q queries.
            support_classes: (N·K,) int64, each shot's class among the base classes; None where they are not known.
            query_classes: (Q,) likewise.

        Returns:
            Scalars in float32, the episodic one under ``episodic``.
        """
        return {"episodic": self.loss(distances, labels)}

    def loss(self, distances: Tensor, labels: Tensor) -> Tensor:
        """What an episode's training minimises: here the cross-entropy of −distances, summed over queries.

        A head whose paper trains it in another way defines its own.

        Args:
            distances: (Q, N).
            labels: (Q,) int64, the class of each query, 0 to N − 1.

        Returns:
            A scalar in float32.
        """
        return cross_entropy(-distances.float(), labels, reduction="sum")


@runtime_checkable
class ClipEmbedder(Protocol):
    """A third thing some heads can do: describe a clip on its own by one vector.

    Such a head can also be trained without episodes, under a classifier over the base classes.
    """

    clip_channels: int
    """D of the vector."""

    def embed_clip(self, maps: Tensor) -> Tensor:
        """Feature maps (B, C, T, H, W) -> (B, D), what the head's :meth:`Head.embed` is made from."""


def parameter_dtype(module: nn.Module) -> torch.dtype:
    """The precision a head computes in: that of its weights, or torch's default where it has none."""
    first = next(module.parameters(), None)
    return torch.get_default_dtype() if first is None else first.dtype


def check_dropout(probability: float) -> None:
    """Refuse a dropout that is not a probability below 1."""
    if not 0 <= probability < 1:
        raise InputError(f"dropout={probability} is not a probability below 1; give 0 (off) or more")


def frame_means(maps: Tensor, dtype: torch.dtype, probability: float) -> Tensor:
    """Drop elements of maps (B, C, T, H, W), as in training, and average the rest over space: (B, T, C)."""
    if probability:
        maps = drop(maps, probability)
    return maps.mean((3, 4), dtype=dtype).transpose(1, 2)


def split_shots(rows: int, shot: int) -> int:
    """The way of ``rows`` class-major support videos at ``shot`` per class."""
    if shot < 1 or rows == 0 or rows % shot:
        raise InputError(f"{rows} support videos cannot be split into classes of {shot} shots; give N·K of them")
    return rows // shot
