"""Recomputing every digest of a store."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.cache_schema.values import State
from ta2n.pipeline.cache.reader import FeatureCache
from ta2n.pipeline.cache.sources import Source
from ta2n.pipeline.cache.writer import COLUMNS

OnClip = Callable[[int], None]


def damaged_rows(cache: FeatureCache, *, on_clip: OnClip | None = None) -> list[tuple[int, str]]:
    """Finds the rows whose stored maps are not those that were written.

    Args:
        cache: the store.
        on_clip: called with the number of clips checked so far.

    Returns:
        (row, what is wrong) of each, in order; empty for a sound store.

    Raises:
        DamagedCacheError: a column cannot be read.
    """
    for name in COLUMNS:
        cache.source.column(name)
    damaged: list[tuple[int, str]] = []
    reasons = cache.source.column("reason")
    rows = np.flatnonzero((cache.state != State.PENDING).any(axis=1))
    for checked, row in enumerate(rows.tolist(), start=1):
        problem = row_problem(cache.source, row, cache.state[row], reasons[row])
        if problem:
            damaged.append((row, problem))
        if on_clip:
            on_clip(checked)
    return damaged


def damaged_clips(cache: FeatureCache, *, on_clip: OnClip | None = None) -> list[tuple[str, str]]:
    """(id, what is wrong) of each damaged clip: see :func:`damaged_rows`."""
    return [(str(cache.videos.id[row]), problem) for row, problem in damaged_rows(cache, on_clip=on_clip)]


def row_problem(source: Source, row: int, state: NDArray[np.uint8], reason: NDArray[np.uint8]) -> str:
    """What is wrong with the maps of a row of some (views,) state and reason; empty where nothing is."""
    if (state == State.FAILED).any():
        return "" if reason.any() else "it is marked as failed, and no reason is stored"
    odd = sorted(set(state.tolist()) - set(State))
    if odd:
        return f"its state is {odd[0]}, expected {', '.join(f'{one.value} ({one.name.lower()})' for one in State)}"
    for view in np.flatnonzero(state == State.DONE).tolist():
        try:
            values = _read(source, row, view)
        except (DamagedCacheError, OSError, ValueError, RuntimeError) as error:
            return f"view {view} cannot be read: {error}"
        if not source.digests.matches(row, view, values):
            found, written = source.digests.of(row, view, values), int(source.digests.stored[row, view])
            return f"view {view} is not what was written (digest {found:016x}, expected {written:016x})"
    return ""


def sound_map(source: Source, row: int, view: int) -> NDArray[np.float16]:
    """One (C, T, H, W) map, if it is what was written.

    Raises:
        DamagedCacheError: it is not; a copy would hide the damage.
    """
    values = _read(source, row, view)
    source.digests.check(row, view, values)
    return values


def _read(source: Source, row: int, view: int) -> NDArray[np.float16]:
    out = torch.empty((1, *source.shape[2:]), dtype=torch.float16)
    source.read([(row, view)], out)
    values: NDArray[np.float16] = out[0].numpy()
    return values
