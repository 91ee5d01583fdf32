"""What a head computes from one video alone, computed once and kept: on the GPU, in memory or in a file."""

import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.pipeline.cache.in_memory import free_bytes
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.heads import Embedding, Head

_BATCH = 16


class EvalMaps(Protocol):
    """What reads the maps of a test: a :class:`~ta2n.pipeline.cache.loader.MapLoader`, or maps made elsewhere."""

    @property
    def device(self) -> torch.device:
        """Where the maps go."""

    def test(self, rows: NDArray[np.int64]) -> Tensor:
        """(B, C, T, H, W) of rows (B,): their deterministic view."""


class Embeddings:
    """The embeddings of some rows.

    Args:
        kept: by name, the first axis over the rows.
        device: where :meth:`take` puts them.
    """

    def __init__(self, kept: Embedding, device: torch.device) -> None:
        self._kept, self.device = kept, device

    def __len__(self) -> int:
        return len(next(iter(self._kept.values())))

    def take(self, indices: NDArray[np.int64]) -> Embedding:
        """The embeddings at some indices (B,), where the head is; consecutive ones are not copied there, only shown."""
        first, stop = (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 0)
        if np.array_equal(indices, np.arange(first, stop)):
            return {name: kept[first:stop].to(self.device) for name, kept in self._kept.items()}
        index = torch.from_numpy(indices)
        return {name: kept.index_select(0, index.to(kept.device)).to(self.device) for name, kept in self._kept.items()}


def embed_all(
    head: Head,
    loader: EvalMaps,
    rows: NDArray[np.int64],
    shot: int,
    memory_bytes: int | None = None,
    scratch: Scratch | None = None,
) -> Embeddings | None:
    """Embeds every row, in order, and keeps the results in the fastest storage that takes them.

    On a CUDA device they stay there where they fit into half of what is free; else they go to this machine's memory;
    beyond ``memory_bytes`` they spill into files without a name, which the system caches with what memory it has and
    drops when the results are dropped.

    Args:
        head: in the mode it is in.
        loader: reads its maps.
        rows: (R,), at least one.
        shot: K of the episodes to come.
        memory_bytes: of the results in memory; None is half of what is free.
        scratch: the folder of the files; None is the system's for temporary files.

    Returns:
        None where they do not fit in that folder either.
    """
    scratch = scratch or Scratch(Path(tempfile.gettempdir()))
    first = head.embed(loader.test(rows[:_BATCH]), shot=shot)
    size = sum(tensor.nbytes for tensor in first.values()) // len(rows[:_BATCH]) * len(rows)
    storage = _storage(size, loader.device, memory_bytes, scratch)
    if storage is None:
        return None
    kept = {name: _allocate(storage, (len(rows), *tensor.shape[1:]), tensor, scratch) for name, tensor in first.items()}
    for start in range(0, len(rows), _BATCH):
        chosen = rows[start : start + _BATCH]
        part = first if start == 0 else head.embed(loader.test(chosen), shot=shot)
        for name, tensor in part.items():
            kept[name][start : start + len(chosen)].copy_(tensor)
    return Embeddings(kept, loader.device)


def _storage(size: int, device: torch.device, memory_bytes: int | None, scratch: Scratch) -> str | None:
    if device.type == "cuda" and size <= free_bytes(device) // 2:
        return "device"
    if size <= (free_bytes(torch.device("cpu")) // 2 if memory_bytes is None else memory_bytes):
        return "memory"
    # What is written there may not fill the disk that others write to as well.
    return "file" if size <= scratch.free() * 3 // 4 else None


def _allocate(storage: str, shape: tuple[int, ...], like: Tensor, scratch: Scratch) -> Tensor:
    if storage == "file":
        return scratch.empty(shape, like.dtype)
    return torch.empty(shape, dtype=like.dtype, device=like.device if storage == "device" else "cpu")
