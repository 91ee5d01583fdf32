"""Where a cache's values lie: a zarr store, or one HDF5 file; a reader sees no difference."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.cache_schema.layout import ELSEWHERE, ODD, array, column, open_store
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache.digests import Digests
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
        digests: of its maps.
    """

    path: Path
    manifest: Manifest
    videos: VideoTable
    shape: tuple[int, ...]
    compressed: bool
    shard_size: int
    compression: str
    digests: Digests

    def column(self, name: str) -> NDArray[Any]:
        """A whole array of the format other than ``features``."""

    def read(self, wanted: Wanted, out: Tensor) -> None:
        """Fills ``out`` (B, C, T, H, W), float16 on the CPU and contiguous, with the B maps of (row, view) wanted.

        All of a batch at once, so that a source far away can ask for all of it before it waits.

        Raises:
            DamagedCacheError: a map is not there, cannot be decoded, or is not what was written.
        """


class ZarrSource:
    """A zarr store.

    Args:
        path: its folder.
        check: whether each map is compared with its digest at its first reading.

    Raises:
        MissingError: there is no store.
        DamagedCacheError: it is not one of ours, or its arrays are not those of its manifest.
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        self.path = path
        self._group, self.manifest, self.videos = open_store(path)
        self._features = array(self._group, "features")
        self.digests = Digests(path, self.manifest, self.videos, self.column)
        try:
            self.shape = _shape(self._features, len(self.videos), len(self.manifest.views))
            self._maps = shard_maps(path, self._features, self.digests)
            self.shard_size = int(self._features.shards[0])
            self.compression = compression_of(self._features)
        except ODD as error:
            raise DamagedCacheError(
                f"{path}: its array 'features' is not that of its manifest ({error}); {ELSEWHERE}"
            ) from error
        self.compressed = self._maps is None or self.compression != "none"
        self._reader = LocalReader(
            self.map,
            self._hint,
            self.shape,
            compressed=self.compressed,
            check=self.digests.check if check else None,
        )

    def column(self, name: str) -> NDArray[Any]:
        """A whole array of the format other than ``features``."""
        if self.manifest.schema_version == 1 and name in ("decoder", "concealed"):
            return np.zeros(len(self.videos), np.uint8 if name == "decoder" else np.int32)
        values = column(self._group, name)
        if len(values) != len(self.videos):
            raise DamagedCacheError(
                f"{self.path}: its array {name!r} has {len(values)} videos, expected {len(self.videos)}; `ta2n cache "
                f"verify --repair {self.path}` mends it"
            )
        return values

    def read(self, wanted: Wanted, out: Tensor) -> None:
        """See :meth:`Source.read`."""
        self._reader.read(wanted, out)

    def map(self, row: int, view: int, buffer: NDArray[np.float16] | None = None) -> NDArray[np.float16]:
        """One (C, T, H, W) map, perhaps in ``buffer`` or on the file itself: to be copied, never changed."""
        if self._maps is not None:
            return self._maps(row, view, buffer)
        values: NDArray[np.float16] = self._features[row, view]
        # zarr takes a file that is not there for a chunk of zeros.
        if not shard_file(self.path / "features", row // self.shard_size).is_file():
            self.digests.check(row, view, values)
        return values

    def _hint(self, wanted: Wanted) -> None:
        if self._maps is not None:
            self._maps.fetch(wanted)


def _shape(features: Any, videos: int, views: int) -> tuple[int, ...]:
    shape = tuple(int(length) for length in features.shape)
    if len(shape) != 6 or shape[:2] != (videos, views) or features.dtype != np.float16:
        raise ValueError(f"{features.dtype} of shape {shape}, expected float16 of {videos} videos and {views} views")
    if features.chunks[:2] != (1, 1) or features.chunks[2:] != shape[2:] or features.shards[1:] != shape[1:]:
        raise ValueError(f"chunks of {features.chunks} in shards of {features.shards} for a shape of {shape}")
    return shape


def compression_of(features: Any) -> str:
    """The name under which a store was made with the codec of its chunks."""
    (sharding,) = features.metadata.codecs
    names = {"BytesCodec": "none", "ZstdCodec": "zstd", "BloscCodec": "lz4"}
    return names.get(type(sharding.codecs[-1]).__name__, "none")
