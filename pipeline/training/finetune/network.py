"""A backbone in two: what stays as it is, computed once a clip, and what learns."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ta2n.pipeline.features.backbones import frozen
from ta2n.pipeline.features.preprocess import Preprocessing
from ta2n.pipeline.training.finetune.stages import split

_KEPT_BYTES = 1 << 30
"""What the fixed stages make of an episode is kept up to this size; beyond it they run in every pass."""


class TunedNetwork:
    """A backbone for :func:`~ta2n.pipeline.training.gradient_cache.episode_backward`, which passes every clip twice.

    Args:
        stages: of the backbone, in order; the parameters that learn say so.
        preprocessing: how frames are normalised.
        device: where the backbone is.
    """

    def __init__(self, stages: Mapping[str, nn.Module], preprocessing: Preprocessing, device: torch.device) -> None:
        fixed, learning = split(stages)
        normalise = Normalise(preprocessing)
        self._fixed = nn.Sequential(normalise, frozen(copy.deepcopy(fixed).eval())).to(device) if len(fixed) else None
        self._whole = nn.Sequential(self._fixed or normalise, learning).to(device)
        self._learning, self._device = learning, device

    def divided(self, support: Tensor, query: Tensor, at_once: int) -> tuple[nn.Module, Tensor, Tensor]:
        """The part of the backbone that an episode has yet to pass, and what it takes of support and query.

        That is the part that learns, on what the fixed stages made, where that fits; else all of it, on the frames.

        Args:
            support: (N·K, T, 3, h, w) bytes.
            query: (Q, T, 3, h, w) bytes.
            at_once: clips in one pass.
        """
        undivided = self._whole, support, query
        if self._fixed is None:
            return undivided
        kept: Tensor | None = None
        count = len(support) + len(query)
        parts = (*torch.split(support, at_once), *torch.split(query, at_once))
        places = torch.arange(count).split_with_sizes([len(part) for part in parts])
        for place, part in zip(places, parts, strict=True):
            maps = _fixed_maps(self._fixed, part.to(self._device))
            if kept is None:
                if maps[0].nbytes * count > _KEPT_BYTES:
                    return undivided
                kept = maps.new_empty((count, *maps.shape[1:]))
            kept[place] = maps
        return undivided if kept is None else (self._learning, kept[: len(support)], kept[len(support) :])


@torch.no_grad()
def _fixed_maps(fixed: nn.Module, clips: Tensor) -> Tensor:
    """(B, T, 3, h, w) -> (B, T, c, h', w')."""
    maps: Tensor = fixed(clips.flatten(0, 1))
    return torch.unflatten(maps, 0, clips.shape[:2])


class Normalise(nn.Module):
    """Bytes (B, 3, h, w) to the backbone's input."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, h, w) float32, channels last."""
        floats = pixels.contiguous(memory_format=torch.channels_last).float()
        return floats.sub_(255 * self.mean).div_(255 * self.std)
