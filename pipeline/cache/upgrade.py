"""A store of version 1 of the format into one of version 2, where it stands."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.cache_schema.layout import array, attributes, create_columns, open_store
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import SCHEMA_VERSION
from ta2n.cache_schema.table import VideoTable
from ta2n.cache_schema.values import UNCOUNTED, State, digest
from ta2n.pipeline.cache.sources import ZarrSource


def upgrade(path: Path, *, repair: bool = False, on_clip: Callable[[int], None] | None = None) -> list[tuple[str, str]]:
    """Rewrites the digests and the row table of a store; its maps stay as they are.

    Every map is compared with its digest before anything is written. Killed on the way, it is done by running it again:
    the root, which names the version, is written when all else is there.

    Args:
        path: of a zarr store of either version.
        repair: whether clips with damaged maps become pending.
        on_clip: called with the number of clips checked so far.

    Returns:
        (id, what was wrong) of each clip that is to be extracted again.

    Raises:
        DamagedCacheError: a map is not what was written, and ``repair`` was not asked for.
        InputError: ``path`` is one file.
        BusyError: another process is writing the store.
    """
    if path.is_file():
        raise InputError(f"{path}: one file is not upgraded; import it into a folder, which makes a store of it")
    with writing(path, "ta2n cache verify --upgrade"):
        group, manifest, videos = open_store(path, write=True)
        if manifest.schema_version == SCHEMA_VERSION:
            return []
        source = ZarrSource(path, check=False)
        state, digests, damaged = _new_digests(source, on_clip)
        if damaged and not repair:
            row, problem = damaged[0]
            raise DamagedCacheError(
                f"{path}: {len(damaged)} clips are damaged, e.g. {str(videos.id[row])!r}: {problem}; nothing was "
                "written; add --repair to have them extracted again"
            )
        concealed = np.where((state == State.DONE).all(axis=1), np.int32(UNCOUNTED), np.int32(0))
        _write(path, group, videos, state=state, digest=digests, concealed=concealed)
        new = dataclasses.replace(manifest, split_hash=videos.hash(), schema_version=SCHEMA_VERSION)
        group.update_attributes(attributes(new, videos))
        shutil.rmtree(path / "rows", ignore_errors=True)
    return [(str(videos.id[row]), problem) for row, problem in damaged]


def _new_digests(
    source: ZarrSource, on_clip: Callable[[int], None] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint64], list[tuple[int, str]]]:
    """The states and digests to be, and (row, problem) of each damaged row, which is pending in them."""
    state, digests = source.column("state").copy(), source.column("digest").copy()
    damaged: list[tuple[int, str]] = []
    for row in range(len(state)):
        for view in np.flatnonzero(state[row] == State.DONE).tolist():
            problem, found = _checked(source, row, view, int(digests[row, view]))
            if problem:
                damaged.append((row, problem))
                state[row], digests[row] = State.PENDING, 0
                break
            digests[row, view] = found
        if on_clip:
            on_clip(row + 1)
    return state, digests, damaged


def _checked(source: ZarrSource, row: int, view: int, written: int) -> tuple[str, int]:
    """What is wrong with a map, and its digest in this version."""
    clip_id = str(source.videos.id[row])
    try:
        values = source.map(row, view)
    except (DamagedCacheError, OSError, ValueError, RuntimeError) as error:
        return f"view {view} cannot be read: {error}", 0
    new = digest(values, clip_id, view)
    # The new one, where an upgrade was killed between the digests and the root.
    if written in (digest(values, clip_id, view, version=1), new):
        return "", new
    return f"view {view} is not what was written", 0


def _write(path: Path, group: zarr.Group, videos: VideoTable, **columns: NDArray[Any]) -> None:
    create_columns(path, group, videos)
    for name, values in columns.items():
        array(group, name)[:] = values
