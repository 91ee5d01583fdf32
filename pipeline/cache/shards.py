"""Memory maps of uncompressed shards, so that a read is one copy from the page cache."""

import mmap
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError

# A file's map keeps a descriptor open, and a usual limit is 1024 of them.
_OPEN_SHARDS = 256
_EMPTY = np.iinfo(np.uint64).max


class ShardMaps:
    """Inner chunks of a sharded, uncompressed zarr array in a local folder, as arrays over a memory map.

    The layout is that of zarr's ``sharding_indexed`` codec: chunks anywhere in the file, at its end one (offset,
    length) pair of little-endian uint64 for each, in C order, and four bytes of checksum.
    """

    def __init__(self, folder: Path, *, chunk_shape: tuple[int, ...], shard: int, views: int) -> None:
        self._folder, self._chunk_shape, self._views = folder, chunk_shape, views
        self._chunk_bytes = 2 * int(np.prod(chunk_shape))
        self._index_bytes = 16 * shard * views + 4
        self._shard = shard
        self._open = lru_cache(_OPEN_SHARDS)(self._open_shard)

    def __call__(self, row: int, view: int) -> NDArray[np.float16]:
        """The (C, T, H, W) map of one video and view, on the map itself; zeros where the chunk was never written.

        Raises:
            DamagedCacheError: the shard's file is missing, short, or its index points outside it.
        """
        number, place = divmod(row, self._shard)
        data, index = self._open(number)
        offset, length = (int(value) for value in index[place, view])
        if offset == _EMPTY:
            return np.zeros(self._chunk_shape, np.float16)
        if length != self._chunk_bytes or offset + length > len(data) - self._index_bytes:
            raise DamagedCacheError(
                f"{self._file(number)}: the chunk of row {row} has {length} bytes at {offset}, expected "
                f"{self._chunk_bytes} inside a file of {len(data)}; delete the store's state or extract again"
            )
        values: NDArray[np.float16] = np.frombuffer(data, "<f2", self._chunk_bytes // 2, offset)
        return values.reshape(self._chunk_shape)

    def _file(self, number: int) -> Path:
        return shard_file(self._folder, number)

    def _open_shard(self, number: int) -> tuple[mmap.mmap, NDArray[np.uint64]]:
        file = self._file(number)
        try:
            with file.open("rb") as handle:
                # Copy-on-write, never written to: torch wants writable memory and nothing may change the file.
                data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise DamagedCacheError(f"{file}: cannot be read ({error}); extract again") from error
        if len(data) < self._index_bytes:
            raise DamagedCacheError(f"{file}: {len(data)} bytes, too short for its index; extract again")
        entries = np.frombuffer(data, "<u8", 2 * self._shard * self._views, len(data) - self._index_bytes)
        return data, entries.reshape(self._shard, self._views, 2)


def shard_file(folder: Path, number: int) -> Path:
    """The file of one shard of a ``features`` array, under zarr's default chunk names."""
    return folder / "c" / str(number) / "0/0/0/0/0"


def shard_maps(root: Path, features: Any) -> ShardMaps | None:
    """Maps for a store's ``features`` array, or None where its chunks are compressed and zarr must decode them."""
    (sharding,) = features.metadata.codecs
    if [type(codec).__name__ for codec in sharding.codecs] != ["BytesCodec"]:
        return None
    shard, views = features.shards[:2]
    return ShardMaps(root / "features", chunk_shape=features.chunks[2:], shard=shard, views=views)
