"""Cached maps as a head wants them: on its device, with as many frames as it takes, random views in training."""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.in_memory import keep
from ta2n.pipeline.clips import stored_places

_OF_IMPORTED = "tsn"
"""The rule for features of other tools, whose clips are the frames that they have."""


class MapLoader:
    """Reads maps of a store for one head.

    Args:
        cache: the store.
        frames: T of the head; where the store has more, those that stand for what its rule would take of the clip:
            see :func:`~ta2n.pipeline.clips.stored_places`.
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
        """(B, C, T, H, W) float16: the test view, by the test form of the store's rule."""
        return self._frames_of(rows, np.zeros(len(rows), np.int64), None).to(self.device)

    def train(self, rows: NDArray[np.int64], generator: np.random.Generator) -> Tensor:
        """(B, C, T, H, W) float16: a random view of each clip and, where the store has more, random frames of it."""
        views = generator.integers(0, self.cache.views, len(rows))
        return self._frames_of(rows, views, generator).to(self.device)

    def _frames_of(
        self, rows: NDArray[np.int64], views: NDArray[np.int64], generator: np.random.Generator | None
    ) -> Tensor:
        maps = self._read(rows, views)
        if self.frames == maps.shape[2]:
            return maps
        index = torch.from_numpy(self._places(rows, views, generator)).to(maps.device)[:, None, :, None, None]
        return maps.gather(2, index.expand(-1, maps.shape[1], -1, *maps.shape[3:]))

    def _places(
        self, rows: NDArray[np.int64], views: NDArray[np.int64], generator: np.random.Generator | None
    ) -> NDArray[np.int64]:
        """(B, T) places of the frames among those stored."""
        stored, counts = self._frame_index[rows, views], self.cache.frame_count[rows].tolist()
        rule = str(self.cache.manifest.sampling.get("rule"))
        rule = _OF_IMPORTED if rule == "imported" else rule
        places = [
            stored_places(rule, of_clip, frame_count=count, frames=self.frames, generator=generator)
            for of_clip, count in zip(stored, counts, strict=True)
        ]
        return np.array(places, np.int64).reshape(len(rows), self.frames)

    @cached_property
    def _frame_index(self) -> NDArray[np.int32]:
        return self.cache.frame_index(range(len(self.cache)))

    def _read(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        if self._kept is not None and self._kept.holds(rows):
            return self._kept.read(rows, views)
        return self.cache.read(rows, views)
