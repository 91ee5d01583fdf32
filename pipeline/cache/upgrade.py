"""A store of version 1 of the format into one of version 2, where it stands."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.cache_schema.layout import array, create_store, open_store
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import SCHEMA_VERSION
from ta2n.cache_schema.values import UNCOUNTED, State, digest
from ta2n.pipeline.cache.sources import ZarrSource
from ta2n.pipeline.cache.writer import COLUMNS

_WHOLE = "whole"
"""Stands in the folder beside a store once everything new is in it."""


def upgrade(path: Path, *, repair: bool = False, on_clip: Callable[[int], None] | None = None) -> list[tuple[str, str]]:
    """Rewrites everything of a store but its maps, which stay as they are.

    Every map is compared with its digest before anything is written. What is new is written beside the store, and then
    takes the place of the old, the root last; killed on the way, it is done by running it again.

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
    damaged: list[tuple[str, str]] = []
    with writing(path, "ta2n cache verify --upgrade"):
        beside = path.with_name(f".{path.name}.upgrade")
        _, manifest, _ = open_store(path)
        if manifest.schema_version != SCHEMA_VERSION:
            if not (beside / _WHOLE).exists():
                damaged = _write_beside(beside, ZarrSource(path, check=False), repair, on_clip)
            _take_places(beside, path)
        shutil.rmtree(path / "rows", ignore_errors=True)
        shutil.rmtree(beside, ignore_errors=True)
    return damaged


def _write_beside(
    beside: Path, source: ZarrSource, repair: bool, on_clip: Callable[[int], None] | None
) -> list[tuple[str, str]]:
    state, digests, damaged = _new_digests(source, on_clip)
    problems = [(str(source.videos.id[row]), problem) for row, problem in damaged]
    if problems and not repair:
        name, problem = problems[0]
        raise DamagedCacheError(
            f"{source.path}: {len(problems)} clips are damaged, e.g. {name!r}: {problem}; nothing was written; add "
            "--repair to have them extracted again"
        )
    shutil.rmtree(beside, ignore_errors=True)
    C, T, H, W = source.shape[2:]
    create_store(
        beside,
        dataclasses.replace(source.manifest, split_hash=source.videos.hash(), schema_version=SCHEMA_VERSION),
        source.videos,
        map_shape=(C, T, H, W),
        shard_size=source.shard_size,
        compression=source.compression,
    )
    concealed = np.where((state == State.DONE).all(axis=1), np.int32(UNCOUNTED), np.int32(0))
    new = {"state": state, "digest": digests, "concealed": concealed}
    group = zarr.open_group(beside, mode="r+", zarr_format=3)
    for name in COLUMNS:
        array(group, name)[:] = new[name] if name in new else source.column(name)
    (beside / _WHOLE).touch()
    return problems


def _take_places(beside: Path, path: Path) -> None:
    for name in (*COLUMNS, "videos"):
        if (beside / name).exists():
            shutil.rmtree(path / name, ignore_errors=True)
            (beside / name).rename(path / name)
    (beside / "zarr.json").replace(path / "zarr.json")


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
    if written == digest(values, clip_id, view, version=1):
        return "", digest(values, clip_id, view)
    return f"view {view} is not what was written", 0
