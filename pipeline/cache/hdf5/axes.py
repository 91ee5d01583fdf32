"""Which axis of another tool's features is what, by letters: V videos, T frames, C channels, H and W of a map.

An array of all videos begins with V; one that holds a single video has none. What a shape can be read as in two ways is
never guessed: ``--axes`` says it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError

Shape = tuple[int, ...]
_USUAL = {1: "C", 2: "TC", 4: "CTHW"}
_LONG = {"T": "frames", "C": "channels"}


@dataclass(frozen=True)
class Axes:
    """The axes of one video's features.

    Attributes:
        letters: of each axis, without V.
    """

    letters: str

    def sizes(self, shape: Shape) -> tuple[int, int, int, int]:
        """(C, T, H, W) of a video's array; axes that it does not have are 1 long."""
        channels, frames, height, width = (
            shape[self.letters.index(axis)] if axis in self.letters else 1 for axis in "CTHW"
        )
        return channels, frames, height, width

    def to_map(self, values: NDArray[Any]) -> NDArray[Any]:
        """A video's array as (C, T, H, W)."""
        order = [self.letters.index(axis) for axis in "CTHW" if axis in self.letters]
        return values.transpose(order).reshape(self.sizes(values.shape))


def find_axes(said: str | None, shapes: Sequence[Shape], *, each: bool, what: str) -> Axes:
    """The axes that are said, or the usual ones where the shapes leave no doubt.

    Args:
        said: letters, such as ``VTC``; None where nobody says.
        shapes: of one video's array: a single one for all, or that of each video.
        each: whether each video has an array of its own, so that there is no V.
        what: the features, in messages.

    Raises:
        InputError: the letters are none, or do not fit; or the shapes can be read in two ways.
    """
    ranks = sorted({len(shape) for shape in shapes})
    if len(ranks) != 1:
        raise InputError(f"{what}: its videos have arrays of {' and '.join(map(str, ranks))} axes, expected one form")
    prefix = "" if each else "V"
    letters = _said(said, ranks[0], prefix, what) if said is not None else _USUAL.get(ranks[0])
    if letters is None:
        usual = ", ".join(prefix + one for one in _USUAL.values())
        raise InputError(f"{what}: has {_text(shapes[0], prefix)}, expected axes as one of {usual}; or say --axes")
    if said is None:
        _refuse_doubt(letters, shapes, prefix, what)
    axes = Axes(letters)
    _refuse_misfit(axes, shapes, prefix, what, said)
    return axes


def _said(text: str, rank: int, prefix: str, what: str) -> str:
    letters = text.upper()
    fits = letters.startswith(prefix) and len(letters) - len(prefix) == rank
    letters = letters[len(prefix) :]
    fits = fits and len(set(letters)) == rank and set(letters) <= set("CTHW") and "C" in letters
    if not fits or ("H" in letters) != ("W" in letters):
        has = "an array a video, so no V" if not prefix else "V first"
        raise InputError(
            f"--axes {text}: does not name the {rank + len(prefix)} axes of {what}; expected each of them once, of C "
            f"(channels), T (frames), H and W, with {has}, e.g. {prefix}TC or {prefix}CTHW"
        )
    return letters


def _refuse_doubt(letters: str, shapes: Sequence[Shape], prefix: str, what: str) -> None:
    """Where frames would be as many as channels or more, the two are likelier the other way round."""
    if "T" not in letters:
        return
    other = letters.translate(str.maketrans("CT", "TC"))
    frames, channels = letters.index("T"), letters.index("C")
    lengths = {axis: {shape[axis] for shape in shapes} for axis in (frames, channels)}
    # Videos differ in length, never in channels: an axis that differs is frames.
    if len(lengths[frames]) > 1 and len(lengths[channels]) == 1:
        return
    if len(lengths[channels]) > 1 or (max(lengths[frames]) > 1 and min(lengths[frames]) >= min(lengths[channels])):
        first, second = _read(letters, shapes[0]), _read(other, shapes[0])
        raise InputError(
            f"{what}: {_text(shapes[0], prefix)} can be read as {prefix}{letters} ({first}) or {prefix}{other} "
            f"({second}); say which by --axes"
        )


def _refuse_misfit(axes: Axes, shapes: Sequence[Shape], prefix: str, what: str, said: str | None) -> None:
    first = axes.sizes(shapes[0])
    for shape in sorted(set(shapes)):
        channels, _, height, width = axes.sizes(shape)
        if height != width:
            more = "" if said else "; say by --axes where they lie otherwise"
            raise InputError(
                f"{what}: {_text(shape, prefix)} gives maps of {height}×{width} as {prefix}{axes.letters}, expected "
                f"H = W{more}"
            )
        if (channels, height) != (first[0], first[2]):
            raise InputError(
                f"{what}: its videos have {_text(shapes[0], prefix)} and {_text(shape, prefix)}, which may differ in "
                f"frames alone as {prefix}{axes.letters}"
            )


def _read(letters: str, shape: Shape) -> str:
    return ", ".join(f"{shape[letters.index(axis)]} {_LONG[axis]}" for axis in "TC")


def _text(shape: Shape, prefix: str) -> str:
    named = ", ".join([*(["videos"] if prefix else []), *map(str, shape)])
    return f"the shape ({named})"


def shape_of(values: Any) -> Shape:
    """The shape of an array or data set in plain numbers."""
    return tuple(int(length) for length in np.shape(values))
