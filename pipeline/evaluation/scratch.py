"""Room on disk for what does not fit in memory: files without a name, in a folder of one's choice.

A file without a name goes with its last user, however that ends: nothing is left of a run that was killed.
"""

import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.in_memory import free_bytes

OnNote = Callable[[str], None]

_IN_MEMORY = ("tmpfs", "ramfs")


class Scratch:
    """A folder for temporary tensors.

    Args:
        folder: it.
        on_note: is told, once, when the folder is on a memory file system and used.
    """

    def __init__(self, folder: Path, on_note: OnNote | None = None) -> None:
        self.folder, self._on_note = folder, on_note

    def free(self) -> int:
        """Bytes that could be written there now; on a memory file system, no more than there is memory."""
        free = shutil.disk_usage(self.folder).free
        return min(free, free_bytes(torch.device("cpu"))) if is_memory(self.folder) else free

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor whose values are in a file without a name, which the system keeps in what memory it can spare.

        Raises:
            OSError: the file cannot be made, or the disk cannot hold it.
        """
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.empty(shape, dtype=dtype)
        self._tell(size)
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # Reserved at once: a map of a file that the disk cannot hold ends the process when it is written to.
                if hasattr(os, "posix_fallocate"):  # not on macOS
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
                values = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(self.folder)) from error
        return torch.frombuffer(values, dtype=dtype).view(shape)

    def _tell(self, size: int) -> None:
        if self._on_note and is_memory(self.folder):
            self._on_note(
                f"note: {self.folder} is a memory file system, so the {size / 1e9:.1f} GB that do not fit in memory "
                "take memory there; --scratch FOLDER puts them on a disk"
            )
            self._on_note = None


def scratch_folder(asked: Path | None, *, beside: Path) -> Path:
    """The folder for temporary files.

    Args:
        asked: the user's; None where nobody says.
        beside: the run or the store that is worked on: its own folder, where nobody says and it can be written to; else
            the system's for temporary files.

    Raises:
        InputError: the user's is no folder that can be written to.
    """
    if asked is not None:
        if not _usable(asked):
            raise InputError(f"--scratch {asked}: not a folder that can be written to; make it, or name another")
        return asked
    near = beside.absolute().parent
    while not near.exists():
        near = near.parent
    return near if _usable(near) else Path(tempfile.gettempdir())


def is_memory(folder: Path) -> bool:
    """Whether what is written to a folder takes memory, as on /dev/shm and on many a /tmp."""
    import psutil

    inside = folder.resolve()
    mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    holding = next((path for path in (inside, *inside.parents) if path in mounts), None)
    return holding is not None and mounts[holding] in _IN_MEMORY


def _usable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
