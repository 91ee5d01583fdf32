"""Cached maps as a head wants them: on its device, with as many frames as it takes, random views in training."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.in_memory import keep
from ta2n.pipeline.clips import tsn_test, tsn_train


class MapLoader:
    """Reads maps of a store for one head.

    Args:
        cache: the store.
        frames: T of the head; fewer than the store's means that each reading segments the stored frames anew.
        device: where the maps go.
        rows: that will be read again and again, and may therefore be kept.
        place: where: ``auto``, ``disk``, ``ram`` or ``device``; see :func:`keep`.

    Raises:
        InputError: the store holds fewer frames than asked for, or ``rows`` do not fit in ``place``.
    """

    def __init__(
        self,
        cache: FeatureCache,
        *,
        frames: int,
        device: torch.device,
        rows: NDArray[np.int64] | None = None,
        place: str = "disk",
    ) -> None:
        stored = cache.map_shape[1]
        if not 1 <= frames <= stored:
            raise InputError(f"{cache.path}: {frames} frames asked for, the store has {stored} of each clip")
        self.cache, self.frames, self.device = cache, frames, device
        self._kept = None if rows is None else keep(cache, rows, place, device)

    def test(self, rows: NDArray[np.int64]) -> Tensor:
        """(B, C, T, H, W) float16: the test view, the centre of each segment."""
        maps = self._read(rows, np.zeros(len(rows), np.int64))
        if self.frames < maps.shape[2]:
            maps = maps[:, :, torch.from_numpy(tsn_test(maps.shape[2], self.frames)).long()]
        return maps.to(self.device)

    def train(self, rows: NDArray[np.int64], generator: np.random.Generator) -> Tensor:
        """(B, C, T, H, W) float16: a random view of each clip and, where the store has more, random frames."""
        maps = self._read(rows, generator.integers(0, self.cache.views, len(rows)))
        stored = maps.shape[2]
        if self.frames < stored:
            steps = np.stack([tsn_train(stored, self.frames, generator) for _ in rows])
            index = torch.from_numpy(steps).long().to(maps.device)[:, None, :, None, None]
            maps = maps.gather(2, index.expand(-1, maps.shape[1], -1, *maps.shape[3:]))
        return maps.to(self.device)

    def _read(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        if self._kept is not None and self._kept.holds(rows):
            return self._kept.read(rows, views)
        return self.cache.read(rows, views)
