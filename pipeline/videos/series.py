"""Which files of a folder are the frames of its clip: one series of numbered images, in the order of their numbers."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.entries import IMAGE_SUFFIXES, is_file

NaturalKey = tuple[tuple[str | int, ...], str]

NAMED_SERIES = 5
_NUMBERS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> NaturalKey:
    """Sorts names as people number them, frame2 before frame10; the name itself settles ties such as 01 and 1."""
    parts = _NUMBERS.split(name)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for a frame."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def list_frames(folder: Path, pattern: str | None = None) -> list[Path]:
    """The frames of a folder, JPEG or PNG files, in natural order; links to nowhere, pipes and the like are none.

    Args:
        folder: holds them.
        pattern: what their names must match, as in a shell, with or without the suffix; None takes all images.

    Raises:
        DecodeError: there is none, or there are several series, so that it is not clear which are meant.
        OSError: the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if is_image(entry.name) and is_file(entry)]
    names = [name for name in found if pattern is None or _matches(name, pattern)]
    if not found:
        raise DecodeError(f"{folder}: the folder holds no JPEG or PNG frames.")
    if not names:
        raise DecodeError(f"{folder}: none of its frames is called {pattern}; it holds {_listed(series(found))}.")
    several = series(names)
    if len(several) > 1:
        raise DecodeError(
            f"{folder}: holds several series of frames: {_listed(several)}; leave one, the RGB frames, in it, or name "
            "it as in --frame-pattern 'img_*'."
        )
    return [folder / name for name in sorted(names, key=natural_key)]


def series(names: Sequence[str]) -> Counter[str]:
    """How many images each series holds, by a pattern for its names.

    Names are of one series where they differ in one number only. Where more numbers differ, the last one counts frames
    and the others tell series apart: `cam1_01` and `cam2_01` are of `cam1_*` and `cam2_*`. One stem with two suffixes
    is one frame twice, so that suffixes tell series apart there.
    """
    stems = [os.path.splitext(name) for name in names]  # noqa: PTH122 - there may be thousands
    twice = len({stem for stem, _ in stems}) < len(stems)
    by_shape: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for stem, suffix in stems:
        parts = _NUMBERS.split(stem)
        by_shape[*parts[::2], suffix.lower() if twice else ""].append(parts)
    counts: Counter[str] = Counter()
    for (*_, suffix), members in by_shape.items():
        counter = _counter(members)
        for parts in members:
            counts[_pattern(parts, counter) + suffix] += 1
    return counts


def _counter(members: Sequence[Sequence[str]]) -> int:
    """The place of the number that counts frames: the last that differs, else the last there is; -1 without any."""
    numbers = range(1, len(members[0]), 2)
    differing = [place for place in numbers if len({parts[place] for parts in members}) > 1]
    return max(differing or numbers, default=-1)


def _pattern(parts: Sequence[str], counter: int) -> str:
    pattern = "".join("*" if place == counter else part for place, part in enumerate(parts))
    return f"[0-9]{pattern}" if pattern.startswith("*") else pattern


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(os.path.splitext(name)[0], pattern)  # noqa: PTH122


def _listed(counts: Counter[str]) -> str:
    named = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items())[:NAMED_SERIES])
    return named + (f" and {len(counts) - NAMED_SERIES} more" if len(counts) > NAMED_SERIES else "")
