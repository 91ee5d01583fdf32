"""Layout of a store: a zarr format 3 group, version 1 of the format (docs/cache-format.md).

Every array except ``rows`` has the videos as its first axis and is chunked by the same number of videos, the shard:
whoever writes shard ``i`` writes chunk ``i`` of each array and no other, so writers of different shards never meet.
``state`` is written last, so a reader sees a shard either not at all or whole.
"""

import enum
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.codecs
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError, InputError, MissingError
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable

REASON_BYTES = 240
"""A failure's reason is stored as zero-padded UTF-8 of this many bytes."""

COMPRESSIONS = ("none", "zstd", "lz4")


class State(enum.IntEnum):
    """What a row holds."""

    PENDING = 0
    DONE = 1
    FAILED = 2


def create_store(
    path: Path,
    manifest: Manifest,
    table: VideoTable,
    *,
    map_shape: tuple[int, int, int, int],
    shard_size: int,
    compression: str = "none",
) -> None:
    """Creates an empty store: its arrays first, and last the root that makes a store of them (:func:`is_store`).

    A killed run leaves arrays without a root, which is no store, and which the next call begins anew.

    Args:
        path: the store's folder; made where it is not there.
        manifest: what the features will be.
        table: the rows, fixed from here on.
        map_shape: (C, T, H, W) of one feature map.
        shard_size: videos per shard file.
        compression: ``none`` (read by memory map), ``zstd`` or ``lz4``.

    Raises:
        InputError: ``shard_size`` is not positive, ``compression`` is unknown, the table is empty, or the folder holds
            something else.
    """
    if shard_size < 1:
        raise InputError(f"shard size is {shard_size}, expected at least 1 video")
    if not len(table):
        raise InputError(f"{path}: no video to store; the row table is empty")
    videos, views = len(table), len(manifest.views)
    shard = min(shard_size, videos)
    _refuse_other_things(path)
    compressors = _compressors(compression)
    zarr.create_array(
        path / "features",
        shape=(videos, views, *map_shape),
        dtype="float16",
        chunks=(1, 1, *map_shape),
        shards=(shard, views, *map_shape),
        compressors=compressors,
        filters=None,
        fill_value=0,
        zarr_format=3,
        overwrite=True,
    )
    columns: dict[str, tuple[tuple[int, ...], str]] = {
        "frame_index": ((views, map_shape[1]), "int32"),
        "state": ((views,), "uint8"),
        "digest": ((views,), "uint64"),
        "frame_count": ((), "int32"),
        "fps": ((), "float32"),
        "reason": ((REASON_BYTES,), "uint8"),
    }
    for name, (tail, dtype) in columns.items():
        zarr.create_array(
            path / name,
            shape=(videos, *tail),
            dtype=dtype,
            chunks=(shard, *tail),
            compressors=None,
            filters=None,
            fill_value=0,
            zarr_format=3,
            overwrite=True,
        )
    rows = np.frombuffer(table.to_bytes(), np.uint8)
    options: dict[str, Any] = {"compressors": None, "filters": None, "fill_value": 0, "zarr_format": 3}
    zarr.create_array(path / "rows", data=rows, chunks=rows.shape, overwrite=True, **options)
    zarr.create_group(path, zarr_format=3, attributes={"ta2n": manifest.to_dict()})


def is_store(path: Path) -> bool:
    """Whether a store is there: its root, which is written last and by an atomic rename."""
    return (path / "zarr.json").is_file()


def _refuse_other_things(path: Path) -> None:
    """Refuses a folder that holds anything but what a killed creation leaves."""
    ours = {"features", "rows", "frame_index", "state", "digest", "frame_count", "fps", "reason"}
    if path.is_file():
        raise InputError(f"{path}: is a file; a store is a folder, give another --cache")
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in ours) if path.exists() else []
    others = [name for name in others if not name.endswith(".partial")]
    if others:
        raise InputError(f"{path}: holds {', '.join(others[:3])} and is no feature store; give another --cache folder")


def _compressors(name: str) -> Any:
    # No shuffle: on sparse post-ReLU maps it makes both codecs worse. Level 1 is smaller and faster there than level 3.
    codecs = {
        "none": None,
        "zstd": zarr.codecs.ZstdCodec(level=1),
        "lz4": zarr.codecs.BloscCodec(cname="lz4", shuffle=zarr.codecs.BloscShuffle.noshuffle),
    }
    if name not in codecs:
        raise InputError(f"compression {name!r} is not known; choose one of {', '.join(COMPRESSIONS)}")
    return codecs[name]


def open_store(path: Path, *, write: bool = False) -> tuple[zarr.Group, Manifest, VideoTable]:
    """Opens a store and reads its manifest and row table.

    Raises:
        MissingError: there is no store at ``path``.
        DamagedCacheError: it is not one of ours, or of another schema version.
    """
    if not is_store(path):
        raise MissingError(f"{path}: no feature store there; make one with `ta2n extract --dataset ... --cache ...`")
    try:
        group = zarr.open_group(path, mode="r+" if write else "r", zarr_format=3)
        attributes: dict[str, Any] = dict(group.attrs.asdict())
        manifest = Manifest.from_dict(attributes["ta2n"], source=str(path))
        rows = array(group, "rows")[:]
    except (KeyError, ValueError, OSError) as error:
        if isinstance(error, DamagedCacheError):
            raise
        raise DamagedCacheError(f"{path}: not a ta2n feature store ({error})") from error
    return group, manifest, VideoTable.from_bytes(np.asarray(rows).tobytes(), source=str(path))


def array(group: zarr.Group, name: str) -> Any:
    """An array of the store; untyped, because zarr's indexing has no static types.

    Raises:
        DamagedCacheError: the store has no such array.
    """
    found = group.get(name)
    if not isinstance(found, zarr.Array):
        raise DamagedCacheError(f"{group.store_path}: array {name!r} is missing; extract again")
    return found


def shard_length(group: zarr.Group) -> int:
    """Videos per shard."""
    return int(array(group, "state").chunks[0])


def digest(values: NDArray[np.float16]) -> int:
    """64-bit BLAKE2b of a map's little-endian bytes in C order."""
    raw = np.ascontiguousarray(values, dtype="<f2")
    return int.from_bytes(hashlib.blake2b(raw.data, digest_size=8).digest(), "little")


def encode_reason(text: str) -> NDArray[np.uint8]:
    """A failure's reason as ``REASON_BYTES`` bytes, cut at a character where it is too long."""
    raw = text.encode()
    if len(raw) > REASON_BYTES:
        raw = raw[: REASON_BYTES - 3].decode(errors="ignore").encode() + "…".encode()
    return np.frombuffer(raw.ljust(REASON_BYTES, b"\0"), np.uint8)


def decode_reason(raw: NDArray[np.uint8]) -> str:
    """The reason that :func:`encode_reason` stored."""
    return raw.tobytes().rstrip(b"\0").decode(errors="replace")
