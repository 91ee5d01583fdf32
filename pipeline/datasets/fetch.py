"""The published split lists on this machine: fetched once, file by file, and used only with their pinned contents."""

import hashlib
import http.client
import os
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.published import Published

# The repository of TA2N's authors (R00Kie-Liu/TA2N), at the commit whose lists the digests pin.
SOURCE = "https://raw.githubusercontent.com/R00Kie-Liu/TA2N/2becdd8174fe40812ef4c41828b5d9fc20fa95ec/splits"
TIMEOUT_SECONDS = 30.0
# Ten times the longest list: what is larger is not one.
LARGEST_BYTES = 12_000_000


def lists_home() -> Path:
    """The folder of this user that fetched lists are kept in, by the custom of the platform."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        base = Path(named)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "ta2n" / "splits"


def fetch_lists(
    dataset: Published,
    home: Path,
    *,
    source: str = SOURCE,
    on_file: Callable[[str], None] | None = None,
) -> Path:
    """The folder that holds a data set's lists; what is not there yet, or damaged, is fetched.

    A file appears under its name only once its contents are the pinned ones, so that a broken run loses one file.

    Args:
        dataset: whose lists.
        home: the folder to keep lists in, see `lists_home`.
        source: URL of the folder that holds `dataset.lists`.
        on_file: called with the URL of every file before it is fetched.

    Raises:
        MissingError: a list cannot be fetched; the message names what to get, and where to put it.
        InputError: what was fetched is not the pinned file.
    """
    folder = home / dataset.lists
    wanting = [name for name in dataset.digests if digest(folder / name) != dataset.digests[name]]
    for name in wanting:
        url = f"{source}/{dataset.lists}/{name}"
        if on_file:
            on_file(url)
        try:
            content = _get(url)
        except (OSError, http.client.HTTPException) as error:
            urls = ", ".join(f"{source}/{dataset.lists}/{one}" for one in wanting[wanting.index(name) :])
            raise MissingError(
                f"the split lists of {dataset.name} cannot be fetched ({error}); get these files by hand: {urls}; "
                f"put them into {folder}, or into a folder of your own and name it with --splits"
            ) from error
        _check(content, url, dataset.digests[name])
        _write(folder / name, content)
    return folder


def digest(file: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own address
        content: bytes = answer.read(LARGEST_BYTES)
    return content


def _check(content: bytes, url: str, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise InputError(
            f"{url}: gave {len(content)} bytes with SHA-256 {found[:16]}…, expected {expected[:16]}…; nothing was "
            "kept. Try again, or get the list elsewhere and name its folder with --splits"
        )


def _write(file: Path, content: bytes) -> None:
    # One name per process: two runs that fetch at once must not write into one file.
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(file)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise InputError(
            f"{file}: cannot be written ({error.strerror or error}); free the folder, or use --splits"
        ) from error
