"""A store into one HDF5 file; a killed export is continued.

HDF5 does not open a file again whose writer was killed, so it never has one open while maps are written:

- uncompressed, the file is laid out first, every map's place reserved and nothing in it, and closed. The maps are then
  written into their places;
- compressed, where no place is known beforehand, each shard becomes a small file of its own, and the compressed chunks
  are put together as they are at the end.

Nor does it close a file that it cannot write to its end: on a full disk it would bring the process down. So it writes
through files of ours, which keep what the system says until HDF5 is done with them.

Both lie under names that carry a hash of everything in them but the maps: what is found under such a name is of the
same export.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ta2n.cache_schema.columns import checksum
from ta2n.cache_schema.disk import naming
from ta2n.cache_schema.errors import CacheError, DamagedCacheError, InputError, MissingError
from ta2n.cache_schema.layout import ODD
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import SCHEMA_VERSION
from ta2n.cache_schema.plain_json import to_json
from ta2n.cache_schema.values import State
from ta2n.pipeline.cache.hdf5.finished import compare_maps, forget_left_overs, identity, require_same
from ta2n.pipeline.cache.hdf5.patient_file import PatientFile
from ta2n.pipeline.cache.hdf5.source import Hdf5Source
from ta2n.pipeline.cache.reader import FeatureCache
from ta2n.pipeline.cache.verify import sound_map
from ta2n.pipeline.cache.writer import COLUMNS

FILE_COMPRESSIONS = ("none", "gzip", "lzf")
_ALIGNMENT = 64

OnClips = Callable[[int], None]


def export_hdf5(cache: FeatureCache, file: Path, *, compression: str = "none", on_clips: OnClips | None = None) -> int:
    """Writes a cache into one HDF5 file, which gets its name when it is whole.

    A file that is there already and is this very export is compared map by map, and left as it is.

    Args:
        cache: the store.
        file: to write.
        compression: of the maps: ``none`` (read by memory map), ``gzip`` or ``lzf``. The latter two need room for the
            file twice while it is put together.
        on_clips: called with the number of clips finished so far.

    Returns:
        How many maps were there already, in the finished file or in what a killed export had left. Each was compared
        with its digest.

    Raises:
        InputError: the file is there and is something else, the compression is unknown, or the store is of an older
            version of the format.
        DamagedCacheError: a map is not what was written.
        BusyError: another process is writing the file.
        OSError: the disk is full, or cannot be written to; run again to continue.
    """
    if compression not in FILE_COMPRESSIONS:
        raise InputError(f"--compression {compression!r} is not known; choose one of {', '.join(FILE_COMPRESSIONS)}")
    if file.exists():
        require_same(cache, file, compression)  # before the lock, which would be a trace of a call that is refused
    elif cache.manifest.schema_version != SCHEMA_VERSION:
        raise InputError(
            f"{cache.path}: is of version {cache.manifest.schema_version} of the format; `ta2n cache verify --upgrade "
            f"{cache.path}` makes version {SCHEMA_VERSION} of it, which can be exported"
        )
    on_clips = on_clips or (lambda clips: None)
    file.parent.mkdir(parents=True, exist_ok=True)
    with writing(file, "ta2n cache export"), naming(file):
        if file.exists():
            kept = compare_maps(cache, require_same(cache, file, compression), on_clips)
            forget_left_overs(file)
            return kept
        partial = file.with_name(f".{file.name}.{identity(cache.source, compression)}.partial")
        forget_left_overs(file, keep=partial)
        if compression == "none":
            kept = _write_places(cache, partial, on_clips)
            partial.replace(file)
        else:
            kept = _write_parts(cache, partial, compression, on_clips)
            _new(partial / "whole", lambda path: _put_together(cache, partial, path, compression))
            (partial / "whole").replace(file)
            shutil.rmtree(partial)
    return kept


def _new(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under another name and gives it its own when it is whole."""
    beside = path.with_name(f"{path.name}.new")
    write(beside)
    with beside.open("rb") as written:
        os.fsync(written.fileno())
    beside.replace(path)


@contextmanager
def _created(path: Path, **options: Any) -> Iterator[tuple[Any, PatientFile]]:
    """A new HDF5 file, and the file beneath it, to be asked now and then whether it could be written."""
    with path.open("w+b", buffering=0) as raw:
        beneath = PatientFile(raw)
        try:
            with h5py.File(beneath, "w", **options) as target:
                yield target, beneath
        except Exception:
            beneath.check()  # what HDF5 says of what it could not read back is not the cause
            raise
        beneath.check()


def _done(cache: FeatureCache, rows: range) -> Iterator[tuple[int, int]]:
    for row in rows:
        for view in np.flatnonzero(cache.state[row] == State.DONE).tolist():
            yield row, view


