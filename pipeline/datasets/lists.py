"""Split lists: files that name the videos of each split, one on a line.

Understood are `Class/video` and longer paths with or without the video's extension (TA2N, TRX), a number for the class
behind every line, and `class//path/to/video` (HyRSM and what is built on it).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.table import SPLITS
from ta2n.pipeline.datasets.fetch import sha256_of
from ta2n.pipeline.datasets.forms import without_suffix
from ta2n.pipeline.datasets.published import NamedDataset

NAMES = {split: re.compile(rf"{split}([_-]?list)?([_-]?few[_-]?shot)?\d*\.(txt|list)", re.I) for split in SPLITS}
USUAL = "trainlist03.txt, train_few_shot.txt or train.txt, and likewise for val and test"
_NUMBER_BEHIND = re.compile(r"[ \t,]+(\d+)$")


@dataclass(frozen=True, slots=True)
class Listed:
    """A video that a list names.

    Attributes:
        id: `class/video`, without extension; unique, and the same on every machine.
        label: its class.
        split: train, val or test.
        folder: the folder that the list expects it in, which mostly has the class's name; "" where it says none.
        name: of the video, without extension.
    """

    id: str
    label: str
    split: str
    folder: str
    name: str


@dataclass(frozen=True)
class SplitLists:
    """The videos of all splits in the order of the lists, and a sentence on everything odd."""

    videos: tuple[Listed, ...]
    notes: tuple[str, ...]


def read_lists(folder: Path, dataset: NamedDataset) -> SplitLists:
    """Reads a data set's lists from the folder that holds them, or from the parent of that folder.

    Lists other than the published ones are taken with a note.

    Raises:
        MissingError: the folder, or a list of train or test, is not there.
        InputError: a list cannot be read, or a class is in two splits.
    """
    files = find_lists(folder, dataset)
    videos: dict[str, Listed] = {}
    notes = [f"There is no list for the split {split!r} in {folder}." for split in SPLITS if split not in files]
    for split, file in files.items():
        if sha256_of(file) not in dataset.digests.values():
            notes.append(f"{file} is not the published list of {dataset.name}: results compare only with its own kind.")
        lines = _lines(file)
        listed = parse_list(lines, split, source=str(file))
        if repeated := len(listed) - len({video.id for video in listed}):
            notes.append(f"{file} names {repeated} videos more than once; they count once.")
        if again := next((video for video in listed if video.id in videos), None):
            raise InputError(f"{file}: names {again.id!r}, which is in the list of {videos[again.id].split!r} as well.")
        videos |= {video.id: video for video in listed}
    kept = tuple(_kept_apart(list(videos.values())))
    _require_disjoint(kept, folder)
    return SplitLists(kept, tuple(notes))


def find_lists(folder: Path, dataset: NamedDataset) -> dict[str, Path]:
    """The list file of each split, below the folder, or below a folder of it with the data set's name.

    Raises:
        MissingError: there are none.
        InputError: there are several for one split.
    """
    places = [folder, folder / dataset.lists, folder / dataset.name]
    for place in places:
        files = {split: _matching(place, NAMES[split]) for split in SPLITS}
        for split, found in files.items():
            if len(found) > 1:
                names = ", ".join(file.name for file in found)
                raise InputError(f"{place}: holds several lists of the split {split!r} ({names}); leave one of them.")
        if files["train"] and files["test"]:
            return {split: found[0] for split, found in files.items() if found}
    where = ", ".join(str(place) for place in places)
    raise MissingError(f"{folder}: no split lists of {dataset.name} in {where}; expected {USUAL}.")


def parse_list(lines: list[str], split: str, *, source: str) -> list[Listed]:
    """The videos of one list; `source` names it in errors.

    Raises:
        InputError: a line is none of the known kinds, or there is no line.
    """
    if not lines:
        raise InputError(f"{source}: the list is empty; expected one Class/video on a line.")
    numbers = [_NUMBER_BEHIND.search(line) for line in lines]
    # A video's name may end in a number, so it is a class only where every line has one; and a class is named by its
    # folder, unless folders tell fewer classes apart than numbers do.
    if not all(numbers):
        return [_parse(line, "", split, source) for line in lines]
    behind = [found.group(1) for found in numbers if found]
    cut = [line[: found.start()] for line, found in zip(lines, numbers, strict=True) if found]
    videos = [_parse(line, number, split, source) for line, number in zip(cut, behind, strict=True)]
    if len({video.label for video in videos}) >= len(set(behind)):
        return videos
    pairs = zip(videos, behind, strict=True)
    return [replace(video, id=f"{number}/{video.name}", label=number) for video, number in pairs]


def _parse(line: str, number: str, split: str, source: str) -> Listed:
    label, named, path = line.partition("//")
    parts = [part for part in (path if named else line).replace("\\", "/").split("/") if part not in ("", ".")]
    name = without_suffix(parts[-1]) if parts else ""
    folder = parts[-2] if len(parts) > 1 else ""
    label = label if named else folder or number
    if not name or not label or ".." in parts:
        raise InputError(f"{source}: cannot read the line {line!r}; expected Class/video.")
    return Listed(f"{label}/{name}", label, split, folder, name)


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as a list ({error}).") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _matching(folder: Path, name: re.Pattern[str]) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if name.fullmatch(file.name))
    except NotADirectoryError as error:
        raise InputError(f"{folder}: is a file; name the folder that holds the split lists.") from error
    except OSError:
        return []


def _kept_apart(videos: list[Listed]) -> Iterable[Listed]:
    """Class numbers that restart in every list are of other classes: 3 becomes train3, val3 and test3."""
    splits: dict[str, set[str]] = {}
    for video in videos:
        splits.setdefault(video.label, set()).add(video.split)
    for video in videos:
        if video.label.isdecimal() and len(splits[video.label]) > 1:
            label = f"{video.split}{video.label}"
            yield replace(video, id=f"{label}/{video.name}", label=label)
        else:
            yield video


def _require_disjoint(videos: Iterable[Listed], folder: Path) -> None:
    seen: dict[str, str] = {}
    for video in videos:
        if seen.setdefault(video.label, video.split) != video.split:
            raise InputError(
                f"{folder}: class {video.label!r} is in the lists of {seen[video.label]!r} and {video.split!r}; "
                "few-shot evaluation needs classes that were never trained on. Are these lists for few-shot learning?"
            )
