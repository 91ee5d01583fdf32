"""Bi-MHM: every frame goes to the nearest frame of the other clip, in both directions.

Wang, Zhang, Qing, Tang, Zuo, Gao, Jin and Sang, "Hybrid Relation Guided Set Matching for Few-shot Action Recognition",
CVPR 2022, section 3.3.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import Embedding, Head, split_shots
from ta2n.pipeline.heads.ops.clip_matching import mean_hausdorff


class BiMHM(Head):
    """Bidirectional mean Hausdorff matching of spatial means by 1 − cosine of frames; nothing to learn.

    Departures: this is HyRSM's matching alone, without the relations that it learns before. The public code adds up
    over frames where the paper takes means: the code's sum is used, which is T times both means.

    Args:
        channels: C of the feature maps.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        shots: "clips", the mean over a class's shots of their distances, or "frames", the distance to the mean of its
            shots frame by frame; the same at one shot.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(self, channels: int, *, frames: int, size: int, shots: str = "clips") -> None:
        super().__init__(channels, frames, size)
        if shots not in ("clips", "frames"):
            raise InputError(f"shots={shots!r} is not known to bimhm; choose 'clips' or 'frames'")
        self.shots = shots

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``frames`` (B, T, C), the spatial means; the number of shots makes no difference."""
        self.check(maps)
        dtype = torch.promote_types(maps.dtype, torch.float32)
        return {"frames": maps.mean((3, 4), dtype=dtype).transpose(1, 2)}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N), 0 to 4·T."""
        shots = support["frames"]
        classes = torch.unflatten(shots, 0, (split_shots(len(shots), shot), shot))
        if self.shots == "frames":
            classes = classes.mean(1, keepdim=True)
        queries = F.normalize(query["frames"], dim=2)
        cosines = torch.einsum("qtc,nksc->qnkts", queries, F.normalize(classes, dim=3))
        return mean_hausdorff(1 - cosines).mean(2)
