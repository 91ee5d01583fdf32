"""What a disk says, in one line with the file and what to do; and writing that leaves nothing behind."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ta2n.cache_schema.disk import explained, naming, require_file, require_folder, size, write_whole
from ta2n.cache_schema.errors import InputError

NUMBERS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
    errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EEXIST, errno.ELOOP, errno.ENOENT,
)  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_every_error_of_a_disk_is_one_line_with_its_file(number: int, tmp_path: Path) -> None:
    file = tmp_path / "feats" / "clips.zarr"
    line = explained(OSError(number, os.strerror(number), str(file)))
    assert line is not None
    assert line.startswith(str(file))
    assert "\n" not in line
    assert any(word in line for word in ("again", "name", "give", "check", "nothing can be made")), line


def test_a_full_disk_says_what_is_free_and_that_a_run_continues(tmp_path: Path) -> None:
    line = explained(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a" / "b")))
    assert line is not None
    assert "B free there): the disk is full; free some space and run the same command again: it continues" in line


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", "a file"),
        (
            "Can't write data (file write failed: filename = 'x.h5', errno = 28, error message = 'No space left')",
            "x.h5",
        ),
        ("[Errno 28] Unable to synchronously close file (unable to truncate)", "a file"),
    ],
)
@pytest.mark.parametrize("kind", [OSError, RuntimeError, Exception])
def test_libraries_that_tell_it_in_words(kind: Callable[[str], Exception], text: str, file: str) -> None:
    line = explained(kind(text))
    assert line is not None
    assert line.startswith(file)
    assert "the disk is full" in line


@pytest.mark.parametrize(
    "error", [ValueError("12 is not 28"), OSError("something"), KeyError("errno"), OSError(9, "x")]
)
def test_other_errors_are_none_of_a_disk(error: Exception) -> None:
    assert explained(error) is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("failed (os error 28)")])
def test_an_error_without_a_file_gets_the_one_that_was_written(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, naming(tmp_path / "store"):
        raise error
    assert (explained(caught.value) or "").startswith(str(tmp_path / "store"))


def test_a_file_that_is_named_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path):
        (tmp_path / "none").read_bytes()
    assert (explained(caught.value) or "").startswith(str(tmp_path / "none"))


def test_a_folder_is_asked_for_where_one_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert require_folder(tmp_path / "a" / "b", "--out") == tmp_path / "a" / "b"
    for path in (tmp_path / "file", tmp_path / "file" / "a", tmp_path / "file" / "a" / "b"):
        with pytest.raises(InputError, match=r"^--out .*is no folder"):
            require_folder(path, "--out")
    assert require_file(tmp_path / "a" / "x.json", "--report") == tmp_path / "a" / "x.json"
    with pytest.raises(InputError, match=r"^--report .*is a folder, expected the name of a file"):
        require_file(tmp_path, "--report")
    with pytest.raises(InputError, match=r"is no folder"):
        require_file(tmp_path / "file" / "x.json", "--report")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("target", ["loop", "nowhere/at/all"])
def test_a_link_that_leads_nowhere_is_neither_file_nor_folder(tmp_path: Path, target: str) -> None:
    (tmp_path / "loop").symlink_to(target)
    with pytest.raises(InputError, match=r"--report .*is a link that leads nowhere"):
        require_file(tmp_path / "loop", "--report")
    with pytest.raises(InputError, match=r"--out .*is no folder"):
        require_folder(tmp_path / "loop", "--out")
    with pytest.raises(InputError, match=r"--report .*is no folder"):
        require_file(tmp_path / "loop" / "x.json", "--report")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"--out .*cannot be written to; name another folder"):
        require_folder(tmp_path / "a", "--out")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "list.json"
    write_whole(file, b"before")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as opened:
            opened.write(data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(file, b"after")
    assert (explained(caught.value) or "").startswith(str(file))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("list.json", b"before")]


def test_sizes_have_a_unit_that_suits_them() -> None:
    assert [size(count) for count in (0, 999, 1500, 2_500_000, 3.2e9, 7e13)] == [
        "0 B", "999 B", "1.5 kB", "2.5 MB", "3.2 GB", "70.0 TB",
    ]  # fmt: skip
