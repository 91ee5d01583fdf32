"""Opening a store and reading feature maps from it."""

import dataclasses
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.layout import State, decode_reason
from ta2n.pipeline.cache.hdf5.source import SUFFIXES, Hdf5Source, is_export
from ta2n.pipeline.cache.sources import Source, ZarrSource

Rows = Sequence[int] | NDArray[np.integer]

# Less than this to decode is done before a thread has started.
_BYTES_PER_THREAD = 1 << 20
# At least and at most: a disk is waited for by more threads than there are cores.
_THREADS = 4, 16


def find_store(path: Path | str, dataset: str | None = None) -> Path:
    """The store meant by a path: the store or HDF5 file itself, or the one inside a folder of them.

    Raises:
        MissingError: there is none.
        InputError: the folder holds several and ``dataset`` does not choose one.
    """
    path = Path(path)
    if (path / "zarr.json").is_file() or path.suffix in SUFFIXES:
        return path
    stores = stores_in(path)
    names = ", ".join(stores)
    if dataset is not None:
        if dataset not in stores:
            raise MissingError(f"{path}: no store of data set {dataset!r} there; found: {names or 'none'}")
        return stores[dataset]
    if not stores:
        raise MissingError(f"{path}: no feature store there; make one with `ta2n extract --dataset ... --cache {path}`")
    if len(stores) > 1:
        raise InputError(f"{path}: holds several stores ({names}); name one, e.g. {next(iter(stores.values()))}")
    return next(iter(stores.values()))


def stores_in(folder: Path) -> dict[str, Path]:
    """The stores of a folder by data set; of a store and an HDF5 file of one name, the store."""
    found = [path for suffix in SUFFIXES for path in folder.glob(f"*{suffix}") if is_export(path)]
    found += folder.glob("*.zarr")
    return dict(sorted({path.stem: path for path in found if not path.name.startswith(".")}.items()))


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
        self._read_before = np.zeros(self.state.shape, bool)

    @classmethod
    def open(cls, path: Path | str, dataset: str | None = None) -> "FeatureCache":
        """Opens the store or HDF5 file at ``path``, or the one inside the folder ``path`` (see :func:`find_store`)."""
        found = find_store(path, dataset)
        return cls(Hdf5Source(found) if found.suffix in SUFFIXES else ZarrSource(found))

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
        self.videos = dataclasses.replace(self.videos, split=split)

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
        _, numbers = np.unique(self.videos.label, return_inverse=True)
        labels: NDArray[np.int64] = np.where(inside & self.done, numbers, -1)
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
        digests: NDArray[np.uint64] = self.source.column("digest")
        return digests

    def failures(self) -> list[tuple[str, str]]:
        """(id, reason) of every clip that could not be used."""
        failed = np.flatnonzero((self.state == State.FAILED).any(axis=1))
        reasons = self.source.column("reason")
        return [(str(self.videos.id[row]), decode_reason(reasons[row])) for row in failed]

    def read(
        self, rows: Rows, view: int | Rows = 0, *, dtype: torch.dtype = torch.float16, out: Tensor | None = None
    ) -> Tensor:
        """Reads feature maps.

        Args:
            rows: B row numbers, in any order, repeats allowed.
            view: which view, one for all rows or one for each; 0 is the deterministic test view.
            dtype: of the result when ``out`` is not given: float16 (as stored) or float32.
            out: a (B, C, T, H, W) tensor to fill, of either type. A reused batch saves the page faults of a fresh one.

        Returns:
            (B, C, T, H, W) on the CPU; ``out`` itself where given.

        Raises:
            InputError: a row or view is out of range, or the clip of a row failed or was not extracted yet.
        """
        rows = np.asarray(rows, dtype=np.int64).reshape(-1)
        views = np.broadcast_to(np.asarray(view, dtype=np.int64), rows.shape)
        self._check(rows, views)
        shape = (len(rows), *self.map_shape)
        if out is None:
            out = torch.empty(shape, dtype=dtype)
        elif out.shape != shape:
            raise InputError(f"out has shape {tuple(out.shape)}, expected {shape}")
        fresh = ~self._read_before[rows, views]
        self._read_before[rows, views] = True
        wanted = list(zip(out, rows.tolist(), views.tolist(), fresh.tolist(), strict=True))
        # Decoding, and waiting for a disk, take far longer than copying and leave the interpreter free; a copy from the
        # system's cache is as fast as the memory already.
        slow = 2 * math.prod(shape) if self.compressed or fresh.any() else 0
        threads = min(len(wanted), slow // _BYTES_PER_THREAD, max(_THREADS[0], min(os.cpu_count() or 1, _THREADS[1])))
        if threads < 2:
            self._fill(wanted)
            return out
        with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
            for _ in pool.map(self._fill, [wanted[first::threads] for first in range(threads)]):
                pass
        return out

    def _fill(self, wanted: Sequence[tuple[Tensor, int, int, bool]]) -> None:
        """Reads (row, view) into a map each, straight into those that are of the stored type; True is a first time."""
        self.source.fetch([(row, view) for _, row, view, fresh in wanted if fresh])
        room = np.empty(self.map_shape, np.float16)
        for target, row, view, _ in wanted:
            direct = target.dtype == torch.float16 and target.device.type == "cpu" and target.is_contiguous()
            own = target.numpy() if direct else room
            found = self.source.map(row, view, own)
            if found is not own or not direct:
                # The mode is one of the caller's thread, and perhaps not of this one.
                with torch.inference_mode(target.is_inference()):
                    target.copy_(torch.from_numpy(found))

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
            raise InputError(f"{self.path}: clip {self.videos.id[row]!r} (row {row}) {why}; leave it out of episodes")
