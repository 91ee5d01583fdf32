"""Batch norm that couples no clips: with frozen statistics, or with those of each clip alone.

Statistics of a whole episode, as training code often has them, would couple its clips: a clip's maps, and so the
gradient, would depend on all the others, and on which of them are support.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


class ClipBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of each clip's frames.

    Running averages are kept of what passes without gradients, once a clip, so that the tuned backbone can be used, and
    selected, as any other: with fixed statistics. For torch it is always in evaluation mode, as no batch matters to it.

    Args:
        norm: the one that it stands for; its parameters and running averages are shared.
        frames: T; a batch is whole clips.
    """

    def __init__(self, norm: nn.BatchNorm2d, frames: int) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self._parameters, self._buffers, self.frames = norm._parameters, norm._buffers, frames
        self.eval()

    def train(self, mode: bool = True) -> "ClipBatchNorm2d":
        """Stays in evaluation mode."""
        super().train(False)
        return self

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name for it)
        """(B·T, C, H, W) -> likewise."""
        kept = (None, None) if torch.is_grad_enabled() else (self.running_mean, self.running_var)
        momentum = 0.1 if self.momentum is None else self.momentum
        parts = [
            functional.batch_norm(clip, *kept, self.weight, self.bias, True, momentum, self.eps)
            for clip in torch.split(input, self.frames)
        ]
        return torch.cat(parts)


def hold_statistics(network: nn.Module) -> None:
    """Puts every batch norm of a network into evaluation mode, whatever mode the rest is in."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def statistics_of_clips(network: nn.Module, frames: int) -> None:
    """Gives the batch norms whose parameters learn the statistics of each clip, in place.

    Args:
        network: it.
        frames: T.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            learns = any(parameter.requires_grad for parameter in child.parameters())
            if isinstance(child, nn.BatchNorm2d) and learns:
                setattr(parent, name, ClipBatchNorm2d(child, frames))
