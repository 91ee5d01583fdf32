"""Memory maps of shards, so that a read is one copy from the page cache, or one decoding."""

import mmap
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numcodecs.zstd
import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.pipeline.cache.digests import Digests, remedy

# A file's map keeps a descriptor open, and a usual limit is 1024 of them.
_OPEN_SHARDS = 256
_EMPTY = np.iinfo(np.uint64).max

Decode = Callable[[memoryview, NDArray[np.float16]], None]


class ShardMaps:
    """Inner chunks of a sharded zarr array in a local folder, over a memory map.

    The layout is that of zarr's ``sharding_indexed`` codec: chunks anywhere in the file, at its end one (offset,
    length) pair of little-endian uint64 for each, in C order, and their CRC-32C.

    Args:
        folder: of the array.
        chunk_shape: (C, T, H, W).
        shard: videos in a shard.
        views: of each.
        digests: say whether a map that has no bytes is one of zeros, which zarr leaves out.
        decode: fills a map from a chunk's bytes, from any thread; None where the bytes are the map.
    """

    def __init__(
        self,
        folder: Path,
        *,
        chunk_shape: tuple[int, ...],
        shard: int,
        views: int,
        digests: Digests,
        decode: Decode | None = None,
    ) -> None:
        self._folder, self._chunk_shape, self._views, self._decode = folder, chunk_shape, views, decode
        self._digests = digests
        self._chunk_bytes = 2 * int(np.prod(chunk_shape))
        self._index_bytes = 16 * shard * views + 4
        self._shard = shard
        self._open = lru_cache(_OPEN_SHARDS)(self._open_shard)

    def fetch(self, wanted: Iterable[tuple[int, int]]) -> None:
        """Has the system begin to read (row, view) maps from the disk: one by one, each would wait for it alone."""
        for row, view in wanted:
            number, place = divmod(row, self._shard)
            with suppress(FileNotFoundError):
                data, index = self._open(number)
                fetch(data, *(int(value) for value in index[place, view]))

    def __call__(self, row: int, view: int, buffer: NDArray[np.float16] | None = None) -> NDArray[np.float16]:
        """The map of one video and view.

        Args:
            row: of the video.
            view: of it.
            buffer: a C-ordered map to decode into, or None for a fresh one.

        Returns:
            (C, T, H, W): on the file itself where nothing is to be decoded; else ``buffer`` or a fresh one.

        Raises:
            DamagedCacheError: the shard's file is missing and its maps were not zeros, or is short, its index points
                outside it, or a chunk is no code.
        """
        number, place = divmod(row, self._shard)
        try:
            data, index = self._open(number)
        except FileNotFoundError:
            return self._zeros(row, view)
        offset, length = (int(value) for value in index[place, view])
        if offset == _EMPTY:
            return self._zeros(row, view)
        whole = self._decode is not None or length == self._chunk_bytes
        if not whole or offset + length > len(data) - self._index_bytes:
            raise DamagedCacheError(
                f"{self._file(number)}: the chunk of row {row} has {length} bytes at {offset}, expected "
                f"{'some' if self._decode else self._chunk_bytes} inside a file of {len(data)}; {self._remedy}"
            )
        if self._decode is None:
            values: NDArray[np.float16] = np.frombuffer(data, "<f2", self._chunk_bytes // 2, offset)
            return values.reshape(self._chunk_shape)
        buffer = np.empty(self._chunk_shape, np.float16) if buffer is None else buffer
        try:
            self._decode(memoryview(data)[offset : offset + length], buffer)
        except (RuntimeError, ValueError) as error:
            raise DamagedCacheError(
                f"{self._file(number)}: the chunk of row {row} cannot be decoded ({error}); {self._remedy}"
            ) from error
        return buffer

    def _zeros(self, row: int, view: int) -> NDArray[np.float16]:
        """A map that has no bytes, where it is one of zeros."""
        zeros = np.zeros(self._chunk_shape, np.float16)
        if not self._digests.matches(row, view, zeros):
            raise DamagedCacheError(
                f"{self._file(row // self._shard)}: the map of row {row}, view {view} is not there; {self._remedy}"
            )
        return zeros

    @property
    def _remedy(self) -> str:
        return remedy(self._folder.parent)

    def _file(self, number: int) -> Path:
        return shard_file(self._folder, number)

    def _open_shard(self, number: int) -> tuple[mmap.mmap, NDArray[np.uint64]]:
        file = self._file(number)
        try:
            with file.open("rb") as handle:
                # Copy-on-write, never written to: torch wants writable memory and nothing may change the file.
                data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise DamagedCacheError(f"{file}: cannot be read ({error}); {self._remedy}") from error
        if len(data) < self._index_bytes:
            raise DamagedCacheError(f"{file}: {len(data)} bytes, too short for its index; {self._remedy}")
        index = data[-self._index_bytes :]
        if google_crc32c.value(index[:-4]) != int.from_bytes(index[-4:], "little"):
            raise DamagedCacheError(f"{file}: its index is not what was written; {self._remedy}")
        entries = np.frombuffer(index, "<u8", 2 * self._shard * self._views)
        return data, entries.reshape(self._shard, self._views, 2)


def _decode_zstd(chunk: memoryview, buffer: NDArray[np.float16]) -> None:
    _expect(_zstd_length(chunk), buffer.nbytes)
    numcodecs.zstd.decompress(chunk, buffer)


def _decode_blosc(chunk: memoryview, buffer: NDArray[np.float16]) -> None:
    _expect(int.from_bytes(chunk[4:8], "little"), buffer.nbytes)
    numcodecs.blosc.decompress(chunk, buffer)


def _zstd_length(chunk: memoryview) -> int:
    """Bytes that a frame says it holds: RFC 8878, 3.1.1.1."""
    flags = chunk[4] if len(chunk) > 4 else 0
    single = bool(flags & 32)
    size = (int(single), 2, 4, 8)[flags >> 6]
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(chunk[start : start + size], "little") + (256 if size == 2 else 0)


def _expect(found: int, expected: int) -> None:
    # Both libraries fill the first part of a map from a chunk of less, and say nothing.
    if found != expected:
        raise ValueError(f"it holds {found} bytes, expected {expected}")


# By zarr's names of a store's codecs: how its chunks are decoded.
_DECODERS: dict[tuple[str, ...], Decode | None] = {
    ("BytesCodec",): None,
    ("BytesCodec", "ZstdCodec"): _decode_zstd,
    ("BytesCodec", "BloscCodec"): _decode_blosc,
}


def fetch(data: mmap.mmap, offset: int, length: int) -> None:
    """Has the system begin to read a part of a file from the disk, where it takes such hints."""
    if hasattr(mmap, "MADV_WILLNEED") and offset + length <= len(data):
        start = offset - offset % mmap.PAGESIZE
        data.madvise(mmap.MADV_WILLNEED, start, offset + length - start)


def shard_file(folder: Path, number: int) -> Path:
    """The file of one shard of a ``features`` array, under zarr's default chunk names."""
    return folder / "c" / str(number) / "0/0/0/0/0"


def shard_maps(root: Path, features: Any, digests: Digests) -> ShardMaps | None:
    """Maps for a store's ``features`` array, or None where another tool wrote chunks that zarr must decode."""
    (sharding,) = features.metadata.codecs
    codecs = tuple(type(codec).__name__ for codec in sharding.codecs)
    if codecs not in _DECODERS:
        return None
    shard, views = features.shards[:2]
    return ShardMaps(
        root / "features",
        chunk_shape=features.chunks[2:],
        shard=shard,
        views=views,
        digests=digests,
        decode=_DECODERS[codecs],
    )
