"""The test view of some clips through the present backbone: made once, kept, and read as a store is."""

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ta2n.pipeline.cache.in_memory import free_bytes
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.features.backbones import frozen
from ta2n.pipeline.features.forward import BATCH_SIZES, Forward, even_batch
from ta2n.pipeline.training.finetune.frames import ClipFrames


class TunedMaps:
    """Maps of some rows, float16, as a store would hold them.

    Args:
        rows: (R,), ascending.
        maps: (R, C, T, H, W).
        device: where :meth:`test` puts them.
    """

    def __init__(self, rows: NDArray[np.int64], maps: Tensor, device: torch.device) -> None:
        self._rows, self._maps, self.device = rows, maps, device

    def test(self, rows: NDArray[np.int64]) -> Tensor:
        """(B, C, T, H, W) float16 of rows (B,)."""
        return self._maps.index_select(0, torch.from_numpy(np.searchsorted(self._rows, rows))).to(self.device)


def tuned_maps(
    network: nn.Module, clips: ClipFrames, rows: NDArray[np.int64], device: torch.device, scratch: Scratch
) -> TunedMaps:
    """Computes the maps of some rows as extraction would with the network as it is now.

    Args:
        network: the backbone, in any mode; it is not changed.
        clips: decodes.
        rows: (R,), ascending, at least one.
        device: where the network is.
        scratch: where maps go that do not fit into half of the free memory.

    Raises:
        DecodeError: a clip cannot be read any more.
    """
    still = frozen(copy.deepcopy(network).eval())
    forward = Forward(still, clips.preprocessing, device, even_batch(BATCH_SIZES[device.type], clips.frames))
    kept: Tensor | None = None
    for place, maps in enumerate(_by_clip(forward, clips, rows)):
        if kept is None:
            kept = _allocate((len(rows), *maps.shape), scratch)
        kept[place] = maps
    return TunedMaps(rows, torch.empty(0) if kept is None else kept, device)


def _by_clip(forward: Forward, clips: ClipFrames, rows: NDArray[np.int64]) -> Iterator[Tensor]:
    """(C, T, H, W) of each clip; as many clips in a pass as one holds."""
    at_once = max(1, forward.batch_size // clips.frames)
    waiting: list[NDArray[np.uint8]] = []
    for number, images in enumerate(clips.test(rows), start=1):
        waiting.append(images)
        if len(waiting) == at_once or number == len(rows):
            maps = torch.from_numpy(forward(np.concatenate(waiting)))
            yield from torch.unflatten(maps, 0, (len(waiting), clips.frames)).transpose(1, 2)
            waiting = []


def _allocate(shape: tuple[int, ...], scratch: Scratch) -> Tensor:
    size = 2 * math.prod(shape)
    if size <= free_bytes(torch.device("cpu")) // 2:
        return torch.empty(shape, dtype=torch.float16)
    return scratch.empty(shape, torch.float16)
