"""The videos of a folder of .npy files, one a video."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.table import SPLITS
from ta2n.pipeline.cache.hdf5.axes import shape_of
from ta2n.pipeline.cache.hdf5.lookup import require_floats
from ta2n.pipeline.cache.hdf5.pattern import Pattern
from ta2n.pipeline.cache.hdf5.videos import Names, Videos, videos_of

_BY_DEPTH = ("{id}", "{class}/{id}", "{split}/{class}/{id}")


def videos_of_folder(folder: Path, names: Names) -> Videos:
    """The videos of a folder: ``id.npy``, ``class/id.npy``, ``split/class/id.npy``, or as ``names.features`` says.

    Raises:
        InputError: there is none, a file lies elsewhere, or cannot be read.
    """
    pattern, found = _files(folder, names)
    paths = list(found)
    shapes = []
    for path in paths:
        values = _opened(path)
        require_floats(values.dtype, str(path))
        shapes.append(shape_of(values))

    def read(rows: range) -> Iterable[NDArray[np.float32]]:
        return (np.asarray(_opened(path), np.float32) for path in paths[rows.start : rows.stop])

    return videos_of(folder, names, pattern, list(found.values()), shapes=shapes, read=read)


def count_of_folder(folder: Path, names: Names) -> int:
    """How many there are."""
    return len(_files(folder, names)[1])


def _files(folder: Path, names: Names) -> tuple[Pattern, dict[Path, dict[str, str]]]:
    """The files, and what the path of each says."""
    files = {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.npy"))}
    if not files:
        raise InputError(f"{folder}: holds no .npy file; expected one a video, as id.npy, class/id.npy or deeper")
    pattern = Pattern(names.features or _usual(list(files)))
    found = {file: fields for path, file in files.items() if (fields := pattern.match(path)) is not None}
    if not found:
        raise InputError(f"{folder}: none of its {len(files)} .npy files is called like {pattern.text}")
    if names.features is None:
        odd = [file for file in files.values() if file not in found or "/" in found[file]["id"]]
        if odd:
            raise InputError(
                f"{odd[0]}: does not lie as {pattern.text}; say by --features how the files lie that count"
            )
    return pattern, found


def _usual(paths: list[str]) -> str:
    parts = [path.split("/") for path in paths]
    if {len(one) for one in parts} == {2} and {one[0] for one in parts} <= set(SPLITS):
        return "{split}/{id}"
    return _BY_DEPTH[min(min(len(one) for one in parts), len(_BY_DEPTH)) - 1]


def _opened(file: Path) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: cannot be read as an array ({error})") from error
    return values
