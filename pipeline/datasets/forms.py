"""One clip in several forms: `x.mp4`, `x.avi` and a folder `x` of its frames, side by side in one folder, count once.

The form that is used is the first in the order of :data:`~ta2n.pipeline.videos.entries.VIDEO_SUFFIXES`, and a folder of
frames where there is no video.
"""

from collections.abc import Iterable

from ta2n.pipeline.videos.entries import VIDEO_SUFFIXES

OTHER_FORMS = "clips that are there in several forms count once, and these forms are left out"
_RANK = {suffix: place for place, suffix in enumerate(VIDEO_SUFFIXES)}


def without_suffix(name: str) -> str:
    """The name of a video without its extension; other dots are part of the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and f".{suffix.lower()}" in _RANK else name


def one_form(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """The clips among some paths, each in the form that is used, in the order given; and the other forms of them.

    >>> one_form(["c/x", "c/x.avi", "c/x.mp4", "c/y.avi", "d/x.avi"])
    (['c/x.mp4', 'c/y.avi', 'd/x.avi'], ['c/x.avi', 'c/x'])
    """
    forms: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        forms.setdefault(f"{folder}/{without_suffix(name)}", []).append(path)
    ordered = [sorted(paths, key=_preference) if len(paths) > 1 else paths for paths in forms.values()]
    return [paths[0] for paths in ordered], [path for paths in ordered for path in paths[1:]]


def _preference(path: str) -> tuple[int, str]:
    suffix = path.rpartition(".")[2].lower()
    return _RANK.get(f".{suffix}", len(_RANK)), path
