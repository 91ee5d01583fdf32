"""Weighted sums over the positions of cached maps that are mixed in time first, without a copy of what is cached."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ta2n.pipeline.heads.ops.factorised_conv import mix_frames


def mixed_pool(mask: Tensor, mixing: Tensor | None, maps: Tensor) -> Tensor:
    """Mix frames in time, then sum each over its positions.

    Args:
        mask: (B, T, R, P), R sets of weights for each frame.
        mixing: (B, T, T'), or None where the frames are to be taken as they are.
        maps: (B, T', P, C), of any precision; computed in that of the mask.

    Returns:
        (B, T, R, C).
    """
    if maps.device.type == "cpu":
        return cast(Tensor, _MixedPool.apply(mask, mixing, maps))
    return mask @ mix_frames(mixing, maps.to(mask.dtype))


class _MixedPool(torch.autograd.Function):
    """:func:`mixed_pool` one video at a time; the way back mixes again rather than to keep what was mixed."""

    @staticmethod
    def forward(ctx: Any, mask: Tensor, mixing: Tensor | None, maps: Tensor) -> Tensor:
        ctx.save_for_backward(mask, mixing, maps)
        out = mask.new_empty(*mask.shape[:3], maps.shape[3])
        with torch.autocast("cpu", enabled=False):  # of the masks' precision, into which the products write
            for video in range(len(maps)):
                torch.bmm(mask[video], _mixed(mixing, maps, video, mask.dtype), out=out[video])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        mask, mixing, maps = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        grads = [torch.zeros_like(x) if want else None for x, want in zip((mask, mixing, maps), wanted, strict=True)]
        grad_mask, grad_mixing, grad_maps = grads
        for video, given in enumerate(grad):
            if grad_mask is not None:
                grad_mask[video] = given @ _mixed(mixing, maps, video, mask.dtype).transpose(1, 2)
            if grad_mixing is None and grad_maps is None:
                continue
            grad_mixed = (mask[video].transpose(1, 2) @ given).flatten(1)  # (T, P·C)
            if grad_mixing is not None:
                grad_mixing[video] = grad_mixed @ maps[video].flatten(1).to(mask.dtype).T
            if grad_maps is not None:
                back = grad_mixed if mixing is None else mixing[video].T @ grad_mixed
                grad_maps[video] = back.view_as(maps[video])
        return grad_mask, grad_mixing, grad_maps


def _mixed(mixing: Tensor | None, maps: Tensor, video: int, dtype: torch.dtype) -> Tensor:
    """(T, P, C) of one video."""
    frames = maps[video].to(dtype)
    return frames if mixing is None else torch.unflatten(mixing[video] @ frames.flatten(1), 1, frames.shape[1:])
