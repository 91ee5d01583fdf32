"""Writing a store, shard by shard; a killed run loses at most the shard in flight."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError, InputError, ManifestMismatchError
from ta2n.cache_schema.layout import (
    ODD,
    array,
    column,
    columns_of,
    create_store,
    is_store,
    open_store,
    shard_length,
)
from ta2n.cache_schema.manifest import SCHEMA_VERSION, Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.cache_schema.values import UNCOUNTED, State, decode_reason, digest, encode_reason
from ta2n.pipeline.cache.left_overs import remove_left_overs

COLUMNS = tuple(columns_of(1, 1))
"""Arrays of a video's values other than ``features``, in the order in which they are written."""


@dataclass
class Shard:
    """The rows of one shard in memory, filled clip by clip and written once.

    Attributes:
        rows: the store's rows it covers.
        ids: of the clips.
        features: (videos, views, C, T, H, W) float16.
        frame_index: (videos, views, T) int32.
        state: (videos, views) uint8 of :class:`State`.
        digest: (videos, views) uint64.
        frame_count: (videos,) int32.
        fps: (videos,) float32, frames per second of the source.
        decoder: (videos,) uint8, places in :data:`~ta2n.cache_schema.layout.DECODERS`.
        concealed: (videos,) int32, errors of the stream that the decoder concealed; -1 where they were not counted.
        reason: (videos, bytes) uint8.
    """

    rows: range
    ids: list[str]
    features: NDArray[np.float16]
    frame_index: NDArray[np.int32]
    state: NDArray[np.uint8]
    digest: NDArray[np.uint64]
    frame_count: NDArray[np.int32]
    fps: NDArray[np.float32]
    decoder: NDArray[np.uint8]
    concealed: NDArray[np.int32]
    reason: NDArray[np.uint8]

    def put(
        self,
        row: int,
        maps: NDArray[np.float16],
        *,
        frame_index: NDArray[np.int32],
        frame_count: int,
        fps: float,
        decoder: int = 0,
        concealed: int = UNCOUNTED,
    ) -> None:
        """Stores the (views, C, T, H, W) maps of one finished clip."""
        place = row - self.rows.start
        self.features[place], self.frame_index[place] = maps, frame_index
        self.digest[place] = [digest(maps[view], self.ids[place], view) for view in range(len(maps))]
        self.frame_count[place], self.fps[place] = frame_count, fps
        self.decoder[place], self.concealed[place] = decoder, concealed
        self.state[place], self.reason[place] = State.DONE, 0

    def fail(self, row: int, reason: str) -> None:
        """Records that a clip cannot be used, and why."""
        place = row - self.rows.start
        self.state[place], self.reason[place] = State.FAILED, encode_reason(reason)


