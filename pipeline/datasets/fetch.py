"""The published split lists on this machine: fetched once, file by file, and used only with their pinned contents."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.published import NamedDataset

TIMEOUT_SECONDS = 30.0


def lists_home() -> Path:
    """The folder of this user that fetched lists are kept in, by the custom of the platform."""
    import pooch  # imported where it is used: few calls fetch anything

    return Path(pooch.os_cache("ta2n")) / "splits"


def fetch_lists(
    dataset: NamedDataset, home: Path, *, source: str | None = None, on_file: Callable[[str], None] | None = None
) -> Path:
    """The folder that holds a data set's lists; what is not there yet, or damaged, is fetched.

    A file appears under its name only once its contents are the pinned ones, so that a broken run loses one file.

    Args:
        dataset: whose lists.
        home: the folder to keep lists in, see `lists_home`.
        source: URL of the folder that holds `dataset.lists`; None is the data set's own.
        on_file: called with the URL of every file before it is fetched.

    Raises:
        MissingError: a list cannot be fetched; the message names what to get, and where to put it.
        InputError: what was fetched is not the pinned file, or the folder cannot be written.
    """
    folder = home / dataset.lists
    wanting = [name for name, pin in dataset.digests.items() if sha256_of(folder / name) != pin]
    urls = {name: f"{source or dataset.source}/{dataset.lists}/{name}" for name in wanting}
    for place, (name, url) in enumerate(urls.items()):
        if on_file:
            on_file(url)
        try:
            _fetch(url, dataset.digests[name], folder / name)
        except ConnectionError as error:
            left = ", ".join(list(urls.values())[place:])
            raise MissingError(
                f"the split lists of {dataset.name} cannot be fetched ({error}); get these files by hand: {left}; "
                f"put them into {folder}, or into a folder of your own and name it with --splits"
            ) from error
    return folder


def sha256_of(file: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _fetch(url: str, pin: str, file: Path) -> None:
    """One file, with its pinned contents or not at all; ConnectionError where it cannot be had."""
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("ERROR")  # what is fetched is told by on_file
    try:
        # A checkout of an earlier fetch that was damaged is replaced, which pooch does for a file of another hash.
        pooch.retrieve(url, known_hash=f"sha256:{pin}", fname=file.name, path=file.parent, downloader=_download)
    except ValueError as error:
        raise InputError(
            f"{url}: gave a file with another SHA-256 than the pinned {pin[:16]}…; nothing was kept. Try again, or get "
            "the list elsewhere and name its folder with --splits"
        ) from error
    except RequestException as error:
        raise ConnectionError(str(error)) from error
    except OSError as error:
        raise InputError(
            f"{file}: cannot be written ({error.strerror or error}); free the folder, or use --splits"
        ) from error


def _download(url: str, file: str, _: object) -> None:
    # Not pooch's own: that leaves the connection of a refused request open.
    import requests

    with requests.get(url, timeout=TIMEOUT_SECONDS) as answer:
        answer.raise_for_status()
        Path(file).write_bytes(answer.content)
