"""Matching of two sets of vectors, such as the frames of two clips, without regard to order beyond the best match."""

import torch
from torch import Tensor

PADDING = 0.01
"""What public few-shot codes add below the line of a cosine."""


def padded_cosines(dot: Tensor, norms: Tensor, others: Tensor, padding: float = PADDING) -> Tensor:
    """x·y / (|x||y| + padding), which shrinks the cosine of short vectors and is 0 for those of length 0.

    Args:
        dot: products x·y, of any shape.
        norms: |x|, and
        others: |y|, of shapes that broadcast to that of ``dot``.
        padding: 0 or more.
    """
    return dot / (norms * others + padding)


def mean_hausdorff(distances: Tensor) -> Tensor:
    """Bidirectional mean Hausdorff matching, Bi-MHM: every row and every column goes to what is nearest to it.

    Args:
        distances: (..., S, T) between the members of two sets.

    Returns:
        (...), Σ_s min_t + Σ_t min_s: a sum over both directions, not a mean.
    """
    return distances.amin(-1).sum(-1) + distances.amin(-2).sum(-1)


def lengths(vectors: Tensor) -> Tensor:
    """Euclidean lengths along the last axis."""
    found: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return found
