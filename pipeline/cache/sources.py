"""Where a cache's values lie: a zarr store, or one HDF5 file; a reader sees no difference."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.cache_schema.layout import array, open_store
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache.local import LocalReader, Wanted
from ta2n.pipeline.cache.shards import shard_file, shard_maps


class Source(Protocol):
    """The values of a cache.

    Attributes:
        path: the store's folder, or the file.
        manifest: what the features are.
        videos: the row table.
        shape: (videos, views, C, T, H, W).
        compressed: whether a map must be decoded to be read.
        shard_size: videos that are written together.
        compression: of the store: ``none``, ``zstd`` or ``lz4``.
    """

    path: Path
    manifest: Manifest
    videos: VideoTable
    shape: tuple[int, ...]
    compressed: bool
    shard_size: int
    compression: str

    def column(self, name: str) -> NDArray[Any]:
        """A whole array of the format other than ``features``."""

    def read(self, wanted: Wanted, out: Tensor) -> None:
        """Fills ``out`` (B, C, T, H, W), float16 on the CPU and contiguous, with the B maps of (row, view) wanted.

        All of a batch at once, so that a source far away can ask for all of it before it waits.

        Raises:
            DamagedCacheError: a map is not there, or cannot be decoded.
        """


class ZarrSource:
    """A zarr store."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._group, self.manifest, self.videos = open_store(path)
        self._features = array(self._group, "features")
        self._maps = shard_maps(path, self._features)
        self.shape = tuple(self._features.shape)
        self.shard_size = int(self._features.shards[0])
        self.compression = _compression(self._features)
        self.compressed = self._maps is None or self.compression != "none"
        self._reader = LocalReader(self.map, self._hint, self.shape, compressed=self.compressed)

    def column(self, name: str) -> NDArray[Any]:
        """A whole array of the format other than ``features``."""
        return np.asarray(array(self._group, name)[:])

    def read(self, wanted: Wanted, out: Tensor) -> None:
        """See :meth:`Source.read`."""
        self._reader.read(wanted, out)

    def map(self, row: int, view: int, buffer: NDArray[np.float16] | None = None) -> NDArray[np.float16]:
        """One (C, T, H, W) map, perhaps in ``buffer`` or on the file itself: to be copied, never changed."""
        if self._maps is not None:
            return self._maps(row, view, buffer)
        # zarr takes a file that is not there for a chunk of zeros; a finished row always has one.
        file = shard_file(self.path / "features", row // self.shard_size)
        if not file.is_file():
            raise DamagedCacheError(f"{file}: cannot be read (it is not there); extract again")
        values: NDArray[np.float16] = self._features[row, view]
        return values

    def _hint(self, wanted: Wanted) -> None:
        if self._maps is not None:
            self._maps.fetch(wanted)


def _compression(features: Any) -> str:
    """The name under which a store was made with the codec of its chunks."""
    (sharding,) = features.metadata.codecs
    names = {"BytesCodec": "none", "ZstdCodec": "zstd", "BloscCodec": "lz4"}
    return names.get(type(sharding.codecs[-1]).__name__, "none")