class CacheWriter:
    """A store opened for writing; made when it is not there, continued when it is.

    Attributes:
        path: of the store.
        shard_size: videos of a shard.

    Raises:
        ManifestMismatchError: the store holds features of another kind, or other videos; the message lists the
            differences.
        InputError: the store is of an older version of the format.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        table: VideoTable,
        *,
        map_shape: tuple[int, int, int, int],
        shard_size: int,
        compression: str,
    ) -> None:
        # Whoever writes a store holds its lock, so what is unfinished there is of a process that has ended.
        remove_left_overs(path)
        if not is_store(path):
            create_store(path, manifest, table, map_shape=map_shape, shard_size=shard_size, compression=compression)
        stored, stored_table = self._open(path)
        refuse_mixture(path, stored, manifest, stored_table, table)

    @classmethod
    def of(cls, path: Path) -> "CacheWriter":
        """A store that is there, whatever its features are."""
        writer = cls.__new__(cls)
        writer._open(path)
        return writer

    def _open(self, path: Path) -> tuple[Manifest, VideoTable]:
        self.path = path
        self._group, manifest, self._videos = open_store(path, write=True)
        _refuse_older(path, manifest)
        self.shard_size = shard_length(self._group)
        return manifest, self._videos

    def forget_failures(self) -> None:
        """Marks every failed row as pending, so that it is tried again."""
        for rows in self.shards():
            state = self.column("state", rows)
            if (state == State.FAILED).any():
                state[state == State.FAILED] = State.PENDING
                array(self._group, "state")[rows.start : rows.stop] = state

    def unfinished(self) -> Iterator[tuple[range, list[int]]]:
        """The rows of each shard that has at least one pending row, in order, and its pending rows."""
        for rows in self.shards():
            if pending := self.pending(rows):
                yield rows, pending

    def pending(self, rows: range) -> list[int]:
        """The pending rows among those of one shard."""
        waiting = (self.column("state", rows) == State.PENDING).any(axis=1)
        return [row for row, wanted in zip(rows, waiting.tolist(), strict=True) if wanted]

    def state(self, rows: range) -> NDArray[np.uint8]:
        """(videos, views) :class:`State` of the rows of one shard."""
        state: NDArray[np.uint8] = self.column("state", rows)
        return state

    def counts(self) -> dict[State, int]:
        """How many videos are pending, done and failed."""
        state = column(self._group, "state")
        worst = np.where((state == State.FAILED).any(1), State.FAILED, state.min(1))
        return {kind: int((worst == kind).sum()) for kind in State}

    def failures(self) -> list[tuple[int, str]]:
        """(row, reason) of every failed clip."""
        failed = np.flatnonzero((column(self._group, "state") == State.FAILED).any(axis=1))
        reasons = array(self._group, "reason")
        return [(int(row), decode_reason(reasons[int(row)])) for row in failed]

    def load(self, rows: range) -> Shard:
        """A shard as stored: rows that are done keep their maps when it is written again."""
        shard = self.blank(rows)
        for name in COLUMNS:
            setattr(shard, name, self.column(name, rows))
        # A shard that was never written holds nothing worth reading.
        if shard.state.any():
            shard.features = self.column("features", rows)
        return shard

    def blank(self, rows: range) -> Shard:
        """A shard of pending rows."""
        shapes = {name: array(self._group, name) for name in ("features", *COLUMNS)}
        empty = {name: np.zeros((len(rows), *found.shape[1:]), found.dtype) for name, found in shapes.items()}
        return Shard(rows, self._videos.id[rows.start : rows.stop].tolist(), **empty)

    def commit(self, shard: Shard) -> None:
        """Writes a shard: each array's chunk by an atomic rename, ``state`` last.

        Until the last of them a reader takes the rows for pending, and so does a run that continues after a kill.
        """
        rows = slice(shard.rows.start, shard.rows.stop)
        for name in ("features", *COLUMNS):
            array(self._group, name)[rows] = getattr(shard, name)

    def shards(self) -> Iterator[range]:
        """The rows of each shard, in order."""
        for start in range(0, len(self._videos), self.shard_size):
            yield range(start, min(start + self.shard_size, len(self._videos)))

    def column(self, name: str, rows: range) -> Any:
        """An array's values for the rows of one shard.

        Raises:
            DamagedCacheError: they cannot be read.
        """
        try:
            return array(self._group, name)[rows.start : rows.stop]
        except ODD as error:
            if isinstance(error, DamagedCacheError):
                raise
            raise DamagedCacheError(
                f"{self.path}: its array {name!r} cannot be read in rows {rows.start} to {rows.stop - 1} ({error}); "
                f"`ta2n cache verify --repair {self.path}` mends it"
            ) from error


def _refuse_older(path: Path, stored: Manifest) -> None:
    if stored.schema_version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: is of version {stored.schema_version} of the format, which can be read and not added to; "
            f"`ta2n cache verify --upgrade {path}` makes version {SCHEMA_VERSION} of it"
        )


def refuse_mixture(
    path: Path, stored: Manifest, manifest: Manifest, stored_table: VideoTable, table: VideoTable
) -> None:
    """Refuses to write features of another kind, or of other videos, into a store.

    Args:
        path: of the store, in the error.
        stored: its manifest.
        manifest: of what would be written.
        stored_table: its rows.
        table: rows of what would be written.

    Raises:
        ManifestMismatchError: the message lists the differences.
    """
    _refuse_older(path, stored)
    lines = stored.difference(manifest)
    if stored.split_hash != manifest.split_hash:
        before, now = set(stored_table.id.tolist()), set(table.id.tolist())
        lines += [f"clip only in the store: {name}" for name in sorted(before - now)[:3]]
        lines += [f"clip only in this run: {name}" for name in sorted(now - before)[:3]]
    if lines:
        raise ManifestMismatchError(
            f"{path}: holds other features than this run would add (store -> this run):\n  "
            + "\n  ".join(lines)
            + "\nuse another --cache folder, or the settings of the store"
        )
