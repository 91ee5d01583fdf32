"""Features that other tools wrote into an HDF5 file: one data set of features, one of labels."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import SPLITS, VideoTable
from ta2n.pipeline.cache.hdf5.source import open_file
from ta2n.pipeline.cache.writer import CacheWriter

_SHARD = 64
_HASH_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the data sets of a file are called.

    Attributes:
        features: (videos, C, T, H, W), (videos, T, C) or (videos, C), floating point.
        labels: (videos,), numbers or strings.
        ids: (videos,) strings, unique; None for ``row-000000`` and so on.
        splits: (videos,) strings ``train``, ``val``, ``test``; None where ``split_of`` says it.
    """

    features: str
    labels: str
    ids: str | None = None
    splits: str | None = None


def import_foreign(
    file: Path,
    folder: Path,
    names: Names,
    *,
    dataset: str,
    split_of: Callable[[list[str]], Mapping[str, str]],
    on_clips: Callable[[int], None] | None = None,
) -> Path:
    """Makes a store of features that another tool wrote.

    Frame features (videos, T, C) become maps of one cell, clip features (videos, C) of one cell and one frame. A clip
    with a number that is not finite, or too large for float16, is recorded as failed.

    Args:
        file: HDF5.
        folder: of stores.
        names: of its data sets.
        dataset: name of the new store.
        split_of: from the class names to the split of each; called where ``names.splits`` is None.
        on_clips: called with the number of clips finished so far.

    Returns:
        The store. One that is there is continued.

    Raises:
        InputError: a data set is not there, or its shape or type is not one of those above.
        ManifestMismatchError: there is a store of that name with other features.
    """
    with open_file(file) as source:
        features = _dataset(source, names.features, file)
        shape = _map_shape(features, file)
        count = len(features)
        label = _strings(source, names.labels, file, count)
        ids = _strings(source, names.ids, file, count) if names.ids else [f"row-{row:06d}" for row in range(count)]
        repeated = len(ids) - len(set(ids))
        if repeated:
            raise InputError(f"{file}: {repeated} ids of {names.ids!r} occur before; ids must be unique")
        split = _splits(source, names.splits, file, count, label, split_of)
        videos = VideoTable.from_rows(list(zip(ids, ids, label, split, strict=True)), root=str(file.resolve()))
        path = folder / f"{dataset}.zarr"
        manifest = _manifest(file, names.features, dataset, videos, frames=shape[1])
        with writing(path, "ta2n cache import"):
            writer = CacheWriter(path, manifest, videos, map_shape=shape, shard_size=_SHARD, compression="none")
            for rows, _ in writer.unfinished():
                shard = writer.load(rows)
                values = np.asarray(features[rows.start : rows.stop], np.float32)
                maps = np.moveaxis(values, 1, 2) if values.ndim == 3 else values
                maps = maps.reshape(len(rows), 1, *shape)
                for place, row in enumerate(rows):
                    if np.abs(maps[place]).max(initial=0) <= np.finfo(np.float16).max:
                        index = np.arange(shape[1], dtype=np.int32)[None]
                        half = maps[place].astype(np.float16)
                        shard.put(row, half, frame_index=index, frame_count=shape[1], fps=0.0)
                    else:
                        shard.fail(row, "its features hold numbers that are not finite, or too large for float16")
                writer.commit(shard)
                if on_clips:
                    on_clips(rows.stop)
    return path


def count_clips(file: Path, features: str) -> int:
    """How many clips a data set has; the errors are those of :func:`import_foreign`."""
    with open_file(file) as source:
        return int(_dataset(source, features, file).shape[0])


def _dataset(source: Any, name: str, file: Path) -> Any:
    found = source.get(name)
    if isinstance(found, h5py.Dataset) and found.shape:
        return found
    there: list[str] = []
    source.visititems(lambda key, item: there.append(key) if isinstance(item, h5py.Dataset) else None)
    raise InputError(f"{file}: holds no data set {name!r}; it has {', '.join(there) or 'none'}")


def _map_shape(features: Any, file: Path) -> tuple[int, int, int, int]:
    """(C, T, H, W) of what a data set's rows become."""
    shape = tuple(int(length) for length in features.shape)
    if features.dtype.kind != "f" or len(shape) not in (2, 3, 5) or not all(shape):
        raise InputError(
            f"{file}: {features.name} is {features.dtype} of shape {shape}, expected floating point of (videos, C, T, "
            "H, W), (videos, T, C) or (videos, C)"
        )
    if len(shape) == 5 and shape[3] != shape[4]:
        raise InputError(f"{file}: the maps of {features.name} are {shape[3]}×{shape[4]}, expected H = W")
    if len(shape) == 5:
        return shape[1], shape[2], shape[3], shape[4]
    return (shape[2], shape[1], 1, 1) if len(shape) == 3 else (shape[1], 1, 1, 1)


def _strings(source: Any, name: str, file: Path, count: int) -> list[str]:
    values: NDArray[Any] = np.asarray(_dataset(source, name, file)[:])
    if values.shape != (count,):
        raise InputError(f"{file}: {name} has shape {values.shape}, expected ({count},), one for each clip")
    if values.dtype.kind not in "iuOSU":
        raise InputError(f"{file}: {name} is {values.dtype}, expected whole numbers or strings")
    try:
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: {name} holds text that is not UTF-8 ({error})") from error


def _splits(
    source: Any,
    name: str | None,
    file: Path,
    count: int,
    label: list[str],
    split_of: Callable[[list[str]], Mapping[str, str]],
) -> list[str]:
    if name is None:
        by_class = split_of(sorted(set(label)))
        if not set(label) & set(by_class):
            raise InputError(f"{file}: none of its classes ({', '.join(sorted(set(label))[:5])}, ...) is in the splits")
        return [by_class.get(one, "") for one in label]
    split = _strings(source, name, file, count)
    odd = sorted(set(split) - {*SPLITS, ""})
    if odd:
        raise InputError(f"{file}: {name} holds {', '.join(map(repr, odd[:5]))}, expected train, val or test")
    return split


def _manifest(file: Path, features: str, dataset: str, videos: VideoTable, *, frames: int) -> Manifest:
    return Manifest(
        dataset=dataset,
        split_hash=videos.hash(),
        backbone="imported",
        weights=file.name,
        weights_sha256=_sha256(file),
        layer=features,
        preprocessing={},
        sampling={"rule": "imported", "frames": frames},
        decoder="none",
        views=("as imported",),
        ta2n_version=ta2n.__version__,
    )


def _sha256(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_HASH_BYTES):
            found.update(block)
    return found.hexdigest()
