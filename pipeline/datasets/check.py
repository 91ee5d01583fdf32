"""What a copy of a data set holds and lacks, class by class, and which episodes it still allows."""

import difflib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ta2n.cache_schema.table import SPLITS
from ta2n.pipeline.datasets.forms import without_suffix
from ta2n.pipeline.datasets.lists import Listed
from ta2n.pipeline.datasets.match import Matches, alike, match
from ta2n.pipeline.datasets.published import NamedDataset
from ta2n.pipeline.datasets.scan import Copy

# Bounds on the search for names that almost match: at most this many missing videos, each with so many candidates.
SEARCHED_VIDEOS = 100
SEARCHED_NAMES = 300
ALMOST = 0.8


@dataclass(frozen=True)
class ClassCheck:
    """One class of the lists.

    Attributes:
        label: its name.
        split: the split it is in.
        listed: videos in the list; each is exactly one of the next four.
        found: can be used.
        missing: no clip on disk matches.
        duplicate: several clips match equally well, so that none is used.
        unreadable: an empty file, a folder without frames, or something that may not be read.
        extra: clips in the class's folder that the list does not name.
    """

    label: str
    split: str
    listed: int
    found: int
    missing: int
    duplicate: int
    unreadable: int
    extra: int


@dataclass(frozen=True)
class SplitCheck:
    """One split: the sums over its classes, and whether episodes are possible.

    Attributes:
        split: its name.
        classes: in the list.
        enough: classes with at least shot + queries clips that were found.
        possible: whether these are at least `way`.
        listed, found, missing, duplicate, unreadable, extra: as for a class.
    """

    split: str
    classes: int
    enough: int
    possible: bool
    listed: int
    found: int
    missing: int
    duplicate: int
    unreadable: int
    extra: int


@dataclass(frozen=True)
class Check:
    """Everything known about a copy.

    Attributes:
        found: path of every clip that can be used, by the video's id.
        missing: ids of the videos that are not there.
        duplicates: the clips in question, by id.
        unreadable: what is wrong, by id.
        classes: in the order of the lists.
        splits: train, val, test, as far as there are any.
        rules: how many videos each rule of `match` found.
        extra: clips that no list names.
        copies: further clips of videos that were found by a better name, and further forms of clips.
        almost: a name on disk that looks like that of a missing video, by its id.
    """

    found: Mapping[str, str]
    missing: tuple[str, ...]
    duplicates: Mapping[str, list[str]]
    unreadable: Mapping[str, str]
    classes: tuple[ClassCheck, ...]
    splits: tuple[SplitCheck, ...]
    rules: Mapping[str, int]
    extra: tuple[str, ...]
    copies: tuple[str, ...]
    almost: Mapping[str, str]


def check_copy(
    videos: Sequence[Listed], copy: Copy, dataset: NamedDataset, *, way: int, shot: int, queries: int
) -> Check:
    """Sets the videos of a data set's lists against the clips of a copy.

    One stat per clip that matches finds the empty and the forbidden ones; nothing is opened.
    """
    matches = match(videos, copy.clips, dataset)
    lacking = [video for video in videos if video.id not in matches.found and video.id not in matches.doubtful]
    broken: dict[str, str] = {}
    for kind, folders in (("the folder is empty", copy.empty), ("the folder cannot be listed", copy.unlisted)):
        broken |= {name: f"{path}: {kind}" for name, path in match(lacking, folders, dataset).found.items()}
    missing = [video for video in lacking if video.id not in broken]
    matches.extra += copy.unnameable
    matches.copies += copy.forms
    near = {} if dataset.numbered else almost(missing, matches.extra)
    return _check(videos, matches, copy.root, broken, near, way=way, enough=shot + queries)


def check_clips(
    videos: Sequence[Listed], paths: Mapping[str, str], root: Path, *, way: int, shot: int, queries: int
) -> Check:
    """The same for a folder that is its own list: every video has its path, and none can be missing."""
    return _check(videos, Matches(found=dict(paths)), root, {}, {}, way=way, enough=shot + queries)


