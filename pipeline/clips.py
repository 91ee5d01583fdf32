"""Which frames of a clip are looked at: index arithmetic as pure functions, no video needed.

A rule has two forms: `test` is fixed by the clip's length, `train` draws. Both give T sorted frame numbers within
[0, frame_count), for every frame_count >= 1; a clip shorter than T repeats frames.

::

    tsn, 10 frames, T = 4      frame     0 1 | 2 3 4 | 5 6 | 7 8 9
                               segments  [0,2) [2,5)  [5,7) [7,10)
                               test        1     3      6     8

    linspace, 10 frames, T = 4, test     1 . . 3 . 5 . . 8      (even steps from 1 to 8, rounded down)
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError

Indices = NDArray[np.int32]

MAX_LINSPACE_SHIFT = 5


class Rule(NamedTuple):
    """The two forms of a sampling rule; both take (frame_count, frames) and give (T,) sorted frame numbers."""

    test: Callable[[int, int], Indices]
    train: Callable[[int, int, np.random.Generator], Indices]


def tsn_test(frame_count: int, frames: int) -> Indices:
    """The centre of each of T equal segments (TSN, Wang et al. 2016, section 3.1).

    Segment i is [i*n//T, (i+1)*n//T) and its centre the frame in the middle, the later one of two. A segment without
    a frame of its own (n < T) gives the frame that it lies in.

    Returns:
        (T,) int32, sorted, within [0, frame_count).

    Raises:
        InputError: when frame_count or frames is below 1.
    """
    low, high = _segments(frame_count, frames)
    return ((low + high) // 2).astype(np.int32)


def tsn_train(frame_count: int, frames: int, generator: np.random.Generator) -> Indices:
    """One uniformly random frame of each of T equal segments; segments, shape and errors as for `tsn_test`."""
    low, high = _segments(frame_count, frames)
    return generator.integers(low, np.maximum(high, low + 1)).astype(np.int32)


def linspace_test(frame_count: int, frames: int) -> Indices:
    """T even steps from the second frame to the last but one (the `ta2n-code` and `trx` protocols).

    Steps are rounded down in whole numbers. Where fewer than T frames would lie between the two ends, the whole clip
    is used instead: even steps from 0 to n - 1.

    Returns:
        (T,) int32, sorted, within [0, frame_count).

    Raises:
        InputError: when frame_count or frames is below 1.
    """
    _check(frame_count, frames)
    if frame_count - 2 < frames:
        return _even_steps(0, frame_count - 1, frames)
    return _even_steps(1, frame_count - 2, frames)


def linspace_train(frame_count: int, frames: int, generator: np.random.Generator) -> Indices:
    """T even steps between two random ends, each at most p = min(5, (n - T) // 2) frames from its end of the clip.

    A clip with no frames to spare (p < 1) is used whole. Shape and errors as for `linspace_test`.
    """
    _check(frame_count, frames)
    shift = max(0, min(MAX_LINSPACE_SHIFT, (frame_count - frames) // 2))
    start = int(generator.integers(0, shift + 1))
    end = int(generator.integers(frame_count - 1 - shift, frame_count))
    return _even_steps(start, end, frames)


RULES = {"tsn": Rule(tsn_test, tsn_train), "linspace": Rule(linspace_test, linspace_train)}


def stored_places(
    rule: str, stored: Indices, *, frame_count: int, frames: int, generator: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Which of a clip's stored frames stand for fewer frames of it.

    The rule is asked for frames of the clip itself, as if only so many were to be extracted; each is replaced by the
    nearest one that is stored, the later of two. Where all of them are stored, nothing is lost.

    Args:
        rule: that the frames were stored by, a name in `RULES`.
        stored: (S,) sorted source frames of one view.
        frame_count: frames in the clip.
        frames: T, at most S.
        generator: draws the rule's train form; None is its test form.

    Returns:
        (T,) sorted places in `stored`.

    Raises:
        InputError: for an unknown rule, or a number below 1.
    """
    known = _known(rule)
    wanted = known.test(frame_count, frames) if generator is None else known.train(frame_count, frames, generator)
    after = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(stored[after] - wanted <= wanted - stored[before], after, before)


def view_indices(rule: str, *, frame_count: int, frames: int, views: int, seed: int, clip_id: str) -> Indices:
    """The source frames of every view of one clip.

    View 0 is the rule's test form. Every further view is a train draw of its own, from a generator that depends on
    (seed, clip_id, view) and nothing else: it stays the same whatever other clips or views are asked for.

    Args:
        rule: a name in `RULES`.
        frame_count: frames in the clip, at least 1.
        frames: T, frames per view, at least 1.
        views: V, at least 1.
        seed: of the further views.
        clip_id: the clip's name in its data set.

    Returns:
        (V, T) int32, each row sorted, within [0, frame_count).

    Raises:
        InputError: for an unknown rule, or a number below 1.
    """
    known = _known(rule)
    if views < 1:
        raise InputError(f"A clip needs at least one view, got views={views}.")
    rows = [known.test(frame_count, frames)]
    rows += [known.train(frame_count, frames, _view_generator(seed, clip_id, v)) for v in range(1, views)]
    return np.stack(rows)


def _known(rule: str) -> Rule:
    if rule not in RULES:
        raise InputError(f"Unknown sampling rule {rule!r}; use one of {', '.join(sorted(RULES))}.")
    return RULES[rule]


def _view_generator(seed: int, clip_id: str, view: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\0{view}\0{clip_id}".encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def _segments(frame_count: int, frames: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    _check(frame_count, frames)
    edges = np.arange(frames + 1, dtype=np.int64) * frame_count // frames
    return edges[:-1], edges[1:]


def _even_steps(start: int, end: int, frames: int) -> Indices:
    steps = np.arange(frames, dtype=np.int64) * (end - start) // max(frames - 1, 1)
    return (start + steps).astype(np.int32)


def _check(frame_count: int, frames: int) -> None:
    if frame_count < 1 or frames < 1:
        raise InputError(f"Sampling needs frame_count >= 1 and frames >= 1, got {frame_count} and {frames}.")
