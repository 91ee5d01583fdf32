"""One writer at a time: a lock beside what is written, which names who holds it.

The system releases the lock of a process that ends, however it ends, so there is none to clear by hand. Readers never
need it. On a network disk a lock is as good as that disk's.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ta2n.cache_schema.errors import BusyError

OnWait = Callable[[str], None]
"""Gets one line that says who is waited for."""


def lock_file(target: Path) -> Path:
    """The lock beside a store, a file or a run's folder."""
    return target.with_name(f".{target.name}.lock")


@contextmanager
def writing(target: Path, what: str, on_wait: OnWait | None = None) -> Iterator[None]:
    """Holds the lock of ``target`` for the length of a block.

    Args:
        target: the store, file or folder that is written; its parent folder is made.
        what: the command that writes it, for whoever finds the lock held.
        on_wait: called before this waits for another writer to end; None does not wait.

    Raises:
        BusyError: another process, or another thread of this one, holds it, and this does not wait.
    """
    file = lock_file(target.absolute())
    file.parent.mkdir(parents=True, exist_ok=True)
    # Not the lock's own file: some versions of filelock empty that whenever they try to take it.
    holder = file.with_suffix(".holder")
    lock = FileLock(file, thread_local=False)
    _acquire(lock, target, holder, on_wait)
    try:
        holder.write_text(json.dumps(_myself(what)))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, target: Path, holder: Path, on_wait: OnWait | None) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if on_wait is None:
            raise BusyError(
                f"{target}: {_described(holder)} is writing there; let it end and run again, or wait for it with --wait"
            ) from error
        on_wait(f"waiting for {target}: {_described(holder)} is writing there")
        lock.acquire()


def _myself(what: str) -> dict[str, str | int]:
    return {"what": what, "host": socket.gethostname(), "process": os.getpid(), "start": time.strftime("%F %T")}


def _described(holder: Path) -> str:
    try:
        values = json.loads(holder.read_text())
        return f"{values['what']} (process {values['process']} on {values['host']}, since {values['start']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # it has the lock and has not yet written down who it is
