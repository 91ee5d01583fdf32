"""A small store of random maps with class structure, for tests that need a cache and no video."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache.writer import CacheWriter


def manifest(
    table: VideoTable, *, views: int = 1, frames: int = 4, backbone: str = "toy", weights_sha256: str = "0" * 64
) -> Manifest:
    return Manifest(
        dataset="toy",
        split_hash=table.hash(),
        backbone=backbone,
        weights="none",
        weights_sha256=weights_sha256,
        layer="last",
        preprocessing={"crop": 8, "mean": [0.0, 0.0, 0.0]},
        sampling={"rule": "tsn", "frames": frames, "seed": 0},
        decoder="none 0",
        views=tuple(f"view {view}" for view in range(views)),
        ta2n_version="0",
    )


def table(classes_per_split: int = 6, clips_per_class: int = 8) -> VideoTable:
    rows = [
        (f"{split}/{split}{number}/{clip}.avi", f"{split}/{split}{number}/{clip}.avi", f"{split}{number}", split)
        for split in ("train", "val", "test")
        for number in range(classes_per_split)
        for clip in range(clips_per_class)
    ]
    return VideoTable.from_rows(rows, root="videos")


def relabelled(videos: VideoTable, labels: Sequence[str]) -> VideoTable:
    """The same rows with other classes."""
    columns = (videos.id.tolist(), videos.path.tolist(), labels, videos.split.tolist())
    return VideoTable.from_rows(list(zip(*columns, strict=True)), root=videos.root)


def maps_of(
    videos: VideoTable, map_shape: tuple[int, int, int, int], *, views: int = 1, signal: float = 1.0
) -> NDArray[np.float16]:
    """(videos, views, C, T, H, W): noise around a random map of each class, ``signal`` apart."""
    generator = np.random.default_rng(7)
    _, labels = np.unique(videos.label, return_inverse=True)
    centres = generator.standard_normal((labels.max() + 1, *map_shape))
    noise = generator.standard_normal((len(videos), views, *map_shape))
    return (signal * centres[labels][:, None] + noise).astype(np.float16)


def write_cache(
    folder: Path,
    *,
    videos: VideoTable | None = None,
    map_shape: tuple[int, int, int, int] = (6, 4, 3, 3),
    views: int = 1,
    shard_size: int = 10,
    compression: str = "none",
    signal: float = 1.0,
    failed: tuple[int, ...] = (),
    weights_sha256: str = "0" * 64,
) -> Path:
    """Writes ``folder/toy.zarr`` through the real writer and returns its path."""
    videos = videos if videos is not None else table()
    maps = maps_of(videos, map_shape, views=views, signal=signal)
    path = folder / "toy.zarr"
    writer = CacheWriter(
        path,
        manifest(videos, views=views, frames=map_shape[1], weights_sha256=weights_sha256),
        videos,
        map_shape=map_shape,
        shard_size=shard_size,
        compression=compression,
    )
    for rows, pending in writer.unfinished():
        shard = writer.load(rows)
        for row in pending:
            if row in failed:
                shard.fail(row, "broken on purpose")
            else:
                index = np.tile(np.arange(map_shape[1], dtype=np.int32), (views, 1))
                shard.put(row, maps[row], frame_index=index, frame_count=map_shape[1], fps=25.0)
        writer.commit(shard)
    return path
