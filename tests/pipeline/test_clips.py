"""Frame-index arithmetic: cases worked by hand, and what must hold for any length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.clips import (
    RULES,
    linspace_test,
    linspace_train,
    stored_places,
    tsn_test,
    tsn_train,
    view_indices,
)

lengths = st.integers(1, 2000)
steps = st.integers(1, 40)
seeds = st.integers(0, 2**32)


class HighestDraw:
    """Stands in for a generator: always the largest number allowed."""

    def integers(self, low: object, high: object) -> object:
        return np.asarray(high) - 1


class LowestDraw:
    """Stands in for a generator: always the smallest number allowed."""

    def integers(self, low: object, high: object) -> object:
        return np.asarray(low)


@pytest.mark.parametrize(
    ("frame_count", "frames", "expected"),
    [
        (16, 8, [1, 3, 5, 7, 9, 11, 13, 15]),
        (10, 4, [1, 3, 6, 8]),  # segments [0,2) [2,5) [5,7) [7,10)
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, 8, [0, 0, 0, 1, 1, 1, 2, 2]),  # segment edges 0 0 0 1 1 1 2 2 3
        (1, 8, [0] * 8),
        (9, 1, [4]),
    ],
)
def test_tsn_takes_the_centres_of_equal_segments(frame_count: int, frames: int, expected: list[int]) -> None:
    assert tsn_test(frame_count, frames).tolist() == expected


@pytest.mark.parametrize(
    ("frame_count", "frames", "expected"),
    [
        (10, 4, [1, 3, 5, 8]),  # 1, 3.33, 5.67, 8
        (10, 8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (9, 8, [0, 1, 2, 3, 4, 5, 6, 8]),  # seven frames between the ends are fewer than eight: the whole clip
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, 5, [0, 0, 1, 1, 2]),
        (1, 3, [0, 0, 0]),
        (100, 1, [1]),
    ],
)
def test_linspace_goes_from_the_second_frame_to_the_last_but_one(
    frame_count: int, frames: int, expected: list[int]
) -> None:
    assert linspace_test(frame_count, frames).tolist() == expected


def test_linspace_train_moves_each_end_by_five_frames_at_most() -> None:
    low, high = LowestDraw(), HighestDraw()
    assert linspace_train(100, 8, low).tolist()[::7] == [0, 94]  # type: ignore[arg-type]
    assert linspace_train(100, 8, high).tolist()[::7] == [5, 99]  # type: ignore[arg-type]
    assert linspace_train(12, 8, high).tolist()[::7] == [2, 11]  # type: ignore[arg-type]
    assert linspace_train(9, 8, high).tolist()[::7] == [0, 8]  # type: ignore[arg-type]


def test_tsn_train_draws_from_the_whole_of_each_segment_and_no_other() -> None:
    assert tsn_train(10, 4, LowestDraw()).tolist() == [0, 2, 5, 7]  # type: ignore[arg-type]
    assert tsn_train(10, 4, HighestDraw()).tolist() == [1, 4, 6, 9]  # type: ignore[arg-type]


@given(lengths, steps, seeds, st.sampled_from(sorted(RULES)))
def test_every_rule_gives_sorted_frames_of_the_clip(frame_count: int, frames: int, seed: int, rule: str) -> None:
    generator = np.random.default_rng(seed)
    for indices in (RULES[rule].test(frame_count, frames), RULES[rule].train(frame_count, frames, generator)):
        assert indices.shape == (frames,)
        assert indices.dtype == np.int32
        assert (np.diff(indices) >= 0).all()
        assert indices[0] >= 0
        assert indices[-1] < frame_count


@given(steps, st.integers(0, 500), seeds, st.sampled_from(sorted(RULES)))
def test_a_clip_long_enough_repeats_no_frame(frames: int, extra: int, seed: int, rule: str) -> None:
    generator = np.random.default_rng(seed)
    assert len(set(RULES[rule].test(frames + extra, frames).tolist())) == frames
    assert len(set(RULES[rule].train(frames + extra, frames, generator).tolist())) == frames


@given(lengths, steps, st.integers(0, 40), seeds, st.sampled_from(sorted(RULES)), st.booleans())
def test_fewer_of_the_stored_frames_are_those_of_the_rule_or_the_nearest(
    frame_count: int, frames: int, more: int, seed: int, rule: str, draws: bool
) -> None:
    def generator() -> np.random.Generator | None:
        return np.random.default_rng(seed) if draws else None

    stored = RULES[rule].test(frame_count, frames + more)
    drawn = generator()
    direct = RULES[rule].train(frame_count, frames, drawn) if drawn else RULES[rule].test(frame_count, frames)
    taken = stored[stored_places(rule, stored, frame_count=frame_count, frames=frames, generator=generator())]
    if set(direct.tolist()) <= set(stored.tolist()):
        assert taken.tolist() == direct.tolist()
    nearest = [min(abs(frame - one) for one in stored.tolist()) for frame in direct.tolist()]
    assert np.abs(taken - direct).tolist() == nearest
    assert (np.diff(taken) >= 0).all()


@pytest.mark.parametrize(
    ("rule", "frame_count", "stored", "frames", "expected"),
    [
        ("linspace", 160, 16, 8, [1, 21, 42, 63, 95, 116, 137, 158]),  # of 1, 23, 45, 68, 90, 113, 135, 158
        ("tsn", 160, 16, 8, [15, 35, 55, 75, 95, 115, 135, 155]),  # of 10, 30, …: the later of two that are as near
        ("tsn", 72, 24, 8, [4, 13, 22, 31, 40, 49, 58, 67]),  # an odd ratio: the same centres
        ("linspace", 30, 8, 1, [1]),
    ],
)
def test_fewer_of_the_stored_frames_by_hand(
    rule: str, frame_count: int, stored: int, frames: int, expected: list[int]
) -> None:
    kept = RULES[rule].test(frame_count, stored)
    assert kept[stored_places(rule, kept, frame_count=frame_count, frames=frames)].tolist() == expected


@given(lengths, steps, st.integers(1, 5), seeds, st.text(max_size=20), st.sampled_from(sorted(RULES)))
def test_a_view_depends_on_seed_clip_and_number_only(
    frame_count: int, frames: int, views: int, seed: int, clip_id: str, rule: str
) -> None:
    def draw(v: int) -> np.ndarray:
        return view_indices(rule, frame_count=frame_count, frames=frames, views=v, seed=seed, clip_id=clip_id)

    few, more = draw(views), draw(views + 1)
    assert few.shape == (views, frames)
    assert few.dtype == np.int32
    assert np.array_equal(few, more[:views])
    assert np.array_equal(few[0], RULES[rule].test(frame_count, frames))


def test_views_differ_between_clips_seeds_and_numbers() -> None:
    def views(seed: int, clip_id: str) -> list[list[int]]:
        rows = view_indices("tsn", frame_count=1000, frames=8, views=3, seed=seed, clip_id=clip_id)
        return [list(map(int, row)) for row in rows[1:]]

    drawn = [row for seed in (0, 1) for clip_id in ("a", "b") for row in views(seed, clip_id)]
    assert len({tuple(row) for row in drawn}) == len(drawn)


def test_views_are_the_same_on_every_machine_and_run() -> None:
    rows = view_indices("tsn", frame_count=80, frames=8, views=2, seed=7, clip_id="class/clip.avi")
    assert rows.tolist() == [[5, 15, 25, 35, 45, 55, 65, 75], [7, 13, 22, 32, 48, 53, 68, 72]]


@pytest.mark.parametrize(("frame_count", "frames"), [(0, 8), (10, 0), (-3, 8)])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_clip_without_frames_is_an_error(rule: str, frame_count: int, frames: int) -> None:
    with pytest.raises(InputError, match=f"got {frame_count} and {frames}"):
        view_indices(rule, frame_count=frame_count, frames=frames, views=1, seed=0, clip_id="a")


def test_an_unknown_rule_and_no_view_are_errors_that_say_what_to_use() -> None:
    with pytest.raises(InputError, match="'dense'; use one of linspace, tsn"):
        view_indices("dense", frame_count=9, frames=8, views=1, seed=0, clip_id="a")
    with pytest.raises(InputError, match="views=0"):
        view_indices("tsn", frame_count=9, frames=8, views=0, seed=0, clip_id="a")
