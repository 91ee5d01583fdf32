"""Batches of maps from local files: told to the system beforehand, then copied or decoded by as many threads as pay."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Wanted = Sequence[tuple[int, int]]
"""(row, view) of each map."""

MapOf = Callable[[int, int, NDArray[np.float16]], NDArray[np.float16]]
"""One map: on the file itself where nothing is to be decoded, else in the buffer that is given."""

Check = Callable[[int, int, NDArray[np.float16]], None]
"""Raises where a map is not the one that was written."""

# Less than this to decode is done before a thread has started.
_BYTES_PER_THREAD = 1 << 20
# At least and at most: a disk is waited for by more threads than there are cores.
_THREADS = 4, 16


class LocalReader:
    """Fills batches from files of this machine.

    Args:
        map_of: gives one map, from any thread.
        hint: has the system begin to read some maps from the disk; one by one, each would wait for it alone.
        shape: (videos, views, C, T, H, W).
        compressed: whether maps are decoded.
        check: called with each map at its first reading; None reads them as they are.
    """

    def __init__(
        self,
        map_of: MapOf,
        hint: Callable[[Wanted], None],
        shape: tuple[int, ...],
        *,
        compressed: bool,
        check: Check | None,
    ) -> None:
        self._map_of, self._hint, self._compressed, self._check = map_of, hint, compressed, check
        self._map_bytes = 2 * math.prod(shape[2:])
        self._read_before = np.zeros(shape[:2], bool)

    def read(self, wanted: Wanted, out: Tensor) -> None:
        """Fills ``out`` (B, C, T, H, W), float16 on the CPU and contiguous, with the B maps wanted."""
        if not wanted:
            return
        rows, views = np.asarray(wanted).T
        fresh = ~self._read_before[rows, views]
        # Decoding, and waiting for a disk, take far longer than copying and leave the interpreter free; a copy from the
        # system's cache is as fast as the memory already.
        slow = self._map_bytes * len(wanted) if self._compressed or fresh.any() else 0
        threads = min(len(wanted), slow // _BYTES_PER_THREAD, max(_THREADS[0], min(os.cpu_count() or 1, _THREADS[1])))
        tasks = list(zip(out, wanted, fresh.tolist(), strict=True))
        if threads < 2:
            self._fill(tasks)
        else:
            with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
                for _ in pool.map(self._fill, [tasks[first::threads] for first in range(threads)]):
                    pass
        # Behind the check, so that a damaged map is refused every time.
        self._read_before[rows, views] = True

    def _fill(self, tasks: Sequence[tuple[Tensor, tuple[int, int], bool]]) -> None:
        self._hint([where for _, where, fresh in tasks if fresh])
        for target, (row, view), fresh in tasks:
            buffer = target.numpy()
            found = self._map_of(row, view, buffer)
            if fresh and self._check:
                self._check(row, view, found)
            if found is not buffer:
                # The mode is one of the caller's thread, and perhaps not of this one.
                with torch.inference_mode(target.is_inference()):
                    target.copy_(torch.from_numpy(found))
