"""OTAM: the cheapest ordered alignment of two clips' frames.

Cao, Ji, Cao, Chang and Niebles, "Few-Shot Video Classification via Temporal Alignment", CVPR 2020, section 3.3.
"""

from math import inf

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import Embedding, Head, split_shots
from ta2n.pipeline.heads.ops.clip_matching import lengths, padded_cosines


class OTAM(Head):
    """Ordered temporal alignment of spatial means, by a smooth dynamic programme over 1 − cosine of frames.

    Departures: the paper trains the backbone through the alignment; on cached maps the head has nothing to train
    unless it stands behind a projection. Maps are averaged over space before frames are compared.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        smoothing: λ of the smooth minimum, above 0; the hard minimum is its limit at 0.
        cosine_padding: what is added to |x||y| below the line of a cosine, 0 or more; 0.01 in the public code.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self, channels: int, *, frames: int, size: int, smoothing: float = 0.1, cosine_padding: float = 0.0
    ) -> None:
        super().__init__(channels, frames, size)
        if not smoothing > 0:
            raise InputError(f"smoothing={smoothing} is not above 0; the published value is 0.1")
        if not 0 <= cosine_padding < inf:
            raise InputError(f"cosine_padding={cosine_padding} is not 0 or more; the public code has 0.01")
        self.smoothing, self.cosine_padding = smoothing, cosine_padding

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``frames`` (B, T, C), the spatial means; the number of shots makes no difference."""
        self.check(maps)
        dtype = torch.promote_types(maps.dtype, torch.float32)
        return {"frames": maps.mean((3, 4), dtype=dtype).transpose(1, 2)}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N): the smooth cost of the best alignment."""
        shots, queries = support["frames"], query["frames"]
        way = split_shots(len(shots), shot)
        distances = self.align(1 - self.cosines(queries, shots))
        return torch.unflatten(distances, 1, (way, shot)).mean(2)

    def cosines(self, queries: Tensor, shots: Tensor) -> Tensor:
        """(Q, N·K, T of query, T of support) between frames (Q, T, C) and (N·K, T, C)."""
        if not self.cosine_padding:
            return torch.einsum("qtc,nsc->qnts", F.normalize(queries, dim=2), F.normalize(shots, dim=2))
        dot = torch.einsum("qtc,nsc->qnts", queries, shots)
        return padded_cosines(dot, lengths(queries)[:, None, :, None], lengths(shots)[:, None], self.cosine_padding)

    def align(self, frame_distances: Tensor) -> Tensor:
        """Alignment distances (...), both directions summed, from (..., T of query, T of support) between frames."""
        turned = frame_distances.transpose(-1, -2)
        return cumulative_distance(frame_distances, self.smoothing) + cumulative_distance(turned, self.smoothing)


def cumulative_distance(frame_distances: Tensor, smoothing: float) -> Tensor:
    """Smooth cost of the cheapest ordered path through distances between frames (equation 9 of the paper).

    Columns of zeros stand before the first and after the last: a path enters and leaves the columns' clip at any row.
    The columns in between are entered from the left or from the row above and left of them; the first real column and
    the last column of zeros also from above, which is how a path waits outside the clip.

    Args:
        frame_distances: (..., L, M); every pair of clips is computed at once.
        smoothing: λ; the minimum of x is −λ·log Σ exp(−x/λ).

    Returns:
        (...) the cost in the last row and column.
    """
    steps = F.pad(frame_distances, (1, 1)).unbind(-2)
    last = frame_distances.shape[-1] + 1
    row = list(steps[0].cumsum(-1).unbind(-1))
    for step in steps[1:]:
        here = step.unbind(-1)
        new = [row[0] + here[0]]
        for column in range(1, last + 1):
            before = [row[column - 1], new[column - 1]]
            if column in (1, last):
                before.append(row[column])
            smallest = -smoothing * torch.logsumexp(-torch.stack(before) / smoothing, 0)
            new.append(here[column] + smallest)
        row = new
    return row[last]