def _write_head(cache: FeatureCache, target: Any, compression: str) -> Any:
    """Everything but the maps; returns their data set."""
    source = cache.source
    target.attrs["ta2n"] = manifest = to_json(source.manifest.to_dict())
    target.attrs["ta2n_sha256"] = checksum(np.frombuffer(manifest.encode(), np.uint8))
    target.attrs["videos"] = to_json(source.videos.checksums)
    target.attrs["shard_size"], target.attrs["compression"] = source.shard_size, source.compression
    for name in COLUMNS:
        values = source.column(name)
        target.create_dataset(name, data=values).attrs["sha256"] = checksum(values)
    for name, values in source.videos.columns().items():
        target.create_dataset(f"videos/{name}", data=values)
    return _create_features(target, source.shape, compression)


def _create_features(target: Any, shape: tuple[int, ...], compression: str) -> Any:
    packed = None if compression == "none" else compression
    return target.create_dataset(
        "features", shape, "<f2", chunks=(1, 1, *shape[2:]), compression=packed, fill_time="never"
    )


def _write_places(cache: FeatureCache, partial: Path, on_clips: OnClips) -> int:
    resumed = _is_laid_out(cache, partial)
    if not resumed:
        _new(partial, lambda path: _lay_out(cache, path))
    laid, kept = Hdf5Source(partial, check=False), 0
    if laid.offset is None:
        raise DamagedCacheError(f"{partial}: was laid out without places for the maps, which is a fault of HDF5's")
    with partial.open("r+b") as raw:
        for row in range(len(cache)):
            for _, view in _done(cache, range(row, row + 1)):
                if resumed and cache.source.digests.matches(row, view, laid.map(row, view)):
                    kept += 1
                    continue
                raw.seek(int(laid.offset[row, view]))
                raw.write(np.ascontiguousarray(sound_map(cache.source, row, view), "<f2").data)
            on_clips(row + 1)
        raw.flush()
        os.fsync(raw.fileno())
    return kept


def _is_laid_out(cache: FeatureCache, partial: Path) -> bool:
    """Whether a killed export left a place for every map; what was damaged meanwhile is laid out anew."""
    try:
        found = Hdf5Source(partial)
        if found.offset is None or identity(found, "none") != identity(cache.source, "none"):
            return False
    except (CacheError, MissingError):
        return False
    places = found.offset[cache.state == State.DONE]
    inside = (places >= 0) & (places <= found.end - found.map_bytes)
    return bool(inside.all()) and len(np.unique(places)) == len(places)


def _lay_out(cache: FeatureCache, path: Path) -> None:
    aligned: dict[str, Any] = {"alignment_threshold": _ALIGNMENT, "alignment_interval": _ALIGNMENT}
    # Without a chunk cache, writing one number reserves the whole chunk and touches one page of it.
    with _created(path, rdcc_nbytes=0, **aligned) as (target, beneath):
        features = _write_head(cache, target, "none")
        for row, view in _done(cache, range(len(cache))):
            features[row, view, 0, 0, 0, 0] = 0
            beneath.check()


def _write_parts(cache: FeatureCache, folder: Path, compression: str, on_clips: OnClips) -> int:
    folder.mkdir(exist_ok=True)
    kept = 0
    for rows in _shards(cache):
        part, maps = _part(folder, rows), list(_done(cache, rows))
        if part.exists() and _is_sound(cache, part, rows, maps):
            kept += len(maps)
        else:
            _new(part, lambda path, rows=rows: _write_part(cache, rows, path, compression))  # type: ignore[misc]
        on_clips(rows.stop)
    return kept


def _shards(cache: FeatureCache) -> Iterator[range]:
    size = cache.source.shard_size
    return (range(start, min(start + size, len(cache))) for start in range(0, len(cache), size))


def _part(folder: Path, rows: range) -> Path:
    return folder / f"{rows.start:09d}.h5"


def _write_part(cache: FeatureCache, rows: range, path: Path, compression: str) -> None:
    with _created(path) as (target, beneath):
        features = _create_features(target, (len(rows), *cache.source.shape[1:]), compression)
        for row, view in _done(cache, rows):
            features[row - rows.start, view] = sound_map(cache.source, row, view)
            beneath.check()


def _is_sound(cache: FeatureCache, part: Path, rows: range, maps: list[tuple[int, int]]) -> bool:
    matches = cache.source.digests.matches
    try:
        with h5py.File(part, "r") as opened:
            features = opened["features"]
            return all(matches(row, view, features[row - rows.start, view]) for row, view in maps)
    except ODD:
        return False


def _put_together(cache: FeatureCache, folder: Path, path: Path, compression: str) -> None:
    with _created(path) as (target, beneath):
        features = _write_head(cache, target, compression).id
        for rows in _shards(cache):
            with h5py.File(_part(folder, rows), "r") as part:
                for row, view in _done(cache, rows):
                    mask, chunk = part["features"].id.read_direct_chunk((row - rows.start, view, 0, 0, 0, 0))
                    features.write_direct_chunk((row, view, 0, 0, 0, 0), chunk, mask)
                    beneath.check()
