"""TSN++: every frame on its own, averaged over time, then the nearest class mean.

Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016, equation 1.
The "++" is a recipe: Cao et al., "Few-Shot Video Classification via Temporal Alignment" (OTAM), CVPR 2020, section 4.
"""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.pipeline.heads.interface import Embedding, Head, check_dropout, frame_means, parameter_dtype
from ta2n.pipeline.heads.trn import WIDTH, cosine_to_class_means


class TSN(Head):
    """A clip is the mean over frames of ReLU(linear(frame)), compared with class means by 1 − cosine.

    It is TRN++ with the single scale k = 1: what TRN++ gains over it comes from the order of frames, which TSN++ does
    not see.

    Departures: the paper averages class scores of frames and trains the backbone. On cached maps something else has to
    be trained, hence the linear map to 256 units; without it the head would be ``protonet``. The "++" recipe, trained
    as a cosine classifier over the base classes and tested by the nearest class mean, is our reading of one sentence.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        dropout: probability of dropping an element of the maps in training.
    """

    clip_channels = WIDTH
    objective = "base"
    """What the "++" recipe trains it as, unless a run says otherwise: a classifier over the base classes."""

    def __init__(self, channels: int, *, frames: int, size: int, dropout: float = 0.5) -> None:
        super().__init__(channels, frames, size)
        check_dropout(dropout)
        self.dropout = dropout
        self.bottleneck = nn.Linear(channels, WIDTH)

    def embed_clip(self, maps: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) -> (B, 256), nothing negative."""
        self.check(maps)
        means = frame_means(maps, parameter_dtype(self), self.dropout if self.training else 0.0)
        return F.relu(self.bottleneck(means)).mean(1)

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``clip`` (B, 256); the number of shots makes no difference."""
        return {"clip": self.embed_clip(maps)}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N), 0 to 2, of every query to every mean of K shots."""
        return cosine_to_class_means(support["clip"], query["clip"], shot)
