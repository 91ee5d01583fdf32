"""The videos of another tool's HDF5 file: all in one array, or each in one of its own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.hdf5.axes import shape_of
from ta2n.pipeline.cache.hdf5.lookup import (
    data_sets,
    find_data_set,
    is_list,
    listed,
    require_floats,
    single_string,
    some_of,
    strings,
)
from ta2n.pipeline.cache.hdf5.pattern import Pattern, is_pattern
from ta2n.pipeline.cache.hdf5.videos import Names, Videos, videos_of


def videos_in(file: Path, source: Any, names: Names) -> Videos:
    """The videos of an open HDF5 file.

    Raises:
        InputError: what is named is not there, or of another type or length than it must be.
    """
    return (_one_array if not is_pattern(names.features) else _many_arrays)(file, source, names)


def count_in(file: Path, source: Any, names: Names) -> int:
    """How many there are."""
    if is_pattern(names.features):
        return len(_matching(source, Pattern(str(names.features)), file))
    return int(find_data_set(source, _features(file, names), file).shape[0])


def _one_array(file: Path, source: Any, names: Names) -> Videos:
    name = _features(file, names)
    features = find_data_set(source, name, file)
    require_floats(features.dtype, f"{file}: {name}")
    if not features.size:
        raise InputError(f"{file}: {name} is empty, of shape {features.shape}")
    count = len(features)
    ids = strings(source, names.ids, file, count) if names.ids else [f"row-{row:06d}" for row in range(count)]

    def read(rows: range) -> Iterable[NDArray[np.float32]]:
        return iter(np.asarray(features[rows.start : rows.stop], np.float32))

    def said(of: str) -> list[str]:
        return listed(Path(of), ids) if is_list(of) else strings(source, of, file, count)

    if names.labels is None:
        raise InputError(f"{file}: nothing says the classes; give --labels")
    return Videos(
        what=name,
        ids=ids,
        labels=said(names.labels),
        splits=said(names.splits) if names.splits else None,
        shapes=[shape_of(features)[1:]],
        each=False,
        read=read,
    )


def _many_arrays(file: Path, source: Any, names: Names) -> Videos:
    pattern = Pattern(str(names.features))
    found = _matching(source, pattern, file)
    paths, fields = list(found), list(found.values())

    def read(rows: range) -> Iterable[NDArray[np.float32]]:
        return (np.asarray(source[path][()], np.float32) for path in paths[rows.start : rows.stop])

    def of_each(other: Pattern) -> list[str]:
        return [single_string(source, other.fill(one), file) for one in fields]

    shapes = [shape_of(source[path]) for path in paths]
    made = videos_of(file, names, pattern, fields, shapes=shapes, read=read, of_each=of_each)
    for path in paths:
        require_floats(source[path].dtype, f"{file}: {path}")
    return made


def _matching(source: Any, pattern: Pattern, file: Path) -> dict[str, dict[str, str]]:
    there = data_sets(source)
    found = {name: fields for name in sorted(there) if (fields := pattern.match(name)) is not None}
    if not found:
        raise InputError(f"{file}: none of its data sets is called like {pattern.text}; it has {some_of(there)}")
    return found


def _features(file: Path, names: Names) -> str:
    if names.features is None:
        raise InputError(
            f"{file}: nothing says its features; give --features NAME, or a pattern such as {{id}}/features"
        )
    return names.features
