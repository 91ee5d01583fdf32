"""A learned 1×1 projection of the channels in front of any head: fewer channels, a smaller and faster head."""

from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.pipeline.heads.interface import ClipEmbedder, Embedding, Head, parameter_dtype


class Projected(Head):
    """A head behind a 1×1 projection of its input, C -> D, without bias.

    The projection starts with orthonormal rows (or columns, where D > C), which keep lengths and angles as well as D
    directions can. Not part of any published method.

    Args:
        head: a head built for ``width`` channels.
        channels: C of the maps given.
        width: D, the channels the head sees.
    """

    def __init__(self, head: Head, channels: int, width: int) -> None:
        super().__init__(channels, head.frames, head.size)
        self.projection = nn.Linear(channels, width, bias=False)
        nn.init.orthogonal_(self.projection.weight)
        self.head = head
        self.pairwise = head.pairwise

    def project(self, maps: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, T, H, W)."""
        weight = self.projection.weight[:, :, None, None, None]
        return F.conv3d(maps.to(parameter_dtype(self)), weight)

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Project, then embed: see :meth:`Head.embed`."""
        return self.head.embed(self.project(maps), shot=shot)

    @property
    def clip_channels(self) -> int:
        """D of the head's :meth:`embed_clip`; there only where the head has one."""
        return int(self._embedder().clip_channels)

    def embed_clip(self, maps: Tensor) -> Tensor:
        """Project, then describe each clip by one vector: see :class:`ClipEmbedder`."""
        return self._embedder().embed_clip(self.project(maps))

    def _embedder(self) -> ClipEmbedder:
        if not isinstance(self.head, ClipEmbedder):
            # What hasattr asks for: a projected head has these only where its head has them.
            raise AttributeError(f"{type(self.head).__name__} has no vector of a single clip")  # noqa: TRY004
        return self.head

    def loss(self, distances: Tensor, labels: Tensor) -> Tensor:
        """The head's own: see :meth:`Head.loss`."""
        return self.head.loss(distances, labels)

    def losses(self, distances: Tensor, labels: Tensor, **parts: Any) -> dict[str, Tensor]:
        """The head's own: see :meth:`Head.losses`."""
        return self.head.losses(distances, labels, **parts)

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """See :meth:`Head.compare`."""
        return self.head.compare(support, query, shot)

    def embed_episode(self, support: Tensor, query: Tensor, shot: int = 1) -> tuple[Embedding, Embedding]:
        """Leave the second half to the head, which may embed support and query differently."""
        return self.head.embed_episode(self.project(support), self.project(query), shot)
