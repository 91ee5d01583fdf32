"""Features that other tools wrote: an HDF5 file, or a folder of .npy files."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ta2n
from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import SPLITS, VideoTable
from ta2n.pipeline.cache.hdf5.arrays import count_in, videos_in
from ta2n.pipeline.cache.hdf5.axes import find_axes
from ta2n.pipeline.cache.hdf5.npy import count_of_folder, videos_of_folder
from ta2n.pipeline.cache.hdf5.source import open_file
from ta2n.pipeline.cache.hdf5.videos import Names, Videos
from ta2n.pipeline.cache.names import named_store
from ta2n.pipeline.cache.writer import CacheWriter, Shard
from ta2n.pipeline.clips import tsn_test

__all__ = ["Names", "count_clips", "import_foreign"]

_SHARD = 64
_HASH_BYTES = 1 << 22

SplitOf = Callable[[list[str]], Mapping[str, str]]


def import_foreign(
    file: Path,
    folder: Path,
    names: Names,
    *,
    dataset: str,
    split_of: SplitOf,
    axes: str | None = None,
    frames: int | None = None,
    on_clips: Callable[[int], None] | None = None,
) -> Path:
    """Makes a store of features that another tool wrote.

    Frame features (T, C) become maps of one cell, clip features (C,) of one cell and one frame. A clip with a number
    that is not finite, or too large for float16, is recorded as failed.

    Args:
        file: HDF5, or a folder of .npy files.
        folder: of stores.
        names: of what the file holds.
        dataset: name of the new store.
        split_of: from the class names to the split of each; called where ``names`` say no splits.
        axes: letters of the axes of an array, see :mod:`ta2n.pipeline.cache.hdf5.axes`; None where its shape leaves no
            doubt.
        frames: T of the store, taken of each video at the centres of as many equal segments; None where all videos
            have equally many, for all of them.
        on_clips: called with the number of clips finished so far.

    Returns:
        The store. One that is there is continued.

    Raises:
        MissingError: there is no such file.
        InputError: what is named is not there, its shape or type is not one of those above or can be read in two ways,
            or the name is none of a store.
        ManifestMismatchError: there is a store of that name with other features.
    """
    path = named_store(folder, dataset)
    with _opened(file, names) as videos:
        what = f"{file}: {videos.what}"
        found = find_axes(axes, videos.shapes, each=videos.each, what=what)
        sizes = [found.sizes(one) for one in videos.shapes]
        steps = _steps([length for _, length, _, _ in sizes], frames, what)
        shape = (sizes[0][0], steps, *sizes[0][2:])
        table = _table(file, names, videos, split_of)
        manifest = _manifest(file, videos.what, dataset, table, frames=steps, axes=axes)
        with writing(path, "ta2n cache import"):
            writer = CacheWriter(path, manifest, table, map_shape=shape, shard_size=_SHARD, compression="none")
            for rows, _ in writer.unfinished():
                shard = writer.load(rows)
                for row, values in zip(rows, videos.read(rows), strict=True):
                    _put(shard, row, found.to_map(values), steps)
                writer.commit(shard)
                if on_clips:
                    on_clips(rows.stop)
    return path


def count_clips(file: Path, names: Names) -> int:
    """How many clips there are; the errors are those of :func:`import_foreign`."""
    if _require(file).is_dir():
        return count_of_folder(file, names)
    with open_file(file) as source:
        return count_in(file, source, names)


@contextmanager
def _opened(file: Path, names: Names) -> Iterator[Videos]:
    if _require(file).is_dir():
        yield videos_of_folder(file, names)
    else:
        with open_file(file) as source:
            yield videos_in(file, source, names)


def _require(file: Path) -> Path:
    if not file.exists():
        raise MissingError(f"{file}: there is no such file, and no such folder of .npy files")
    return file


def _steps(lengths: Sequence[int], frames: int | None, what: str) -> int:
    """T of the store."""
    least, most = min(lengths), max(lengths)
    if frames is None and least < most:
        raise InputError(f"{what}: its videos have {least} to {most} frames; say by --frames how many to store of each")
    if frames is not None and not 1 <= frames <= most:
        raise InputError(f"--frames {frames}: expected 1 to {most}, as many as the longest video of {what} has")
    return frames or most


def _put(shard: Shard, row: int, maps: NDArray[np.float32], frames: int) -> None:
    """Stores ``frames`` of a video's (C, T, H, W) maps."""
    length = maps.shape[1]
    if not length:
        shard.fail(row, "it has no frames")
        return
    index = tsn_test(length, frames)
    taken = maps[:, index]
    if np.abs(taken).max(initial=0) <= np.finfo(np.float16).max:
        shard.put(row, taken[None].astype(np.float16), frame_index=index[None], frame_count=length, fps=0.0)
    else:
        shard.fail(row, "its features hold numbers that are not finite, or too large for float16")


def _table(file: Path, names: Names, videos: Videos, split_of: SplitOf) -> VideoTable:
    repeated = len(videos.ids) - len(set(videos.ids))
    if repeated:
        where = repr(names.ids) if names.ids else videos.what
        raise InputError(f"{file}: {repeated} ids of {where} occur before; ids must be unique")
    split = _splits(file, names, videos, split_of)
    return VideoTable.from_rows(
        list(zip(videos.ids, videos.ids, videos.labels, split, strict=True)), root=str(file.resolve())
    )


def _splits(file: Path, names: Names, videos: Videos, split_of: SplitOf) -> list[str]:
    if videos.splits is None:
        classes = sorted(set(videos.labels))
        by_class = split_of(classes)
        if not set(classes) & set(by_class):
            raise InputError(f"{file}: none of its classes ({', '.join(classes[:5])}, ...) is in the splits")
        return [by_class.get(one, "") for one in videos.labels]
    odd = sorted(set(videos.splits) - {*SPLITS, ""})
    if odd:
        where = names.splits or videos.what
        raise InputError(f"{file}: {where} holds {', '.join(map(repr, odd[:5]))}, expected train, val or test")
    return videos.splits


def _manifest(file: Path, what: str, dataset: str, table: VideoTable, *, frames: int, axes: str | None) -> Manifest:
    preprocessing: dict[str, Any] = {} if axes is None else {"axes": axes.upper()}
    return Manifest(
        dataset=dataset,
        split_hash=table.hash(),
        backbone="imported",
        weights=file.resolve().name if file.is_dir() else file.name,
        weights_sha256=_sha256(file),
        layer=what,
        preprocessing=preprocessing,
        sampling={"rule": "imported", "frames": frames},
        decoder="none",
        views=("as imported",),
        ta2n_version=ta2n.__version__,
    )


def _sha256(file: Path) -> str:
    """Of a file; of a folder, of the names, sizes and bytes of its .npy files."""
    found = hashlib.sha256()
    for one in sorted(file.rglob("*.npy")) if file.is_dir() else [file]:
        if one != file:
            found.update(f"{one.relative_to(file).as_posix()}\0{one.stat().st_size}\0".encode())
        with one.open("rb") as stream:
            while block := stream.read(_HASH_BYTES):
                found.update(block)
    return found.hexdigest()
