"""A 3×3×3 convolution taken apart, so that what varies per pair of clips stays small.

A convolution with padding 1 of a clip x whose frames are mixed in time by a matrix A (T, T') is

    out[t] = Σ_d Σ_τ A[t + d, τ] · (W_d ∗ x[τ]),    d = −1, 0, 1, rows of A outside the clip being zero,

where ∗ runs in space alone. The spatial part, the *taps*, is the heavy one and sees the raw maps: it neither waits for
A nor sends gradients to the maps. All functions are exact; clips are channels last, (B, T, H, W, C).
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ta2n.pipeline.heads.ops.conv3x3 import convolve


def spatial_kernels(weight: Tensor) -> Tensor:
    """The three spatial kernels of (O, C, 3, 3, 3), axes time, y and x, side by side: (3, 3, C, 3·O)."""
    return weight.permute(3, 4, 1, 2, 0).flatten(3)


def frame_taps(maps: Tensor, kernels: Tensor, kept: int | None = None) -> Tensor:
    """Convolve every frame with three spatial kernels.

    Args:
        maps: (B, T, H, W, C), of any precision.
        kernels: (3, 3, C, 3·O) of :func:`spatial_kernels`.
        kept: number of rows and columns S of the result that are wanted, from the first on; None for all.

    Returns:
        Taps (B, 3, T, P, O) at P = S² positions, in the precision of the kernels.
    """
    B, T, H, _, _ = maps.shape
    out = convolve(maps.flatten(0, 1), kernels, H if kept is None else kept)  # (B·T, S, S, 3·O)
    return out.reshape(B, T, out.shape[1] * out.shape[2], 3, -1).permute(0, 3, 1, 2, 4)


def constant_taps(values: Tensor, kernels: Tensor) -> Tensor:
    """Taps of frames that are constant over space, one number per cell of the spatial kernel.

    Args:
        values: (B, T, C), the constant of each frame.
        kernels: (3, 3, C, 3·O).

    Returns:
        (B, 3, T, 9, O); :func:`spread` turns the nine cells into positions.
    """
    cells = map_kernels(values.flatten(0, 1), kernels)  # (3, 3, B·T, 3·O)
    return cells.reshape(9, *values.shape[:2], 3, -1).permute(1, 3, 2, 0, 4)


def map_kernels(mapping: Tensor, kernels: Tensor) -> Tensor:
    """Multiply each cell of kernels (3, 3, C, O) by (M, C): (3, 3, M, O)."""
    # Nine products: one of all, which matmul would make of them, needs a copy of the kernels.
    return torch.bmm(mapping.expand(9, -1, -1), kernels.flatten(0, 1)).view(3, 3, len(mapping), -1)


def spread(cells: Tensor, size: int, kept: int | None = None) -> Tensor:
    """Sum, at each position, the kernel cells that do not hang over the border: (…, 9, O) -> (…, S², O).

    These are the nine border patterns of the kernel: corners, edges and the interior. ``kept`` is the number of rows
    and columns S wanted, from the first on; None for all of ``size``.
    """
    return border_patterns(size, size if kept is None else kept, cells) @ cells


def border_patterns(size: int, kept: int, like: Tensor) -> Tensor:
    """(S², 9): 1 where a cell of the kernel, centred at a position, lies inside the frame."""
    place = torch.arange(kept, device=like.device)[:, None] + torch.arange(-1, 2, device=like.device)
    inside = ((place >= 0) & (place < size)).to(like.dtype)  # (S, 3)
    return torch.kron(inside, inside)


def mix_frames(mixing: Tensor | None, frames: Tensor) -> Tensor:
    """Mix frames in time: (B, T, T'), (B, T', …) -> (B, T, …); None leaves them as they are."""
    if mixing is None:
        return frames
    return torch.unflatten(mixing @ frames.flatten(2), 2, frames.shape[2:])


def mix_taps(mixing: Tensor | None, taps: Tensor) -> Tensor:
    """Mix taps in time, each of the three kernels for itself: (B, T, T'), (B, 3, T', P, O) -> (B, 3, T, P, O)."""
    if mixing is None:
        return taps
    return torch.unflatten(mixing[:, None] @ taps.flatten(3), 3, taps.shape[3:])


def shift_sum(taps: Tensor) -> Tensor:
    """Finish the convolution in time: (B, 3, T, P, O) -> (B, T, P, O), frames outside the clip being zero."""
    before, here, after = taps.unbind(1)
    pad = (0, 0, 0, 0)
    return here + F.pad(before, (*pad, 1, 0))[:, :-1] + F.pad(after, (*pad, 0, 1))[:, 1:]


def shifted(mixing: Tensor) -> Tensor:
    """(…, T, T') -> (…, T, 3·T'): the matrix that mixes the taps of three kernels and shifts them, in one product."""
    padded = F.pad(mixing, (0, 0, 1, 1))
    frames = mixing.shape[-2]
    return torch.cat([padded[..., d : d + frames, :] for d in range(3)], dim=-1)