def _check(
    videos: Sequence[Listed],
    matches: Matches,
    root: Path,
    broken: Mapping[str, str],
    near: Mapping[str, str],
    *,
    way: int,
    enough: int,
) -> Check:
    troubles = {name: why for name, path in matches.found.items() if (why := trouble(root, path))}
    unreadable = {**troubles, **broken}
    found = {name: path for name, path in matches.found.items() if name not in troubles}
    classes = tuple(_classes(videos, found, matches, unreadable))
    return Check(
        found=found,
        missing=tuple(
            video.id
            for video in videos
            if not any(video.id in ids for ids in (matches.found, matches.doubtful, unreadable))
        ),
        duplicates=matches.doubtful,
        unreadable=unreadable,
        classes=classes,
        splits=tuple(_splits(classes, way=way, enough=enough)),
        rules=matches.rules,
        extra=tuple(matches.extra),
        copies=tuple(matches.copies),
        almost=near,
    )


def trouble(root: Path, path: str) -> str:
    """Why a clip cannot be read, as far as that shows without opening it; empty where nothing is wrong."""
    file = f"{root}/{path}"
    try:
        status = os.stat(file)  # noqa: PTH116 - there may be 100,000, and a Path costs more than the call
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    if status.st_size == 0 and stat.S_ISREG(status.st_mode):
        return f"{path}: the file is empty"
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return f"{path}: is no file but a pipe, socket or device"
    return "" if os.access(file, os.R_OK) else f"{path}: may not be read"


def almost(missing: Sequence[Listed], names: Iterable[str]) -> dict[str, str]:
    """Paths that look like those of missing videos, by id: same class folder or same beginning, and few letters off."""
    near: dict[str, list[str]] = defaultdict(list)
    for path in names:
        folder, _, name = path.rpartition("/")
        near[f"in {alike(folder.rpartition('/')[2])}"].append(path)
        near[f"as {alike(without_suffix(name))[:4]}"].append(path)
    found = {}
    for video in missing[:: max(1, len(missing) // SEARCHED_VIDEOS)][:SEARCHED_VIDEOS]:
        candidates = near[f"as {alike(video.name)[:4]}"] + near[f"in {alike(video.folder)}"]
        by_name = {without_suffix(path.rpartition("/")[2]): path for path in candidates[:SEARCHED_NAMES]}
        if best := difflib.get_close_matches(video.name, by_name, n=1, cutoff=ALMOST):
            found[video.id] = by_name[best[0]]
    return found


def _classes(
    videos: Sequence[Listed], found: Mapping[str, str], matches: Matches, unreadable: Mapping[str, str]
) -> Iterable[ClassCheck]:
    extra = Counter(alike(path.rpartition("/")[0].rpartition("/")[2]) for path in matches.extra)
    of_class: dict[tuple[str, str], list[Listed]] = defaultdict(list)
    for video in videos:
        of_class[video.split, video.label].append(video)
    for (split, label), listed in of_class.items():
        counts = [sum(video.id in ids for video in listed) for ids in (found, matches.doubtful, unreadable)]
        yield ClassCheck(
            label=label,
            split=split,
            listed=len(listed),
            found=counts[0],
            missing=len(listed) - sum(counts),
            duplicate=counts[1],
            unreadable=counts[2],
            extra=extra[alike(listed[0].folder)] if listed[0].folder else 0,
        )


def _splits(classes: Sequence[ClassCheck], *, way: int, enough: int) -> Iterable[SplitCheck]:
    for split in (*SPLITS, ""):
        inside = [one for one in classes if one.split == split]
        rich = sum(one.found >= enough for one in inside)
        if inside:
            yield SplitCheck(
                split=split,
                classes=len(inside),
                enough=rich,
                possible=rich >= way,
                **{name: sum(getattr(one, name) for one in inside) for name in _COUNTS},
            )


_COUNTS = ("listed", "found", "missing", "duplicate", "unreadable", "extra")
