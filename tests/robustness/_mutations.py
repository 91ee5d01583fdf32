"""What can happen to the bytes of a video file, each as a function of a generator."""

from collections.abc import Callable, Sequence

import numpy as np
from _originals import Original

from ta2n.pipeline.videos.entries import VIDEO_SUFFIXES

Mutation = Callable[[Original, Sequence[Original], np.random.Generator], tuple[bytes, str]]
"""Gives the content and the suffix of a mutant, from an original and all the others there are."""

HEADER = 512


def flipped(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """A few bits, anywhere."""
    content = bytearray(one.content)
    for place in rng.integers(0, len(content), int(2 ** rng.integers(0, 8))):
        content[int(place)] ^= 1 << int(rng.integers(8))
    return bytes(content), one.suffix


def zeroed(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """A range, as of a download with a hole."""
    start, length = _range(one, rng)
    return one.content[:start] + bytes(length) + one.content[start + length :], one.suffix


def cut_off(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """The end is missing, maybe all of it."""
    return one.content[: int(rng.integers(0, len(one.content)))], one.suffix


def cut_out(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """Something in the middle is missing."""
    start, length = _range(one, rng)
    return one.content[:start] + one.content[start + length :], one.suffix


def without_a_head(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """The beginning is missing."""
    return one.content[int(rng.integers(1, HEADER)) :], one.suffix


def header_of_zeros(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """Some of the header is zero."""
    start = int(rng.integers(0, HEADER))
    length = int(rng.integers(1, HEADER))
    return one.content[:start] + bytes(length) + one.content[start + length :], one.suffix


def joined(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """Two files, one behind the other, of one container or of two."""
    return one.content + others[int(rng.integers(len(others)))].content, one.suffix


def repeated(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """A range that is there twice."""
    start, length = _range(one, rng)
    return one.content[: start + length] + one.content[start:], one.suffix


def renamed(one: Original, others: Sequence[Original], rng: np.random.Generator) -> tuple[bytes, str]:
    """All there, under the suffix of another container."""
    return one.content, VIDEO_SUFFIXES[int(rng.integers(len(VIDEO_SUFFIXES)))]


MUTATIONS: dict[str, Mutation] = {
    "bits flipped": flipped,
    "range zeroed": zeroed,
    "end cut off": cut_off,
    "middle cut out": cut_out,
    "start cut off": without_a_head,
    "header zeroed": header_of_zeros,
    "two joined": joined,
    "range repeated": repeated,
    "renamed": renamed,
}


def _range(one: Original, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(0, len(one.content)))
    return start, min(len(one.content) - start, int(2 ** rng.uniform(0, 16)))
