"""A 3×3 convolution of many small frames as nine matrix products, one for each cell of its kernel.

On a frame of 7×7 a fifth of what a convolution with padding 1 multiplies is padding; a cell at a time, none of it is.
For the cell one row up and one column to the left of the kernel's middle, on a frame of 3×3::

    input      output          output[y, x] += input[y − 1, x − 1] · w, as one product of all positions marked:
    # # ·      · · ·
    # # ·      · # #           the first row and column of the output lie beside padding and get nothing,
    · · ·      · # #           the last row and column of the input reach no output.

Positions come first here, so that the products read and add to slices of what is there, in the precision of the
kernel whatever that of the frames, and some frames at a time: nothing as large as the frames is ever made.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

_FRAMES = 64
"""At a time: 26 MB of 2048×7×7 in float32; the products have some 2,000 rows then, enough for the full rate."""


def convolve(frames: Tensor, kernel: Tensor, kept: int) -> Tensor:
    """Convolve frames with padding 1.

    Args:
        frames: (F, H, W, C), of any precision.
        kernel: (3, 3, C, O), axes y and x first.
        kept: number of rows and columns of the result that are wanted, from the first on.

    Returns:
        (F, kept, kept, O) in the precision of the kernel.
    """
    if frames.device.type == "cpu":
        return cast(Tensor, _Convolve.apply(frames, kernel, kept))
    weight, maps = kernel.permute(3, 2, 0, 1), frames.to(kernel.dtype).permute(0, 3, 1, 2)
    return F.conv2d(maps, weight, padding=1)[:, :, :kept, :kept].permute(0, 2, 3, 1)


class _Convolve(torch.autograd.Function):
    """:func:`convolve` on the CPU."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, kernel: Tensor, kept: int) -> Tensor:
        ctx.save_for_backward(frames, kernel)
        ctx.kept = kept
        return torch.cat([_forward(part, kernel, kept) for part in torch.split(frames, _FRAMES)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        frames, kernel = ctx.saved_tensors
        grad_frames = torch.zeros_like(frames) if ctx.needs_input_grad[0] else None
        grad_kernel = torch.zeros_like(kernel) if ctx.needs_input_grad[1] else None
        for start in range(0, len(frames), _FRAMES):
            part = slice(start, start + _FRAMES)
            grad_out = grad[part].to(kernel.dtype).permute(1, 2, 0, 3)
            if grad_kernel is not None:
                _add_kernel_grad(grad_kernel, frames[part], grad_out)
            if grad_frames is not None:
                _add_frames_grad(grad_frames[part], kernel, grad_out)
        return grad_frames, grad_kernel, None


def _forward(frames: Tensor, kernel: Tensor, kept: int) -> Tensor:
    _, H, W, _ = frames.shape
    out = kernel.new_zeros(kept, kept, len(frames), kernel.shape[3])
    for dx, to_x, from_x in _spans(kept, W):
        columns = _columns(frames, from_x, kernel.dtype)
        part = kernel.new_zeros(out[:, to_x].shape)
        for dy, to_y, from_y in _spans(kept, H):
            _rows(part[to_y]).addmm_(_rows(columns[from_y]), kernel[dy, dx])
        out[:, to_x] += part
    return out.permute(2, 0, 1, 3)


def _add_kernel_grad(grad_kernel: Tensor, frames: Tensor, grad_out: Tensor) -> None:
    _, H, W, _ = frames.shape
    kept = len(grad_out)
    for dx, to_x, from_x in _spans(kept, W):
        columns, given = _columns(frames, from_x, grad_kernel.dtype), grad_out[:, to_x].contiguous()
        for dy, to_y, from_y in _spans(kept, H):
            grad_kernel[dy, dx].addmm_(_rows(columns[from_y]).T, _rows(given[to_y]))


def _add_frames_grad(grad_frames: Tensor, kernel: Tensor, grad_out: Tensor) -> None:
    _, H, W, C = grad_frames.shape
    kept = len(grad_out)
    for dx, to_x, from_x in _spans(kept, W):
        given = grad_out[:, to_x].contiguous()
        columns = kernel.new_zeros(H, *given.shape[1:3], C)
        for dy, to_y, from_y in _spans(kept, H):
            _rows(columns[from_y]).addmm_(_rows(given[to_y]), kernel[dy, dx].T)
        grad_frames[:, :, from_x] += columns.permute(2, 0, 1, 3)


def _spans(kept: int, size: int) -> Iterator[tuple[int, slice, slice]]:
    """For each of the kernel's three cells: the outputs that it reaches, and the inputs that it reads for them."""
    for cell in range(3):
        shift = cell - 1
        start, stop = max(0, -shift), min(kept, size - shift)
        if start < stop:
            yield cell, slice(start, stop), slice(start + shift, stop + shift)


def _columns(frames: Tensor, columns: slice, dtype: torch.dtype) -> Tensor:
    """Some columns of frames (F, H, W, C) as (H, w, F, C), contiguous."""
    chosen = frames[:, :, columns].permute(1, 2, 0, 3)
    return torch.empty(chosen.shape, dtype=dtype).copy_(chosen)


def _rows(tensor: Tensor) -> Tensor:
    return tensor.view(-1, tensor.shape[-1])
