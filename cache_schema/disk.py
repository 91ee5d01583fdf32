"""What a disk says, in words: full, read-only, a file where a folder was expected. Imports nothing heavy."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ta2n.cache_schema.errors import InputError

_AGAIN = "run the same command again: it continues"
_WORDS = {
    errno.ENOSPC: f"the disk is full; free some space and {_AGAIN}",
    errno.EDQUOT: f"the quota of this disk is used up; free some space and {_AGAIN}",
    errno.EFBIG: f"the file would be larger than this system lets it be; raise `ulimit -f`, and {_AGAIN}",
    errno.EROFS: "is on a read-only file system; name a place that can be written to",
    errno.EACCES: "permission denied; name another place, or ask for the permission",
    errno.EPERM: "the system does not permit it; name another place",
    errno.ENOTDIR: "a part of this path is a file, expected a folder; name another place",
    errno.EEXIST: "is a file, expected a folder; name another place",
    errno.EISDIR: "is a folder, expected a file; name another one",
    errno.ENAMETOOLONG: "the name is too long for this file system; give a shorter one",
    errno.ELOOP: "is a link that leads back to itself; name another place",
    errno.EIO: "the disk failed at reading or writing; check the disk, and then run the same command again",
    errno.EMFILE: f"too many files are open; raise `ulimit -n`, and {_AGAIN}",
    errno.ENFILE: f"this machine has too many open files; close some programs, and {_AGAIN}",
    errno.ENOENT: "there is no such file or folder, or nothing can be made there",
    errno.ESTALE: f"the network disk has lost it; check that it is mounted, and {_AGAIN}",
    errno.ETXTBSY: f"another program uses it; let it end, and {_AGAIN}",
}
# How libraries that raise no OSError, or one without a number, tell the system's: HDF5, and programs in Rust.
_NUMBER = re.compile(r"\berrno = (\d+)|\(os error (\d+)\)|\[Errno (\d+)\]")
_FILE = re.compile(r"filename = '([^']*)'")


def explained(error: BaseException) -> str | None:
    """An error of the system in one line: the file, what is wrong, what to do; None for an error of another kind."""
    number = _number(error)
    if number not in _WORDS:
        return None
    file = _file(error)
    if file is None:
        return f"a file: {_WORDS[number]}"
    room = f" ({size(shutil.disk_usage(_existing(Path(file))).free)} free there)" if number == errno.ENOSPC else ""
    return f"{file}{room}: {_WORDS[number]}"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives errors of the system that name no file this one: those of writing never do."""
    try:
        yield
    except Exception as error:
        if _number(error) in _WORDS and _file(error) is None:
            error.filename = str(path)  # type: ignore[attr-defined]
        raise


def write_whole(file: Path, data: bytes) -> None:
    """Writes a file in one step: readers see all of it or nothing, and a failure leaves nothing.

    Raises:
        OSError: with the name of the file.
    """
    partial = file.with_name(f".{file.name}.partial")
    with naming(file):
        try:
            partial.write_bytes(data)
            partial.replace(file)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def require_text(name: str, why: str) -> None:
    """Refuses a name that holds bytes that are not UTF-8, which Python keeps as lone surrogates.

    Args:
        name: of a folder, or a path.
        why: that cannot be, as the end of a sentence.

    Raises:
        InputError: it does.
    """
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InputError(f"{name}: is not UTF-8, and {why}; rename it, or name it by a link that stands elsewhere")


def require_folder(path: Path, flag: str) -> Path:
    """The path itself, where a folder is or could be made.

    Args:
        path: of a folder to write into.
        flag: that names it, in the error.

    Raises:
        InputError: it, or a folder above it, is a file or cannot be written to.
    """
    above = _existing(path)
    if not above.is_dir():
        what = "is no folder" if above == path.absolute() else f"{above} is no folder"
        raise InputError(f"{flag} {path}: {what}, and nothing can be written into it; name another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{flag} {path}: {above} cannot be written to; name another folder")
    return path


def require_file(path: Path, flag: str) -> Path:
    """The path itself, where a file is or could be made; arguments and errors are those of :func:`require_folder`."""
    if path.is_dir():
        raise InputError(f"{flag} {path}: is a folder, expected the name of a file")
    if path.is_symlink() and not path.exists():
        raise InputError(f"{flag} {path}: is a link that leads nowhere; take it away, or name another file")
    require_folder(path.absolute().parent, flag)
    return path


def size(count: float) -> str:
    """Bytes in decimal units, e.g. ``1.6 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _number(error: BaseException) -> int | None:
    """The system's number of an error."""
    if isinstance(error, OSError) and error.errno is not None and error.errno != 0:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(next(group for group in found.groups() if group)) if found else None


def _file(error: BaseException) -> str | None:
    name = getattr(error, "filename", None)
    if name is not None:
        return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None
    found = _FILE.search(str(error))
    return found[1] if found else None


def _existing(path: Path) -> Path:
    """The path, or the nearest one above it that is there; a link that leads nowhere is."""
    path = path.absolute()
    return next((one for one in (path, *path.parents) if one.exists() or one.is_symlink()), Path(path.anchor))
