"""Stores of synthetic maps, as large as asked for and quick to make."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache.writer import CacheWriter, Shard

Shape = tuple[int, int, int, int]
Maps = NDArray[np.float16]

# Parts of a channel, of a place in it and of a number in what decides whether a number is above zero: with these,
# maps are about as sparse, and compress about as well, as real ones.
_CHANNEL, _PLACE, _NUMBER = 0.8, 0.5, 0.3
_THRESHOLD = 1.04  # leaves 15 % of normal numbers


def sparse_map(shape: Shape, generator: np.random.Generator) -> Maps:
    """A (C, T, H, W) map as it is behind a ReLU: about 85 % zeros, mostly in the same channels and places."""
    C, T, H, W = shape
    channel = generator.standard_normal((C, 1, 1, 1), np.float32)
    place = generator.standard_normal((C, 1, H, W), np.float32)
    number = generator.standard_normal((C, T, H, W), np.float32)
    values = _CHANNEL * channel + _PLACE * place + _NUMBER * number
    values -= np.float32(_THRESHOLD * np.linalg.norm([_CHANNEL, _PLACE, _NUMBER]))
    return np.asarray(np.maximum(values, 0), np.float16)


def table_of(videos: int, clips_per_class: int = 20, splits: tuple[str, ...] = ("train", "val", "test")) -> VideoTable:
    """Rows of as many videos, in classes that take turns in the splits."""
    rows = []
    for number in range(videos):
        label = number // clips_per_class
        name = f"class{label:05d}/{number:06d}.avi"
        rows.append((name, name, f"class{label:05d}", splits[label % len(splits)]))
    return VideoTable.from_rows(rows, root="videos")


def write_store(
    path: Path, videos: VideoTable, shape: Shape, map_of: Callable[[int], Maps], *, compression: str, shard_size: int
) -> Path:
    """Writes a store of one view shard by shard, through the writer of extraction.

    Args:
        path: of the store.
        videos: its rows.
        shape: (C, T, H, W).
        map_of: gives the map of a row.
        compression: ``none``, ``zstd`` or ``lz4``.
        shard_size: videos in a shard.
    """
    manifest = Manifest(
        dataset=path.stem,
        split_hash=videos.hash(),
        backbone="synthetic",
        weights="none",
        weights_sha256="0" * 64,
        layer="last",
        preprocessing={},
        sampling={"rule": "tsn", "frames": shape[1], "seed": 0},
        decoder="none 0",
        views=("view 0",),
        ta2n_version="0",
    )
    writer = CacheWriter(path, manifest, videos, map_shape=shape, shard_size=shard_size, compression=compression)
    index = np.arange(shape[1], dtype=np.int32)[None]
    for rows in writer.shards():
        shard: Shard = writer.load(rows)
        for row in rows:
            shard.put(row, map_of(row)[None], frame_index=index, frame_count=shape[1], fps=25.0)
        writer.commit(shard)
    return path
