"""An exported HDF5 file back into a store; what was killed is continued."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import SCHEMA_VERSION, Manifest
from ta2n.cache_schema.values import State, digest
from ta2n.pipeline.cache.hdf5.source import Hdf5Source
from ta2n.pipeline.cache.names import named_store
from ta2n.pipeline.cache.sources import Source
from ta2n.pipeline.cache.verify import sound_map
from ta2n.pipeline.cache.writer import COLUMNS, CacheWriter


def import_hdf5(
    file: Path, folder: Path, *, compression: str | None = None, on_clips: Callable[[int], None] | None = None
) -> tuple[Path, int]:
    """Writes an exported file back into a store, with the same bytes where the compression is the same.

    A store that is there is continued, shard by shard: clips that it holds stay, the others come from the file.

    Args:
        file: from :func:`export_hdf5`.
        folder: of stores; the new one is called after the file's data set.
        compression: of the new store; None for that of the store that was exported.
        on_clips: called with the number of clips finished so far.

    Returns:
        The store, and how many of the file's clips were there already.

    Raises:
        ManifestMismatchError: there is a store of that name with other features.
        InputError: the data set's name is none of a store.
        DamagedCacheError: the file is no cache, or a map is not what was written.
    """
    source = Hdf5Source(file)
    path = named_store(folder, source.manifest.dataset)
    channels, frames, height, width = source.shape[2:]
    with writing(path, "ta2n cache import"):
        writer = CacheWriter(
            path,
            written_manifest(source),
            source.videos,
            map_shape=(channels, frames, height, width),
            shard_size=source.shard_size,
            compression=compression or source.compression,
        )
        columns = {name: source.column(name) for name in COLUMNS}
        kept = 0
        for rows in writer.shards():
            ours, inside = writer.state(rows), slice(rows.start, rows.stop)
            theirs = columns["state"][inside]
            wanted = _wanted(ours, theirs)
            kept += int((~wanted & (theirs != State.PENDING).any(axis=1)).sum())
            if wanted.any():
                shard = writer.load(rows)
                for name in COLUMNS:
                    getattr(shard, name)[wanted] = columns[name][inside][wanted]
                for place, view in np.argwhere(wanted[:, None] & (theirs == State.DONE)).tolist():
                    values = sound_map(source, rows.start + place, view)
                    shard.features[place, view] = values
                    shard.digest[place, view] = digest(values, shard.ids[place], view)
                writer.commit(shard)
            if on_clips:
                on_clips(rows.stop)
    return path, kept


def written_manifest(source: Source) -> Manifest:
    """The manifest of the store that a file becomes: of today's version, whatever the file's is."""
    return dataclasses.replace(source.manifest, split_hash=source.videos.hash(), schema_version=SCHEMA_VERSION)


def _wanted(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(videos,) rows that are not done here and are there, or have failed there and were not tried here."""
    lacking = (ours != State.DONE).any(axis=1) & (ours != theirs).any(axis=1)
    wanted: NDArray[np.bool_] = lacking & (theirs != State.PENDING).any(axis=1)
    return wanted
