"""Which clip on disk is which video of a list: exact names first, then rules in a fixed order, never a guess.

Every rule gives a video and a clip a key; where one video and one clip have the same key, they belong together. A key
that several videos of the lists share says nothing. One that several clips share is a doubt: none of them is used.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ta2n.pipeline.datasets.forms import without_suffix
from ta2n.pipeline.datasets.lists import Listed
from ta2n.pipeline.datasets.published import NamedDataset

# A clip of Kinetics as most tools store it: the video's id, and the seconds at which the clip starts and ends.
_TIME = re.compile(r"_\d{6}_\d{6}$")
_NO_LETTER = re.compile(r"[\W_]+")


class _Place(NamedTuple):
    """A clip on disk: its path without extension, the folder it is in, and its own name."""

    path: str
    folder: str
    name: str


Key = str | tuple[str, str] | None
VideoKey = Callable[[Listed], Key]
ClipKey = Callable[[_Place], Key]


@dataclass
class Matches:
    """What became of the videos of the lists and of the clips on disk.

    Attributes:
        found: path of the clip of every video that was found, by the video's id.
        rules: how many were found by each rule, in the order of the rules.
        doubtful: the clips that could each be a video, by the video's id; none of them is used.
        copies: further clips of videos that were found by a better name.
        extra: clips that are no video of the lists.
    """

    found: dict[str, str] = field(default_factory=dict)
    rules: dict[str, int] = field(default_factory=dict)
    doubtful: dict[str, list[str]] = field(default_factory=dict)
    copies: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


def match(videos: Sequence[Listed], clips: Iterable[str], dataset: NamedDataset) -> Matches:
    """Finds the clip of every video.

    Args:
        videos: of all lists.
        clips: POSIX paths below the data set's folder.
        dataset: decides which rules hold.
    """
    matches = Matches()
    waiting = list(videos)
    left = {path: _place(path) for path in clips}
    for rule, of_video, of_clip in _rules(videos, dataset):
        if not waiting or not left:
            break
        keys = {video.id: of_video(video) for video in videos}
        shared = {key for key, count in Counter(keys.values()).items() if count > 1} | {None}
        wanted = {keys[video.id] for video in waiting} - shared
        candidates: dict[Key, list[str]] = defaultdict(list)
        for path, place in left.items():
            if (key := of_clip(place)) in wanted:
                candidates[key].append(path)
        still: list[Listed] = []
        for video in waiting:
            paths = candidates.get(keys[video.id], [])
            if len(paths) == 1:
                matches.found[video.id] = paths[0]
                matches.rules[rule] = matches.rules.get(rule, 0) + 1
            elif paths:
                matches.doubtful[video.id] = paths
            else:
                still.append(video)
            for path in paths:
                del left[path]
        waiting = still
    _sort_out(matches, left, videos)
    return matches


@lru_cache(maxsize=4096)
def alike(name: str) -> str:
    """What spellings of a name have in common: its letters and digits, in lower case."""
    return _NO_LETTER.sub("", name.casefold())


def _rules(videos: Sequence[Listed], dataset: NamedDataset) -> Iterable[tuple[str, VideoKey, ClipKey]]:
    """The rules that hold for a data set, in their order; docs/datasets.md says them in words."""
    yield "path", lambda video: f"{video.folder}/{video.name}", lambda clip: clip.path
    yield "path", lambda video: f"{video.split}/{video.folder}/{video.name}", lambda clip: clip.path
    yield "class and name", lambda video: (video.folder, video.name), lambda clip: (clip.folder, clip.name)
    if dataset.numbered:
        yield "number", lambda video: video.name, lambda clip: clip.name
        yield "number", lambda video: _number(video.name), lambda clip: _number(clip.name)
        return
    yield (
        "class spelled alike",
        lambda video: (alike(video.folder), video.name),
        lambda clip: (alike(clip.folder), clip.name),
    )
    if dataset.timed:
        yield (
            "without the time in the name",
            lambda video: _in_class(video.folder, _timed(video.name)),
            lambda clip: _in_class(clip.folder, _untimed(clip.name)),
        )
        yield (
            "with a time in the name",
            lambda video: _in_class(video.folder, _untimed(video.name)),
            lambda clip: _in_class(clip.folder, _timed(clip.name)),
        )
    classes = {alike(video.folder) for video in videos if video.folder}

    def outside(clip: _Place) -> bool:
        """Whether a clip is in no class folder: by its name alone it must not move from one class to another."""
        return alike(clip.folder) not in classes

    yield "name alone", lambda video: video.name, lambda clip: clip.name if outside(clip) else None
    if dataset.timed:
        yield (
            "name alone, without the time",
            lambda video: _timed(video.name),
            lambda clip: _untimed(clip.name) if outside(clip) else None,
        )
    yield (
        "class and name spelled alike",
        lambda video: (alike(video.folder), alike(video.name)),
        lambda clip: (alike(clip.folder), alike(clip.name)),
    )


def _place(path: str) -> _Place:
    folder, _, name = path.rpartition("/")
    stem = without_suffix(name)
    return _Place(f"{folder}/{stem}" if folder else stem, folder.rpartition("/")[2], stem)


def _number(name: str) -> str | None:
    return str(int(name)) if name.isascii() and name.isdecimal() else None


def _timed(name: str) -> str | None:
    """A name with a time, without it."""
    return _TIME.sub("", name) if _TIME.search(name) else None


def _untimed(name: str) -> str | None:
    """A name, if it has no time."""
    return None if _TIME.search(name) else name


def _in_class(folder: str, name: str | None) -> Key:
    return (alike(folder), name) if name else None


def _sort_out(matches: Matches, left: Iterable[str], videos: Sequence[Listed]) -> None:
    """Tells further copies of videos that were found from clips that are none of the lists'."""
    names = {video.name for video in videos if video.id in matches.found or video.id in matches.doubtful}
    for path in left:
        (matches.copies if _place(path).name in names else matches.extra).append(path)
