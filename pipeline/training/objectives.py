"""What training minimises: the head's loss on an episode, or a classifier over the base classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.episodes import Labels
from ta2n.pipeline.heads import HEADS, Head

_FIRST_SCALE = 10.0


def usual_objective(method: str) -> str:
    """How a method is trained where nobody says otherwise: as its head names it, by episodes for most."""
    return str(getattr(HEADS.get(method), "objective", "episodic"))


class BaseClassifier(nn.Module):
    """A cosine classifier over the base classes, on what a head makes of one clip.

    Logits are a learned scale times the cosine between the clip's vector and a weight vector of each class, so that
    nearest class mean by cosine is the natural test. The "++" recipe of the OTAM paper (CVPR 2020, section 4.2) as we
    read it; the scale and its start, 10, are ours.

    Args:
        head: the head, which must be a :class:`~ta2n.pipeline.heads.ClipEmbedder`.
        labels: class of each row of the cache, negative where it is not for training.

    Raises:
        InputError: the head has no vector of a single clip, or there are fewer than two classes.
    """

    def __init__(self, head: Head, labels: Labels) -> None:
        super().__init__()
        # Not isinstance: from Python 3.12 on it would take a projected head for one whatever it projects for.
        channels = getattr(head, "clip_channels", None)
        if channels is None:
            raise InputError(
                f"{type(head).__name__} compares clips and has no vector of a single one, so it cannot be trained as a "
                "classifier; use --objective episodic"
            )
        values = np.asarray(labels, dtype=np.int64)
        self.rows: NDArray[np.int64] = np.flatnonzero(values >= 0)
        classes, numbers = np.unique(values[self.rows], return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"the train split has {len(classes)} classes; a classifier needs at least 2")
        self._number = dict(zip(self.rows.tolist(), numbers.tolist(), strict=True))
        self.weight = nn.Parameter(torch.randn(len(classes), channels))
        self.scale = nn.Parameter(torch.tensor(_FIRST_SCALE))

    def draw(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """A batch of ``count`` different rows, or all of them where there are fewer."""
        return generator.choice(self.rows, min(count, len(self.rows)), replace=False)

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) number of each row's class among the base classes."""
        return np.array([self._number[row] for row in rows.tolist()])

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, D) vectors of clips -> (B, classes) logits."""
        return self.scale * normalize(vectors, dim=1) @ normalize(self.weight, dim=1).T

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, summed over the batch."""
        return cross_entropy(logits.float(), labels, reduction="sum")
