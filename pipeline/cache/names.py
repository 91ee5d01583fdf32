"""Names of stores, which are names of files too."""

from pathlib import Path

from ta2n.cache_schema.errors import InputError


def named_store(folder: Path, dataset: str) -> Path:
    """Where in a folder of stores the one of a data set lies.

    Raises:
        InputError: the name would lie elsewhere, or where no command sees it.
    """
    if not dataset or dataset.startswith(".") or any(odd in dataset for odd in ("/", "\\", "\0")):
        raise InputError(
            f"{dataset!r} is no name of a store: expected a plain name in {folder}, without slashes and without a dot "
            "in front; give another --name"
        )
    return folder / f"{dataset}.zarr"
