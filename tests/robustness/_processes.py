"""The command line in processes that can be stopped at a chosen write: forked from this one, or started cold.

A forked child has torch and everything else loaded already; it lives seconds less than a cold one and does the same.
"""

import contextlib
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HUNG_SECONDS = 300.0
BROKEN = 70  # the exit code of a child that could not even begin
_COLD = "from ta2n.cli import main; main()"

Act = Callable[[str, str], None]
"""What happens at a write: given the file and the mode in which it would be opened ("" for any other write)."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, the negative number of the signal that killed it, and what it said."""

    code: int
    stdout: str
    stderr: str
    hung: bool = False

    @property
    def error(self) -> str:
        """Its exit code and the last line of its errors."""
        lines = self.stderr.strip().splitlines()
        return f"exit code {self.code}{', after a long wait' if self.hung else ''}: {lines[-1] if lines else ''}"


class Writes:
    """Counts what a process is about to write below a folder, and does something at one of these writes.

    Every file that is opened for writing, and every name that is made, changed or removed, is one.

    Args:
        folder: whose writes are counted.
        at: the number of a write, from 1; 0 for none.
        act: what to do just before it.
    """

    def __init__(self, folder: Path, at: int = 0, act: Act | None = None) -> None:
        self.folder, self.at, self.act, self.count = str(folder), at, act, 0

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        """Takes an audit event of the interpreter."""
        found = _write_of(event, given)
        if found and found[0].startswith(self.folder):
            self.count += 1
            if self.count == self.at and self.act:
                self.act(*found)


def kill(path: str, mode: str) -> None:
    """Kills this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def tear(path: str, mode: str) -> None:
    """Kills this process when it has written a part of the file that it is about to open."""
    if mode[:1] in ("w", "x", "a"):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode[0] == "a" else os.O_TRUNC))
        os.write(target, b"torn" * 100)
    kill(path, mode)


class Child:
    """A running command; ``pid`` is the process itself."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self._log, self._handle = pid, log, os.pidfd_open(pid)

    def ends_within(self, seconds: float) -> bool:
        """Waits for its end, at most so long."""
        return bool(select.select([self._handle], [], [], seconds)[0])

    def kill(self) -> None:
        """Kills it, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def go_on(self) -> None:
        """Lets it go on where it stands still."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> Ended:
        """Waits for its end; what takes minutes is taken for hanging and killed."""
        hung = not self.ends_within(HUNG_SECONDS)
        if hung:
            self.kill()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._handle)
        stdout, stderr = (self._log.with_suffix(suffix).read_text(errors="replace") for suffix in (".out", ".err"))
        return Ended(code, stdout, stderr, hung)


def start(work: Callable[[], int], log: Path, *, writes: Writes | None = None) -> Child:
    """Starts a function in a forked child.

    Args:
        work: gives the exit code.
        log: where its output goes, with the suffixes ``.out`` and ``.err``; and ``.writes``, how many it made.
        writes: watches it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Newer Pythons warn of forks of a process with threads; those of this one only wait.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return Child(pid, log)
    code = BROKEN
    try:
        for suffix, descriptor in ((".out", 1), (".err", 2)):
            os.dup2(os.open(log.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        if writes:
            sys.addaudithook(writes)
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
        if writes:
            log.with_suffix(".writes").write_text(str(writes.count))
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(code)


def command(arguments: Sequence[str | Path]) -> Callable[[], int]:
    """The command line with some arguments, for a forked child."""

    def run() -> int:
        from ta2n.cli.app import main

        sys.argv = ["ta2n", *(str(argument) for argument in arguments)]
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(bool(end.code))
        return 0

    return run


def cold(arguments: Sequence[str | Path]) -> Callable[[], int]:
    """The command line as a person starts it, in a new interpreter in the place of the child."""

    def run() -> int:
        # As many threads as the forked ones: another number is another order of the same sums.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        texts = [sys.executable, "-c", _COLD, *(str(argument) for argument in arguments)]
        os.execve(sys.executable, texts, environment)

    return run


def warm_up() -> None:
    """Loads what commands load, so that forked children have it; starts no thread."""
    import torch

    import ta2n.cli.app
    import ta2n.pipeline.cache.hdf5.export
    import ta2n.pipeline.commands.evaluate
    import ta2n.pipeline.commands.extract
    import ta2n.pipeline.commands.train_head  # noqa: F401

    torch.set_num_threads(1)


def seconds_of(child: Callable[[], Ended]) -> tuple[Ended, float]:
    """How a child ended, and after how long."""
    begin = time.monotonic()
    return child(), time.monotonic() - begin


def _write_of(event: str, given: tuple[Any, ...]) -> tuple[str, str] | None:
    """The path that an audit event writes, and the mode in which it is opened; None for anything else."""
    if event == "open":
        path, mode, flags = given
        writing = set(mode) & set("wxa+") if mode else flags & (os.O_WRONLY | os.O_RDWR)
        return (os.fsdecode(path), mode or "") if writing and not isinstance(path, int) else None
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"):
        return (os.fsdecode(given[0]), "") if not isinstance(given[0], int) else None
    return None
