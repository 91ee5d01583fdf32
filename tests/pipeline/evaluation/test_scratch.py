"""Room on disk: where it is, that nothing is left of it, and that memory is not taken for a disk."""

import errno
import os
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.evaluation import scratch as module
from ta2n.pipeline.evaluation.scratch import Scratch, is_memory, scratch_folder

Mount = namedtuple("Mount", "device mountpoint fstype opts")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(3, 4), (1,), (2, 1, 5), (0, 3)])
def test_a_tensor_keeps_what_is_put_into_it_and_shows_in_no_folder(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    values = torch.arange(60)[: torch.Size(shape).numel()].view(shape).to(dtype)
    made = Scratch(tmp_path).empty(shape, dtype)
    made.copy_(values)
    assert (made.shape, made.dtype) == (values.shape, dtype)
    assert torch.equal(made, values)
    assert list(tmp_path.iterdir()) == []


CRASH = """
import os, sys
from pathlib import Path
import torch
from ta2n.pipeline.evaluation.scratch import Scratch
made = Scratch(Path(sys.argv[1])).empty((1000, 1000), torch.float32).fill_(3)
assert made.sum() == 3_000_000
os.kill(os.getpid(), 9)
"""


def test_nothing_is_left_of_a_process_that_was_killed(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_hold_it_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught:
        Scratch(tmp_path).empty((4,), torch.float32)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))


def test_the_nearest_mount_above_a_folder_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    for mounts, memory in (
        ({}, False),
        ({str(tmp_path): "tmpfs"}, True),
        ({str(tmp_path): "ramfs"}, True),
        ({str(tmp_path): "tmpfs", str(tmp_path / "a"): "xfs"}, False),
        ({str(tmp_path / "abc"): "tmpfs"}, False),
    ):
        found = [Mount("x", path, kind, "") for path, kind in {"/": "ext4", **mounts}.items()]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all, found=found: found)  # noqa: A006 (its name)
        assert is_memory(inner) == memory


def test_memory_is_said_once_when_it_is_used_and_counts_as_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    room = Scratch(tmp_path, notes.append)
    monkeypatch.setattr(module, "is_memory", lambda folder: False)
    room.empty((2,), torch.float32)
    assert notes == []
    monkeypatch.setattr(module, "is_memory", lambda folder: True)
    monkeypatch.setattr(module, "free_bytes", lambda device: 1000)
    assert room.free() == 1000
    assert notes == []
    room.empty((2,), torch.float32)
    room.empty((2,), torch.float32)
    assert len(notes) == 1
    assert f"{tmp_path} is a memory file system" in notes[0]


def test_the_folder_is_the_users_else_beside_the_run_else_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scratch_folder(tmp_path, beside=Path("/nowhere/run")) == tmp_path
    (tmp_path / "runs").mkdir()
    assert scratch_folder(None, beside=tmp_path / "runs" / "a") == tmp_path / "runs"
    assert scratch_folder(None, beside=tmp_path / "not" / "yet" / "a") == tmp_path
    monkeypatch.chdir(tmp_path)
    assert scratch_folder(None, beside=Path("runs")) == tmp_path
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "runs")
    assert scratch_folder(None, beside=tmp_path / "runs" / "a") == Path(tempfile.gettempdir())
    assert not (tmp_path / "not").exists()


def test_a_scratch_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for asked in (tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"--scratch .*: not a folder that can be written to"):
            scratch_folder(asked, beside=tmp_path)
