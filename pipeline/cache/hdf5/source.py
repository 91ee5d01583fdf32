"""A cache as one HDF5 file: the arrays of the zarr store under the same names.

``features`` is chunked by video and view. Where it is not compressed, a chunk's place in the file is looked up once
and then read by memory map: HDF5's own fancy indexing is a hundred times slower.
"""

import json
import mmap
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.columns import checksum
from ta2n.cache_schema.errors import CacheError, DamagedCacheError, MissingError
from ta2n.cache_schema.layout import COMPRESSIONS, ODD, table_of
from ta2n.cache_schema.manifest import Manifest
from ta2n.pipeline.cache.digests import Digests
from ta2n.pipeline.cache.local import LocalReader, Wanted
from ta2n.pipeline.cache.shards import fetch

SUFFIXES = (".h5", ".hdf5")
# A private map of a whole file larger than the memory is refused by the system; windows of it are not.
_WINDOW_BYTES = 1 << 30
_OPEN_WINDOWS = 256


class Hdf5Source:
    """An HDF5 file, opened for reading.

    No handle of HDF5 stays open on an uncompressed file, and that on a compressed one is not shared with a forked
    process.

    Attributes:
        path: the file.
        manifest: what the features are.
        videos: the row table.
        shape: (videos, views, C, T, H, W).
        compressed: whether maps are read through HDF5.
        shard_size: of the store that was exported.
        compression: of the store that was exported.
        form: compression of the file's own maps: ``none``, ``gzip``, ``lzf``, or another tool's.
        map_bytes: of one map that is not compressed.
        end: bytes of the file.
        offset: (videos, views) byte at which each map begins, -1 where it is not stored; None where another tool has
            rewritten the file with other chunks.

    Args:
        path: the file.
        check: whether each map is compared with its digest at its first reading.

    Raises:
        MissingError: there is no such file.
        DamagedCacheError: it is no HDF5 file, cut short, or not one that ta2n exported.
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        self.path = path
        try:
            with open_file(path) as file:
                self.manifest = _manifest(path, file.attrs)
                self.shard_size, self.compression = int(file.attrs["shard_size"]), str(file.attrs["compression"])
                features, checksums = file["features"], json.loads(file.attrs.get("videos", "null"))
                self.shape = tuple(int(length) for length in features.shape)
                self.offset = _offsets(features)
                plain = self.offset is not None and features.id.get_create_plist().get_nfilters() == 0
                self.compressed = not (plain and features.dtype == "<f2")
                self.form = str(features.compression or "none")
        except ODD as error:
            if isinstance(error, CacheError | MissingError):
                raise
            raise DamagedCacheError(
                f"{path}: not a cache that ta2n exported ({error}); other files come in by "
                f"`ta2n cache import {path} CACHE --features NAME --labels NAME`"
            ) from error
        self.videos = table_of(self.manifest, checksums, self._array, source=str(path))
        self.digests = Digests(path, self.manifest, self.videos, self.column)
        expected = (len(self.videos), len(self.manifest.views))
        if len(self.shape) != 6 or self.shape[:2] != expected:
            raise DamagedCacheError(
                f"{path}: its features have shape {self.shape}, expected {expected} videos and views of (C, T, H, W); "
                "export it again"
            )
        if self.shard_size < 1 or self.compression not in COMPRESSIONS:
            raise DamagedCacheError(
                f"{path}: says that its store had {self.shard_size} clips a shard and compression "
                f"{self.compression!r}; export it again"
            )
        self.map_bytes, self.end = 2 * int(np.prod(self.shape[2:])), path.stat().st_size
        self._window = lru_cache(_OPEN_WINDOWS)(self._open_window)
        self._opened: tuple[int, Any] | None = None
        self._reader = LocalReader(
            self.map,
            self._hint,
            self.shape,
            compressed=self.compressed,
            check=self.digests.check if check else None,
        )

    def column(self, name: str) -> NDArray[Any]:
        """A whole array of the format other than ``features``.

        Raises:
            DamagedCacheError: it cannot be read, is not as long as the row table, or is not what was written.
        """
        if self.manifest.schema_version == 1 and name in ("decoder", "concealed"):
            return np.zeros(len(self.videos), np.uint8 if name == "decoder" else np.int32)
        values = self._array(name)
        if len(values) != len(self.videos):
            raise DamagedCacheError(
                f"{self.path}: array {name!r} has {len(values)} videos, expected {len(self.videos)}; export it again"
            )
        return values

    def _array(self, name: str) -> NDArray[Any]:
        try:
            with open_file(self.path) as file:
                values, written = np.asarray(file[name][:]), file[name].attrs.get("sha256")
        except ODD as error:
            if isinstance(error, CacheError | MissingError):
                raise
            raise DamagedCacheError(f"{self.path}: array {name!r} cannot be read ({error}); export it again") from error
        if written not in (None, checksum(values)):
            raise DamagedCacheError(f"{self.path}: array {name!r} is not what was written; export it again")
        return values

    def read(self, wanted: Wanted, out: Tensor) -> None:
        """See :meth:`~ta2n.pipeline.cache.sources.Source.read`."""
        self._reader.read(wanted, out)

    def map(self, row: int, view: int, buffer: NDArray[np.float16] | None = None) -> NDArray[np.float16]:
        """One (C, T, H, W) map, perhaps on the file itself: to be copied, never changed."""
        offset = None if self.offset is None else int(self.offset[row, view])
        if offset is not None and offset < 0:
            raise DamagedCacheError(f"{self.path}: holds no map of row {row}, view {view}; export it again")
        if offset is not None and not self.compressed:
            if offset + self.map_bytes > self.end:
                raise DamagedCacheError(f"{self.path}: the map of row {row} would lie behind its end; export it again")
            return self._mapped(offset)
        try:
            return np.asarray(self._features()[row, view], np.float16)
        except ODD as error:
            raise DamagedCacheError(f"{self.path}: the map of row {row} cannot be read ({error})") from error

    def _hint(self, wanted: Wanted) -> None:
        if self.offset is None or self.compressed:
            return
        for row, view in wanted:
            offset = int(self.offset[row, view])
            if 0 <= offset <= self.end - self.map_bytes:
                number, start = divmod(offset, _WINDOW_BYTES)
                fetch(self._window(number), start, self.map_bytes)

    def _mapped(self, offset: int) -> NDArray[np.float16]:
        number, start = divmod(offset, _WINDOW_BYTES)
        values: NDArray[np.float16] = np.frombuffer(self._window(number), "<f2", self.map_bytes // 2, start)
        return values.reshape(self.shape[2:])

    def _open_window(self, number: int) -> mmap.mmap:
        begin = number * _WINDOW_BYTES
        # Long enough for every map that begins in it.
        length = min(_WINDOW_BYTES + self.map_bytes, self.end - begin)
        with self.path.open("rb") as handle:
            # Copy-on-write, never written to: torch wants writable memory and nothing may change the file.
            return mmap.mmap(handle.fileno(), length, access=mmap.ACCESS_COPY, offset=begin)

    def _features(self) -> Any:
        process = os.getpid()
        if self._opened is None or self._opened[0] != process:
            self._opened = process, open_file(self.path)["features"]
        return self._opened[1]


def _manifest(path: Path, attributes: Any) -> Manifest:
    text = str(attributes["ta2n"])
    if attributes.get("ta2n_sha256") not in (None, checksum(np.frombuffer(text.encode(), np.uint8))):
        raise DamagedCacheError(f"{path}: its manifest is not what was written; export it again")
    return Manifest.from_dict(json.loads(text), source=str(path))


def _offsets(features: Any) -> NDArray[np.int64] | None:
    if features.chunks != (1, 1, *features.shape[2:]):
        return None
    offset = np.full(features.shape[:2], -1, np.int64)

    def note(chunk: Any) -> None:
        offset[chunk.chunk_offset[:2]] = chunk.byte_offset

    features.id.chunk_iter(note)
    return offset


def is_export(path: Path) -> bool:
    """Whether a file is one of ours, and not another tool's."""
    try:
        with open_file(path) as file:
            return "ta2n" in file.attrs
    except (CacheError, MissingError):
        return False


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
