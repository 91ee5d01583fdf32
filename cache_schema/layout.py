"""Layout of a store: a zarr format 3 group, version 2 of the format (docs/cache-format.md).

Every array of a video's values has the videos as its first axis and is chunked by the same number of videos, the shard:
whoever writes shard ``i`` writes chunk ``i`` of each array and no other, so writers of different shards never meet.
``state`` is written last, so a reader sees a shard either not at all or whole. The row table stands in the group
``videos``, a column an array, with the SHA-256 of each in the attributes of the root.
"""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.codecs
from numpy.typing import NDArray

from ta2n.cache_schema import version1
from ta2n.cache_schema.errors import DamagedCacheError, InputError, MissingError
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.cache_schema.values import DECODERS, REASON_BYTES

COMPRESSIONS = ("none", "zstd", "lz4")

Columns = dict[str, tuple[tuple[int, ...], str]]
"""Shape behind the videos, and type, of arrays by name."""

ELSEWHERE = "extract into another --cache folder, or import an export of this store"
"""What to do where a store has lost what nothing else holds."""

_PLAIN: dict[str, Any] = {
    "compressors": None, "filters": None, "fill_value": 0, "zarr_format": 3, "overwrite": True,
}  # fmt: skip

# What zarr raises on files with flipped bits.
ODD = (AttributeError, LookupError, MemoryError, OSError, OverflowError, RuntimeError, TypeError, ValueError)


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
    _create_columns(path, columns_of(views, map_shape[1]), videos, shard)
    _write_table(path, table)
    zarr.create_group(path, zarr_format=3, attributes=attributes(manifest, table))


def _create_columns(path: Path, columns: Columns, videos: int, shard: int) -> None:
    for name, (tail, dtype) in columns.items():
        chunks = {"shape": (videos, *tail), "chunks": (shard, *tail), "dtype": dtype}
        # A flipped bit of a state or a digest is found when it is read.
        zarr.create_array(path / name, **{**_PLAIN, **chunks, "compressors": [zarr.codecs.Crc32cCodec()]})


def _write_table(path: Path, table: VideoTable) -> None:
    zarr.create_group(path / "videos", zarr_format=3, overwrite=True)
    for name, values in table.columns().items():
        zarr.create_array(path / "videos" / name, data=values, chunks=values.shape, **_PLAIN)


def attributes(manifest: Manifest, table: VideoTable) -> dict[str, Any]:
    """The attributes of a store's root."""
    return {"ta2n": manifest.to_dict(), "videos": table.checksums, "decoders": list(DECODERS)}


def columns_of(views: int, frames: int) -> Columns:
    """Shape behind the videos, and type, of each array of a video's values but ``features``; ``state`` is the last."""
    return {
        "frame_index": ((views, frames), "int32"),
        "digest": ((views,), "uint64"),
        "frame_count": ((), "int32"),
        "fps": ((), "float32"),
        "decoder": ((), "uint8"),
        "concealed": ((), "int32"),
        "reason": ((REASON_BYTES,), "uint8"),
        "state": ((views,), "uint8"),
    }


def is_store(path: Path) -> bool:
    """Whether a store is there: its root, which is written last and by an atomic rename."""
    return (path / "zarr.json").is_file()


def _refuse_other_things(path: Path) -> None:
    """Refuses a folder that holds anything but what a killed creation leaves."""
    ours = {"features", "videos", *columns_of(1, 1)}
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
    """Opens a store of either version and reads its manifest and row table, which must be what was written.

    Raises:
        MissingError: there is no store at ``path``.
        DamagedCacheError: it is not one of ours, or of another schema version, or its row table is another one.
    """
    if not is_store(path):
        raise MissingError(f"{path}: no feature store there; make one with `ta2n extract --dataset ... --cache ...`")
    try:
        group = zarr.open_group(path, mode="r+" if write else "r", zarr_format=3)
        found: dict[str, Any] = dict(group.attrs.asdict())
        manifest = Manifest.from_dict(found["ta2n"], source=str(path))
    except DamagedCacheError:
        raise
    except ODD as error:
        raise DamagedCacheError(f"{path}: not a ta2n feature store ({_one_line(error)})") from error

    def read(name: str) -> NDArray[Any]:
        return column(group, name)

    return group, manifest, table_of(manifest, found.get("videos"), read, source=str(path))


def table_of(manifest: Manifest, checksums: Any, read: Any, *, source: str) -> VideoTable:
    """The row table of a store of either version, compared with its manifest.

    Args:
        manifest: of the store.
        checksums: of the columns, as the store's attributes have them; unused in version 1.
        read: gives an array of the store by name.
        source: names the store in errors.

    Raises:
        DamagedCacheError: it is not the table that the manifest names.
    """
    if manifest.schema_version == 1:
        table, found = version1.read_table(read("rows").tobytes(), source=source)
    else:
        if not isinstance(checksums, dict):
            raise DamagedCacheError(f"{source}: its attributes miss the checksums of the row table")
        table = VideoTable.from_columns(lambda name: read(f"videos/{name}"), checksums, source=source)
        found = table.hash()
    if found != manifest.split_hash:
        raise DamagedCacheError(
            f"{source}: its row table is not the one its manifest names (ids, classes or splits were changed); "
            f"{ELSEWHERE}"
        )
    return table


def array(group: zarr.Group, name: str) -> Any:
    """An array of the store; untyped, because zarr's indexing has no static types.

    Raises:
        DamagedCacheError: the store has no such array, or its description is damaged.
    """
    try:
        found = group.get(name)
    except ODD as error:
        raise _damaged(group, name, _one_line(error)) from error
    if not isinstance(found, zarr.Array):
        raise _damaged(group, name, "is missing")
    return found


def column(group: zarr.Group, name: str) -> NDArray[Any]:
    """A whole array of the store.

    Raises:
        DamagedCacheError: it cannot be read.
    """
    found = array(group, name)
    try:
        return np.asarray(found[:])
    except ODD as error:
        raise _damaged(group, name, _one_line(error)) from error


def _damaged(group: zarr.Group, name: str, problem: str) -> DamagedCacheError:
    path = str(group.store_path).removeprefix("file://")
    remedy = f"`ta2n cache verify --repair {path}` mends it"
    if name == "features" or name.startswith("videos/"):
        remedy = ELSEWHERE
    return DamagedCacheError(f"{path}: its array {name!r} {problem}; {remedy}")


def _one_line(error: BaseException) -> str:
    return f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def shard_length(group: zarr.Group) -> int:
    """Videos per shard."""
    return int(array(group, "state").chunks[0])
