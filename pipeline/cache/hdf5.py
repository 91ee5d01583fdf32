"""A cache as one HDF5 file: the arrays of the zarr store under the same names.

``features`` is chunked by video and view. Where it is not compressed, a chunk's place in the file is looked up once
and then read by memory map: HDF5's own fancy indexing is a hundred times slower.
"""

import json
import mmap
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError, MissingError
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable

SUFFIXES = (".h5", ".hdf5")
COLUMNS = ("frame_index", "state", "digest", "frame_count", "fps", "reason")


class Hdf5Source:
    """An HDF5 file, opened for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_file(path)
        attributes = self._file.attrs
        try:
            self.manifest = Manifest.from_dict(json.loads(attributes["ta2n"]), source=str(path))
            self.shard_size, self.compression = int(attributes["shard_size"]), str(attributes["compression"])
            self._features = self._file["features"]
            self.shape = tuple(int(length) for length in self._features.shape)
            rows = self._file["rows"][:]
        except (KeyError, ValueError, TypeError) as error:
            if isinstance(error, DamagedCacheError):
                raise
            raise DamagedCacheError(
                f"{path}: not a cache that ta2n exported ({error}); other files come in by "
                f"`ta2n cache import {path} CACHE --features NAME --labels NAME`"
            ) from error
        self.videos = VideoTable.from_bytes(rows.tobytes(), source=str(path))
        self.compressed = self._features.compression is not None
        self._chunks = None if self.compressed else _Chunks(path, self._features)

    def column(self, name: str) -> NDArray[Any]:
        """A whole array of the format other than ``features``."""
        if name not in self._file:
            raise DamagedCacheError(f"{self.path}: array {name!r} is missing; export it again")
        return np.asarray(self._file[name][:])

    def map(self, row: int, view: int) -> NDArray[np.float16]:
        """One (C, T, H, W) map."""
        if self._chunks is not None:
            return self._chunks(row, view)
        try:
            return np.asarray(self._features[row, view])
        except OSError as error:
            raise DamagedCacheError(f"{self.path}: the map of row {row} cannot be read ({error})") from error


class _Chunks:
    """The uncompressed chunks of ``features``, as arrays over a memory map."""

    def __init__(self, path: Path, features: Any) -> None:
        self._path, self._shape = path, tuple(features.shape[2:])
        self._bytes = 2 * int(np.prod(self._shape))
        self._offset = np.full(features.shape[:2], -1, np.int64)

        def note(chunk: Any) -> None:
            self._offset[chunk.chunk_offset[:2]] = chunk.byte_offset

        features.id.chunk_iter(note)
        with path.open("rb") as handle:
            # Copy-on-write, never written to: torch wants writable memory and nothing may change the file.
            self._data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)

    def __call__(self, row: int, view: int) -> NDArray[np.float16]:
        offset = int(self._offset[row, view])
        if offset < 0:
            return np.zeros(self._shape, np.float16)
        if offset + self._bytes > len(self._data):
            raise DamagedCacheError(
                f"{self._path}: the map of row {row} ends at byte {offset + self._bytes} of a file of "
                f"{len(self._data)}; the file was cut short, export it again"
            )
        values: NDArray[np.float16] = np.frombuffer(self._data, "<f2", self._bytes // 2, offset)
        return values.reshape(self._shape)


def open_file(path: Path) -> Any:
    """Opens an HDF5 file for reading.

    Raises:
        MissingError: it is not there.
        DamagedCacheError: it is none, or was cut short.
    """
    if not path.is_file():
        raise MissingError(f"{path}: there is no such file; `ta2n cache export CACHE {path}` makes one")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DamagedCacheError(f"{path}: cannot be opened as an HDF5 file ({error}); export it again") from error
