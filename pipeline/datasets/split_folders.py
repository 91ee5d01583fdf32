"""Folders that are named after a split, in any case: `train`, `Training`, `validation` and the like."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.table import SPLITS
from ta2n.pipeline.datasets.listing import Listing, list_folder

NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_of(folder: str) -> str:
    """The split that a folder's name means; empty where it means none."""
    return NAMES.get(folder.lower(), "")


def folders_of_splits(root: Path, folders: Mapping[str, Listing]) -> dict[str, str]:
    """The folder of each split, in the order of the splits; empty where no such folder holds a class folder with clips.

    Args:
        root: the data set.
        folders: the folders in it.

    Raises:
        InputError: two folders with something in them are named after one split.
    """
    named = [folder for folder in folders if split_of(folder)]
    if not any(_holds_clips(root / folder / label) for folder in named for label in folders[folder].folders):
        return {}
    by_split: dict[str, list[str]] = defaultdict(list)
    for folder in named:
        if not folders[folder].is_empty:
            by_split[split_of(folder)].append(folder)
    for split, found in by_split.items():
        if len(found) > 1:
            raise InputError(f"{root}: holds {' and '.join(found)}, which both mean the split {split!r}; leave one.")
    return {split: by_split[split][0] for split in SPLITS if split in by_split}


def refuse_splits_without_classes(root: Path, folders: Mapping[str, Listing], others: Iterable[str]) -> None:
    """Refuses folders named after splits that hold clips directly: which class these clips are of, nothing says.

    One such folder beside others is a class that happens to be called so.

    Args:
        root: the data set.
        folders: the folders in it.
        others: what else it holds that is a clip.

    Raises:
        InputError: names the folders, and how many clips lie directly in each.
    """
    counts = {folder: _clips_directly_in(root / folder, folders[folder]) for folder in folders if split_of(folder)}
    found = {folder: count for folder, count in counts.items() if count}
    beside = any(not (folder in found or listing.is_empty) for folder, listing in folders.items()) or any(others)
    if len(found) > 1 or (found and not beside):
        held = ", ".join(f"{folder} ({count} {'clip' if count == 1 else 'clips'})" for folder, count in found.items())
        raise InputError(
            f"{root}: holds clips directly in the folders of splits, {held}, so that nothing says their classes; lay "
            f"them out as {next(iter(found))}/class/clip."
        )


def _holds_clips(folder: Path) -> bool:
    listing = list_folder(folder)
    return bool(listing.videos) or any(list_folder(folder / inner).is_clip for inner in listing.folders)


def _clips_directly_in(folder: Path, listing: Listing) -> int:
    if listing.is_clip:
        return 1
    return len(listing.videos) + sum(list_folder(folder / inner).is_clip for inner in listing.folders)
