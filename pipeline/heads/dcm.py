"""DCM: frames described by the distances between their channels, and compared at learned pairs of times.

Long, Zhang, Lv, Xie and Li, "Task-Specific Distance Correlation Matching for Few-Shot Action Recognition" (TS-FSAR),
AAAI 2026: its matching, TS-DCM, without its networks.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.interface import Embedding, Head, parameter_dtype, split_shots
from ta2n.pipeline.heads.official import fitting_weights
from ta2n.pipeline.heads.ops.clip_matching import lengths, mean_hausdorff, padded_cosines

SMALLEST = 1e-5
EPSILON = 1e-8
MATRICES = ("learned", "bimhm", "ones")


class DCM(Head):
    """Distance correlation of frames: how channels differ from one another over the positions of a frame.

    A frame is the centred matrix of distances between its channels, C(C + 1)/2 numbers; frames are compared by cosine.
    How a table of frames becomes a distance is the ``matrix``: weights for each pair of times, made from the clips of
    the whole episode; or, without parameters, Bi-MHM or the plain sum.

    Departures: the token that weighs positions is the mean over positions, since maps have no class token. The paper
    trains a side network on CLIP before it; here the maps are what is cached. What the parameter-free matrices do is
    our reading.

    Args:
        channels: C of the feature maps; 256 in the public code, behind a projection. A clip costs T·C(C + 1)/2 numbers.
        frames: T of the feature maps.
        size: H = W of the feature maps.
        alpha: the power of squared distances, above 0.
        matrix: "learned", "bimhm" (Bi-MHM of 1 − similarity) or "ones" (every pair of times counts alike).

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(self, channels: int, *, frames: int, size: int, alpha: float = 0.4, matrix: str = "learned") -> None:
        super().__init__(channels, frames, size)
        if not alpha > 0:
            raise InputError(f"alpha={alpha} is not above 0; the published value is 0.4")
        if matrix not in MATRICES:
            raise InputError(f"matrix={matrix!r} is not known to dcm; choose {', '.join(map(repr, MATRICES))}")
        self.alpha, self.matrix = alpha, matrix
        if matrix == "learned":
            self.pairwise = False
            self.generator = nn.Linear(channels, frames * frames, bias=False)

    def load_official_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights of a published checkpoint: ``generator.weight``.

        Raises:
            InputError: names are missing or unknown, or a shape does not fit; the message lists them.
        """
        self.load_state_dict(fitting_weights("dcm", self.state_dict(), state))

    def embed(self, maps: Tensor, *, shot: int) -> Embedding:
        """Maps (B, C, T, H, W) -> ``frames`` (B, T, C(C + 1)/2) and ``token`` (B, C), the mean over all positions."""
        self.check(maps)
        dtype = torch.promote_types(maps.dtype, parameter_dtype(self))
        positions = maps.to(dtype).flatten(3).transpose(1, 2)  # (B, T, C, P)
        return {"frames": channel_distances(positions, self.alpha), "token": positions.mean((1, 3))}

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        """Distances (Q, N); −score, below 0 as a rule, but for Bi-MHM, which is above 0."""
        similarity = self.frame_similarity(support, query, shot)
        if self.matrix == "bimhm":
            return mean_hausdorff(1 - similarity)
        if self.matrix == "ones":
            return -similarity.sum((2, 3))
        return -torch.einsum("qnts,qts->qn", similarity, self.matching_matrix(support, query))

    def frame_similarity(self, support: Embedding, query: Embedding, shot: int) -> Tensor:
        """(Q, N, T of query, T of class): cosines of frames to the mean of a class's shots, frame by frame."""
        shots, queries = support["frames"], query["frames"]
        classes = torch.unflatten(shots, 0, (split_shots(len(shots), shot), shot)).mean(1)
        dot = torch.einsum("qtd,nsd->qnts", queries, classes)
        return padded_cosines(dot, lengths(queries)[:, None, :, None], lengths(classes)[:, None])

    def matching_matrix(self, support: Embedding, query: Embedding) -> Tensor:
        """(Q, T of query, T of class) from the mean of a query and that of all support clips, alike for all classes."""
        weights: Tensor = self.generator(query["token"] + support["token"].mean(0))
        return torch.unflatten(weights, 1, (self.frames, self.frames))


def channel_distances(maps: Tensor, alpha: float) -> Tensor:
    """Centred powers of the distances between channels, the upper triangle row by row with its diagonal.

    Args:
        maps: (..., C, P) of P positions, in float32 or wider, in which all is computed under mixed precision too.
        alpha: the power of squared distances.

    Returns:
        (..., C(C + 1)/2).
    """
    directions = F.normalize(maps, dim=-2, eps=EPSILON)
    token = F.normalize(maps.mean(-1), dim=-1, eps=EPSILON)
    weighed = maps * (token[..., None] * directions).sum(-2, keepdim=True)
    with torch.autocast("cuda" if maps.is_cuda else "cpu", enabled=False):  # differences of products lose its digits
        products = weighed @ weighed.transpose(-1, -2)  # (..., C, C)
    squares = products.diagonal(dim1=-2, dim2=-1)
    C = maps.shape[-2]
    own = torch.eye(C, dtype=torch.bool, device=maps.device)
    distances = (squares[..., :, None] + squares[..., None, :] - 2 * products).masked_fill(own, 0)
    powers = ((distances / (2 * maps.shape[-1])).clamp_min(0) + SMALLEST) ** alpha
    means = powers.mean(-1)  # of rows and columns alike
    centred = powers - means[..., :, None] - means[..., None, :] + means.mean(-1)[..., None, None]
    row, column = torch.triu_indices(C, C, device=maps.device)
    return centred[..., row, column]
