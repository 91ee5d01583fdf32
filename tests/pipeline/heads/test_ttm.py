"""The hat matrix of TTM, and the limits of its network."""

import pytest
import torch
from head_behaviour import NearestToItself
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.ttm import hat_matrix

frames = st.integers(1, 9)
number = st.floats(-1, 1, width=32)


def matrix(a: float, b: float, frames: int) -> torch.Tensor:
    return hat_matrix(torch.tensor([a, b], dtype=torch.float64), frames)


@given(frames)
def test_the_identity_is_exact(frames: int) -> None:
    assert torch.equal(matrix(1, 0, frames), torch.eye(frames, dtype=torch.float64))


@given(frames)
def test_minus_one_reverses_the_clip(frames: int) -> None:
    assert torch.equal(matrix(-1, 0, frames), torch.eye(frames, dtype=torch.float64).flip(0))


@given(number, number, frames)
def test_rows_are_weights_that_sum_to_at_most_one(a: float, b: float, frames: int) -> None:
    weights = matrix(a, b, frames)
    assert (weights >= 0).all()
    assert (weights.sum(1) <= 1 + 1e-12).all()
    assert ((weights > 0).sum(1) <= 2).all()


@given(number, number, st.integers(2, 9))
def test_rows_inside_the_clip_sum_to_one_and_point_at_their_position(a: float, b: float, frames: int) -> None:
    weights = matrix(a, b, frames)
    x = torch.linspace(-1, 1, frames, dtype=torch.float64)
    inside = (a * x + b).abs() <= 1
    torch.testing.assert_close(weights.sum(1)[inside], torch.ones(int(inside.sum()), dtype=torch.float64))
    torch.testing.assert_close((weights @ x)[inside], (a * x + b)[inside])


def test_a_shift_of_one_frame_reads_the_next_and_zero_past_the_end() -> None:
    """Five frames stand 0.5 apart."""
    assert matrix(1, 0.5, 5).tolist() == [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0] * 5]


def test_halfway_between_two_frames() -> None:
    assert matrix(0, 0, 4).tolist() == [[0, 0.5, 0.5, 0]] * 4


@pytest.mark.parametrize(("frames", "size"), [(3, 7), (8, 3)])
def test_clips_too_small_for_the_poolings_are_refused(frames: int, size: int) -> None:
    with pytest.raises(InputError, match=f"frames={frames}, size={size}; use ttm=False"):
        build_head("ta2n", channels=4, frames=frames, size=size, sc=False)


class TestTTMAlone(NearestToItself):
    """Both clips are warped alike, and nothing else happens to them."""

    method = "ttm"
    options = {"dropout": 0.0}  # noqa: RUF012
