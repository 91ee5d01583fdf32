"""Axes by letters: what is said, what a shape leaves no doubt of, and what is asked for."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.hdf5.axes import find_axes

ORDERS = ["".join(order) for letters in ("C", "CT", "CHW", "CTHW") for order in itertools.permutations(letters)]


@given(st.sampled_from(ORDERS), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_what_is_said_is_what_is_read(order: str, channels: int, frames: int, size: int, each: bool) -> None:
    lengths = {"C": channels, "T": frames if "T" in order else 1, "H": size if "H" in order else 1}
    lengths["W"] = lengths["H"]
    maps = np.arange(np.prod(list(lengths.values()))).reshape([lengths[axis] for axis in "CTHW"])
    there = [axis for axis in "CTHW" if axis in order]
    values = maps.reshape([lengths[axis] for axis in there]).transpose([there.index(axis) for axis in order])
    said = order.lower() if each else f"V{order}"
    axes = find_axes(said, [values.shape], each=each, what="x")
    assert axes.sizes(values.shape) == maps.shape
    assert np.array_equal(axes.to_map(values), maps)


@pytest.mark.parametrize(
    ("shape", "letters"),
    [((512,), "C"), ((8, 64), "TC"), ((2048, 8, 7, 7), "CTHW"), ((1, 1), "TC"), ((64, 1, 7, 7), "CTHW")],
)
def test_a_shape_that_leaves_no_doubt(shape: tuple[int, ...], letters: str) -> None:
    assert find_axes(None, [shape], each=False, what="x").letters == letters


def test_videos_of_different_lengths_tell_which_axis_is_their_frames() -> None:
    assert find_axes(None, [(600, 512), (10, 512)], each=True, what="x").letters == "TC"
    with pytest.raises(InputError, match=r"as TC \(512 frames, 10 channels\) or CT \(10 frames, 512 channels\)"):
        find_axes(None, [(512, 10), (512, 600)], each=True, what="x")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (64, 8),
            "the shape (videos, 64, 8) can be read as VTC (64 frames, 8 channels) or VCT (8 frames, 64 channels)",
        ),
        ((8, 8), "can be read as VTC (8 frames, 8 channels) or VCT"),
        ((8, 2048, 7, 7), "can be read as VCTHW (2048 frames, 8 channels) or VTCHW (8 frames, 2048 channels)"),
        ((8, 7, 7, 64), "gives maps of 7×64 as VCTHW, expected H = W; say by --axes where they lie otherwise"),
        ((8, 7, 7), "expected axes as one of VC, VTC, VCTHW; or say --axes"),
        ((), "expected axes as one of VC, VTC, VCTHW; or say --axes"),
    ],
)
def test_what_a_shape_does_not_tell_is_asked_for(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        find_axes(None, [shape], each=False, what="x")
    assert "--axes" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", ["", "V", "TC", "VT", "VTT", "VTX", "VTCC", "VCTHW", "VHC", "VVC", "TVC", "C"])
def test_letters_that_do_not_fit(said: str) -> None:
    with pytest.raises(InputError, match=f"^--axes {said}: does not name the 3 axes of x; .* e.g. VTC or VCTHW"):
        find_axes(said, [(8, 64)], each=False, what="x")


def test_letters_of_one_video_have_no_v() -> None:
    with pytest.raises(InputError, match="an array a video, so no V"):
        find_axes("VTC", [(8, 64)], each=True, what="x")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(8, 64), (8,)], "its videos have arrays of 1 and 2 axes"),
        ([(8, 64), (9, 65)], "or CT"),
        ([(8, 4, 4, 3), (8, 4, 4, 3)], "maps of 4×3 as CTHW"),
    ],
)
def test_videos_that_do_not_go_together(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_axes(None, shapes, each=True, what="x")


def test_videos_may_differ_in_frames_alone() -> None:
    with pytest.raises(
        InputError, match=r"have the shape \(8, 64\) and the shape \(9, 65\), which may differ in frames"
    ):
        find_axes("TC", [(8, 64), (9, 65)], each=True, what="x")
