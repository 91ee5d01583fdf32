"""Recomputing every digest of a store."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.cache_schema.layout import State, digest
from ta2n.pipeline.cache.reader import FeatureCache
from ta2n.pipeline.cache.sources import Source


def damaged_clips(cache: FeatureCache, *, on_clip: Callable[[int], None] | None = None) -> list[tuple[str, str]]:
    """Finds the clips whose stored maps are not those that were written.

    Args:
        cache: the store.
        on_clip: called with the number of clips checked so far.

    Returns:
        (id, what is wrong) of each damaged clip, in row order; empty for a sound store.
    """
    stored = cache.digests()
    damaged: list[tuple[str, str]] = []
    rows = np.flatnonzero((cache.state == State.DONE).any(axis=1))
    for checked, row in enumerate(rows.tolist(), start=1):
        problem = _problem(cache, row, stored[row])
        if problem:
            damaged.append((str(cache.videos.id[row]), problem))
        if on_clip:
            on_clip(checked)
    return damaged


def sound_map(source: Source, row: int, view: int, written: int) -> NDArray[np.float16]:
    """One (C, T, H, W) map, if its digest is the one that was ``written``.

    Raises:
        DamagedCacheError: it is not; a copy would hide the damage.
    """
    out = torch.empty((1, *source.shape[2:]), dtype=torch.float16)
    source.read([(row, view)], out)
    values: NDArray[np.float16] = out[0].numpy()
    if digest(values) != written:
        raise DamagedCacheError(
            f"{source.path}: the map of clip {source.videos.id[row]!r} is not what was written, and is not passed on; "
            f"`ta2n cache verify {source.path}` names every such clip"
        )
    return values


def _problem(cache: FeatureCache, row: int, digests: NDArray[np.uint64]) -> str:
    for view in np.flatnonzero(cache.state[row] == State.DONE).tolist():
        try:
            found = digest(cache.read([row], view)[0].numpy())
        except (DamagedCacheError, OSError, ValueError, RuntimeError) as error:
            return f"view {view} cannot be read: {error}"
        written = int(digests[view])
        if found != written:
            return f"view {view} is not what was written (digest {found:016x}, expected {written:016x})"
    return ""
