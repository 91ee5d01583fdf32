"""A store into one HDF5 file and back, in batches; what was killed is continued."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.cache_schema.layout import State, digest
from ta2n.pipeline.cache.hdf5 import COLUMNS, Hdf5Source
from ta2n.pipeline.cache.reader import FeatureCache
from ta2n.pipeline.cache.sources import Source
from ta2n.pipeline.cache.writer import CacheWriter

COMPRESSIONS = ("none", "gzip", "lzf")
_ALIGNMENT = 64
_FLUSH_CLIPS = 64

OnClips = Callable[[int], None]


def export_hdf5(cache: FeatureCache, file: Path, *, compression: str = "none", on_clips: OnClips | None = None) -> int:
    """Writes a cache into one HDF5 file, which gets its name when it is whole.

    A killed export leaves ``.<name>.partial``; the next one keeps every map of it whose digest is right.

    Args:
        cache: the store.
        file: to write; must not be there.
        compression: of the maps: ``none`` (read by memory map), ``gzip`` or ``lzf``.
        on_clips: called with the number of clips finished so far.

    Returns:
        How many maps were there already.

    Raises:
        InputError: the file is there, or the compression is unknown.
        DamagedCacheError: a map is not what was written.
    """
    if compression not in COMPRESSIONS:
        raise InputError(f"--compression {compression!r} is not known; choose one of {', '.join(COMPRESSIONS)}")
    if file.exists():
        raise InputError(f"{file}: is there already; delete it, or export to another name")
    partial = file.with_name(f".{file.name}.partial")
    kept = 0
    with _begin(partial, cache, compression) as target:
        features, written = target["features"], cache.digests()
        done = cache.state == State.DONE
        for row in range(len(cache)):
            for view in np.flatnonzero(done[row]).tolist():
                if target.attrs["begun"] and _holds(features, row, view, int(written[row, view])):
                    kept += 1
                else:
                    features[row, view] = _sound(cache.source, row, view, int(written[row, view]))
            if row % _FLUSH_CLIPS == 0:
                target.flush()
            if on_clips:
                on_clips(row + 1)
        del target.attrs["begun"]
    partial.rename(file)
    return kept


def _begin(partial: Path, cache: FeatureCache, compression: str) -> Any:
    """The file of an earlier, killed export of the same, or a new one with everything but the maps."""
    about = {
        "ta2n": json.dumps(cache.manifest.to_dict()),
        "shard_size": cache.source.shard_size,
        "compression": cache.source.compression,
        "maps": compression,
    }
    earlier = _earlier(partial, about, cache)
    if earlier is not None:
        earlier.attrs["begun"] = True
        return earlier
    partial.unlink(missing_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    target = h5py.File(partial, "w", libver="latest", alignment_threshold=_ALIGNMENT, alignment_interval=_ALIGNMENT)
    target.attrs.update(about)
    target.attrs["begun"] = False
    shape = cache.source.shape
    packed = None if compression == "none" else compression
    target.create_dataset("features", shape, "<f2", chunks=(1, 1, *shape[2:]), compression=packed, fillvalue=0)
    for name in COLUMNS:
        target.create_dataset(name, data=cache.source.column(name))
    target.create_dataset("rows", data=np.frombuffer(cache.source.videos.to_bytes(), np.uint8))
    target.flush()
    return target


def _earlier(partial: Path, about: dict[str, Any], cache: FeatureCache) -> Any | None:
    try:
        target = h5py.File(partial, "r+", libver="latest")
        same = all(target.attrs.get(name) == value for name, value in about.items())
        # What failed or was pending then may be done by now.
        if same and all(np.array_equal(target[name][:], cache.source.column(name)) for name in COLUMNS):
            return target
        target.close()
    except (OSError, KeyError):
        pass
    return None


def _holds(features: Any, row: int, view: int, written: int) -> bool:
    try:
        return digest(features[row, view]) == written
    except OSError:
        return False


def import_hdf5(
    file: Path, folder: Path, *, compression: str | None = None, on_clips: OnClips | None = None
) -> tuple[Path, int]:
    """Writes an exported file back into a store, with the same bytes where the compression is the same.

    A store that is there is continued, shard by shard.

    Args:
        file: from :func:`export_hdf5`.
        folder: of stores; the new one is called after the file's data set.
        compression: of the new store; None for that of the store that was exported.
        on_clips: called with the number of clips finished so far.

    Returns:
        The store, and how many clips of it were there already.

    Raises:
        ManifestMismatchError: there is a store of that name with other features.
        DamagedCacheError: the file is no cache, or a map is not what was written.
    """
    source = Hdf5Source(file)
    path = folder / f"{source.manifest.dataset}.zarr"
    channels, frames, height, width = source.shape[2:]
    writer = CacheWriter(
        path,
        source.manifest,
        source.videos,
        map_shape=(channels, frames, height, width),
        shard_size=source.shard_size,
        compression=compression or source.compression,
    )
    columns = {name: source.column(name) for name in COLUMNS}
    kept = 0
    for rows in writer.shards():
        shard = writer.load(rows)
        inside = slice(rows.start, rows.stop)
        if np.array_equal(shard.state, columns["state"][inside]) and np.array_equal(
            shard.digest, columns["digest"][inside]
        ):
            kept += len(rows)
        else:
            for name in COLUMNS:
                getattr(shard, name)[:] = columns[name][inside]
            for row, view in np.argwhere(shard.state == State.DONE).tolist():
                shard.features[row, view] = _sound(source, rows.start + row, view, int(shard.digest[row, view]))
            writer.commit(shard)
        if on_clips:
            on_clips(rows.stop)
    return path, kept


def _sound(source: Source, row: int, view: int, written: int) -> NDArray[np.float16]:
    """A map, if it is what was written."""
    values = source.map(row, view)
    if digest(values) != written:
        raise DamagedCacheError(
            f"{source.path}: the map of clip {source.videos.id[row]!r} is not what was written, and is not passed on; "
            f"`ta2n cache verify {source.path}` names every such clip"
        )
    return values
