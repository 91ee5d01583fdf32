"""Opening a store and reading feature maps from it."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.values import DECODERS, State, decode_reason
from ta2n.pipeline.cache.address import find_address
from ta2n.pipeline.cache.sources import Source

Rows = Sequence[int] | NDArray[np.integer]


class FeatureCache:
    """A feature store, opened for reading.

    Attributes:
        source: where the values lie.
        path: the store's folder, or its HDF5 file.
        manifest: what its features are.
        videos: the row table: id, path, label, split.
        state: (videos, views) of :class:`State`.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.path, self.manifest, self.videos = source, source.path, source.manifest, source.videos
        self.state: NDArray[np.uint8] = source.column("state")

    @classmethod
    def open(cls, path: Path | str, dataset: str | None = None, *, check: bool = True) -> "FeatureCache":
        """Opens the store or HDF5 file at ``path``, or the one inside the folder (see :func:`find_address`).

        Args:
            path: of the store, the file or the folder.
            dataset: which of a folder's stores.
            check: whether each map is compared with its digest at its first reading.
        """
        return cls(find_address(path, dataset).open(check=check))

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of one map."""
        channels, frames, height, width = self.source.shape[2:]
        return channels, frames, height, width

    @property
    def views(self) -> int:
        """Views stored of each video."""
        return self.source.shape[1]

    @property
    def compressed(self) -> bool:
        """Whether maps must be decoded to be read, instead of copied from a memory map."""
        return self.source.compressed

    @property
    def done(self) -> NDArray[np.bool_]:
        """(videos,) whether every view of a video is stored."""
        finished: NDArray[np.bool_] = (self.state == State.DONE).all(axis=1)
        return finished

    def use_splits(self, split: NDArray[np.str_]) -> None:
        """Replaces the split of every row, for a class split other than the one that was extracted with."""
        self.videos = self.videos.with_splits(split)

    def labels(self, split: str) -> NDArray[np.int64]:
        """(videos,) class number of each usable row of a split, and -1 for every other row.

        Numbers follow the sorted class names of the whole store, so that they do not depend on what failed.

        Raises:
            InputError: no row belongs to the split.
        """
        inside = self.videos.split == split
        if not inside.any():
            found = ", ".join(repr(str(name)) for name in np.unique(self.videos.split))
            raise InputError(f"{self.path}: no clip belongs to split {split!r}; the store has {found}")
        labels: NDArray[np.int64] = np.where(inside & self.done, self.videos.label_number.astype(np.int64), -1)
        return labels

    @cached_property
    def frame_count(self) -> NDArray[np.int32]:
        """(videos,) decodable frames of each source clip; 0 where it was not decoded."""
        counts: NDArray[np.int32] = self.source.column("frame_count")
        return counts

    def frame_index(self, rows: Rows) -> NDArray[np.int32]:
        """(B, views, T) source frame of each step."""
        index: NDArray[np.int32] = self.source.column("frame_index")[np.asarray(rows)]
        return index

    def digests(self) -> NDArray[np.uint64]:
        """(videos, views) digest of each map as it was written."""
        return self.source.digests.stored

    def concealed(self) -> list[tuple[str, str, int]]:
        """(id, decoder, errors) of every clip whose stream held errors that its decoder concealed; most first."""
        errors, decoders = self.source.column("concealed"), self.source.column("decoder")
        rows = np.flatnonzero(errors > 0)
        rows = rows[np.argsort(-errors[rows], kind="stable")]
        names = dict(enumerate(DECODERS))
        return [(str(self.videos.id[row]), names.get(int(decoders[row]), ""), int(errors[row])) for row in rows]

    def decoders(self) -> dict[str, int]:
        """How many finished clips each decoder gave; those of an older store are not told."""
        used = self.source.column("decoder")[self.done]
        return {name or "not told": int((used == place).sum()) for place, name in enumerate(DECODERS) if place in used}

    def pending(self) -> list[str]:
        """A line on the clips that are not extracted yet, and take no part in anything; none where all are."""
        count = int((self.state == State.PENDING).any(axis=1).sum())
        if not count:
            return []
        return [
            f"note: {count} of the {len(self)} clips of {self.path} are not extracted yet, and are left out; the same "
            "`ta2n extract` goes on with them"
        ]

    def failures(self) -> list[tuple[str, str]]:
        """(id, reason) of every clip that could not be used."""
        failed = np.flatnonzero((self.state == State.FAILED).any(axis=1))
        reasons = self.source.column("reason")
        return [(str(self.videos.id[row]), decode_reason(reasons[row])) for row in failed]

    def read(self, rows: Rows, view: int | Rows = 0, *, dtype: torch.dtype = torch.float16) -> Tensor:
        """Reads feature maps.

        Args:
            rows: B row numbers, in any order, repeats allowed.
            view: which view, one for all rows or one for each; 0 is the deterministic test view.
            dtype: of the result: float16 (as stored) or float32.

        Returns:
            (B, C, T, H, W) on the CPU.

        Raises:
            InputError: a row or view is out of range, or the clip of a row failed or was not extracted yet.
        """
        rows = np.asarray(rows, dtype=np.int64).reshape(-1)
        views = np.broadcast_to(np.asarray(view, dtype=np.int64), rows.shape)
        self._check(rows, views)
        out = torch.empty((len(rows), *self.map_shape), dtype=torch.float16)
        self.source.read(list(zip(rows.tolist(), views.tolist(), strict=True)), out)
        return out.to(dtype)

    def _check(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> None:
        if not len(rows):
            return
        if not 0 <= views.min() <= views.max() < self.views:
            odd = views[(views < 0) | (views >= self.views)][0]
            raise InputError(f"{self.path}: view {odd} is not stored; it holds views 0 to {self.views - 1}")
        if not 0 <= rows.min() <= rows.max() < len(self):
            raise InputError(
                f"{self.path}: rows {rows.min()}..{rows.max()} asked for, the store has 0..{len(self) - 1}"
            )
        unusable = np.flatnonzero(self.state[rows, views] != State.DONE)
        if len(unusable):
            row = int(rows[unusable[0]])
            why = "failed" if (self.state[row] == State.FAILED).any() else "is not extracted yet"
            raise InputError(
                f"{self.path}: clip {str(self.videos.id[row])!r} (row {row}) {why}; leave it out of episodes"
            )
