"""A 3×3×3 convolution taken apart, so that what varies per pair of clips stays small.

A convolution with padding 1 of a clip x whose frames are mixed in time by a matrix A (T, T') is

    out[t] = Σ_d Σ_τ A[t + d, τ] · (W_d ∗ x[τ]),    d = −1, 0, 1, rows of A outside the clip being zero,

where ∗ runs in space alone. The spatial part, the *taps*, is the heavy one and sees the raw maps: it neither waits for
A nor sends gradients to the maps. All functions are exact; clips are channels last, (B, T, H, W, C).
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def frame_taps(maps: Tensor, weight: Tensor) -> Tensor:
    """Convolve every frame with the three spatial kernels of ``weight``.

    Args:
        maps: (B, T, H, W, C).
        weight: (O, C, 3, 3, 3), its last axes being time, y and x.

    Returns:
        Taps (B, 3, T, H·W, O).
    """
    kernels = weight.permute(2, 0, 1, 3, 4).flatten(0, 1)  # (3·O, C, 3, 3)
    frames = maps.flatten(0, 1).permute(0, 3, 1, 2)  # (B·T, C, H, W), a channels-last view
    out = F.conv2d(frames, kernels, padding=1).permute(0, 2, 3, 1)  # (B·T, H, W, 3·O)
    B, T, H, W, _ = maps.shape
    return out.reshape(B, T, H * W, 3, -1).permute(0, 3, 1, 2, 4)


def constant_taps(values: Tensor, weight: Tensor) -> Tensor:
    """Taps of frames that are constant over space, one number per cell of the spatial kernel.

    Args:
        values: (B, T, C), the constant of each frame.
        weight: (O, C, 3, 3, 3).

    Returns:
        (B, 3, T, 9, O); :func:`spread` turns the nine cells into positions.
    """
    return torch.einsum("btc,ocdyx->bdtyxo", values, weight).flatten(3, 4)


def spread(cells: Tensor, size: int) -> Tensor:
    """Sum, at each position, the kernel cells that do not hang over the border: (…, 9, O) -> (…, size², O).

    These are the nine border patterns of the kernel: corners, edges and the interior.
    """
    place = torch.arange(size, device=cells.device)[:, None] + torch.arange(-1, 2, device=cells.device)
    inside = ((place >= 0) & (place < size)).to(cells.dtype)  # (size, 3)
    return torch.kron(inside, inside) @ cells


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
