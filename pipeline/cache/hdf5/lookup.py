"""What another tool's file holds under a name, and what it says of each video."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError, MissingError

_NAMED = 10


def find_data_set(source: Any, name: str, file: Path) -> Any:
    """A data set of an open HDF5 file.

    Raises:
        InputError: there is none of this name; the message names some that are there.
    """
    found = source.get(name)
    if isinstance(found, h5py.Dataset) and found.shape:
        return found
    raise InputError(f"{file}: holds no data set {name!r}; it has {some_of(data_sets(source))}")


def data_sets(source: Any) -> list[str]:
    """The names of all data sets of an open HDF5 file."""
    there: list[str] = []
    source.visititems(lambda key, item: there.append(key) if isinstance(item, h5py.Dataset) else None)
    return there


def some_of(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "") or "none"


def strings(source: Any, name: str, file: Path, count: int) -> list[str]:
    """The (count,) numbers or strings of a data set, as strings.

    Raises:
        InputError: there is none, or it is of another length or type, or not UTF-8.
    """
    values: NDArray[Any] = np.asarray(find_data_set(source, name, file)[:])
    if values.shape != (count,):
        raise InputError(f"{file}: {name} has shape {values.shape}, expected ({count},), one for each clip")
    return _texts(values, f"{file}: {name}")


def single_string(source: Any, name: str, file: Path) -> str:
    """The one number or string of a data set, as a string; errors are those of :func:`strings`."""
    found = source.get(name)
    if not isinstance(found, h5py.Dataset) or found.size != 1:
        raise InputError(f"{file}: holds no data set {name!r} of one value")
    return _texts(np.asarray(found[()]).reshape(1), f"{file}: {name}")[0]


def _texts(values: NDArray[Any], what: str) -> list[str]:
    if values.dtype.kind not in "iuOSU":
        raise InputError(f"{what} is {values.dtype}, expected whole numbers or strings")
    try:
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    except UnicodeDecodeError as error:
        raise InputError(f"{what} holds text that is not UTF-8 ({error})") from error


def is_list(name: str | None) -> bool:
    """Whether a name is that of a JSON file of ``{id: value}``."""
    return name is not None and name.endswith(".json")


def listed(file: Path, ids: Sequence[str]) -> list[str]:
    """The value of each id in a JSON file of ``{id: value}``.

    Raises:
        MissingError: there is no such file.
        InputError: it is no such JSON, or lacks an id.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{file}: there is no such list") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read as JSON ({error})") from error
    known = isinstance(values, dict) and all(type(value) in (str, int) for value in values.values())
    if not known:
        raise InputError(f"{file}: expected a JSON table of {{id: name}}")
    missing = [name for name in ids if name not in values]
    if missing:
        raise InputError(f"{file}: says nothing of {len(missing)} of {len(ids)} videos, such as {missing[0]!r}")
    return [str(values[name]) for name in ids]


def require_floats(kind: np.dtype[Any], what: str) -> None:
    """Refuses features that are no floating point numbers."""
    if kind.kind != "f":
        raise InputError(f"{what} is {kind}, expected floating point")
