"""Maps that are read once and stay: in memory, or on the card."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.disk import size
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.cgroup import free_in_groups

PLACES = ("auto", "disk", "ram", "device")
_READ = 64


class InMemory:
    """The maps of some rows, every view, in float16.

    Args:
        cache: the store.
        rows: to keep, (R,).
        device: where to.

    Attributes:
        bytes: that they take.
    """

    def __init__(self, cache: FeatureCache, rows: NDArray[np.int64], device: torch.device) -> None:
        self._place = np.full(len(cache), -1)
        self._place[rows] = np.arange(len(rows))
        self._maps = torch.empty((len(rows), cache.views, *cache.map_shape), dtype=torch.float16, device=device)
        for start in range(0, len(rows), _READ):
            for view in range(cache.views):
                stop = min(start + _READ, len(rows))
                self._maps[start:stop, view] = cache.read(rows[start:stop], view).to(device)

    def holds(self, rows: NDArray[np.int64]) -> bool:
        """Whether all of the rows are kept."""
        return bool((self._place[rows] >= 0).all())

    def read(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """(B, C, T, H, W) float16 of rows (B,) and a view of each, where they are kept."""
        places = torch.from_numpy(self._place[rows] * self._maps.shape[1] + views).to(self._maps.device)
        return self._maps.flatten(0, 1).index_select(0, places)


def keep(cache: FeatureCache, rows: NDArray[np.int64], place: str, device: torch.device) -> InMemory | None:
    """Keeps rows where it is asked for, or where it pays.

    ``auto`` keeps them on a CUDA device where they fit into half of what is free there; else in memory where the
    system's own file cache cannot serve as well, that is for a compressed store, and they fit into half of what is
    free. An uncompressed store on the CPU stays on disk: the maps are in the file cache after their first reading.

    Args:
        cache: the store.
        rows: (R,) that will be read again and again.
        place: ``auto``, ``disk``, ``ram`` or ``device``.
        device: where the head runs.

    Returns:
        What is kept; None where every reading shall go to the store.

    Raises:
        InputError: the place is unknown, or the maps do not fit where they are asked for.
    """
    if place not in PLACES:
        raise InputError(f"--cache-in {place!r} is not known; choose {', '.join(PLACES)}")
    needed = 2 * len(rows) * cache.views * int(np.prod(cache.map_shape))
    on_gpu = device.type == "cuda"
    if place == "auto":
        if on_gpu and needed < free_bytes(device) // 2:
            return InMemory(cache, rows, device)
        fits = needed < free_bytes(torch.device("cpu")) // 2
        return InMemory(cache, rows, torch.device("cpu")) if fits and (on_gpu or cache.compressed) else None
    if place == "disk":
        return None
    where = device if place == "device" else torch.device("cpu")
    free = free_bytes(where)
    if needed > free:
        raise InputError(
            f"--cache-in {place}: {len(rows)} clips of {cache.path} take {size(needed)}, and {size(free)} are free; "
            "use --cache-in disk"
        )
    return InMemory(cache, rows, where)


def free_bytes(device: torch.device) -> int:
    """Bytes that could be taken on a device now; in memory, the limits of containers and batch jobs count."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    machine = int(psutil.virtual_memory().available)
    left = free_in_groups()
    return machine if left is None else min(machine, left)
