"""TTM, the temporal transformation module of TA2N: each clip is shifted and stretched in time by itself.

Li et al., "TA2N: Two-Stage Action Alignment Network for Few-Shot Action Recognition", AAAI 2022, stage 1.
"""

from typing import cast

import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads.ops.factorised_conv import frame_taps, shift_sum, spatial_kernels

# Two poolings by 2 must leave one cell.
SMALLEST = 4


def hat_matrix(theta: Tensor, frames: int) -> Tensor:
    """The linear interpolation that reads a clip at a·x + b, as a matrix over its frames.

    Output frame t stands at x_t = −1 … 1 in even steps, −1 and 1 being the centres of the first and last frame (the
    one frame of a clip of one stands at 0). What lies outside the clip is zero; a may be negative, which reverses.

    Args:
        theta: (…, 2), the pairs (a, b).
        frames: T.

    Returns:
        (…, T, T): rows are output frames, columns input frames; rows sum to at most 1.
    """
    # Built from integers, because (1, 0) must give the identity to the last digit.
    index = torch.arange(frames, dtype=theta.dtype, device=theta.device)
    middle = (frames - 1) / 2
    a, b = theta[..., 0, None], theta[..., 1, None]
    position = a * (index - middle) + b * middle + middle
    return torch.relu(1 - (position[..., None] - index).abs())


class TemporalTransform(nn.Module):
    """The localisation network: feature maps (B, T, H, W, C) to theta (B, 2) in (−1, 1).

    The last layer starts with weight 0 and bias (2, 0): a = tanh 2 = 0.964, b = 0, close to the identity. The names of
    the weights are those of the published checkpoints. In training, support and query are normalised by the statistics
    of their own batch, because the network is called once for each.

    Args:
        channels: C.
        frames: T, at least 4.
        size: H = W, at least 4.
    """

    def __init__(self, channels: int, frames: int, size: int) -> None:
        super().__init__()
        if min(frames, size) < SMALLEST:
            raise InputError(
                f"TTM pools time and space by 2 twice and needs {SMALLEST} frames and maps of {SMALLEST}×{SMALLEST}, "
                f"but frames={frames}, size={size}; use ttm=False"
            )
        self.locnet = nn.Sequential(
            nn.Conv3d(channels, 64, 3, padding=1),
            nn.BatchNorm3d(64),
            nn.MaxPool3d(2),
            nn.ReLU(),
            nn.Conv3d(64, 128, 3, padding=1),
            nn.BatchNorm3d(128),
            nn.MaxPool3d(2),
            nn.ReLU(),
            nn.AdaptiveMaxPool3d(1),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(),
            nn.Linear(32, 2),
            nn.Tanh(),
        )
        last = cast(nn.Linear, self.locnet[12])
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([2.0, 0.0]))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, T, H, W, C), of any precision, to theta (B, 2)."""
        first = cast(nn.Conv3d, self.locnet[0])
        size = maps.shape[2]
        # A pooling by 2 has no use for an odd last row; only batch statistics have.
        kept = size if self.training else size - size % 2
        taps = frame_taps(maps, spatial_kernels(first.weight), kept)
        out = shift_sum(taps) + cast(Tensor, first.bias)  # (B, T, kept², 64)
        theta: Tensor = self.locnet[1:](torch.unflatten(out, 2, (kept, kept)).permute(0, 4, 1, 2, 3))
        return theta
