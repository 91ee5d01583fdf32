"""Maps whose misalignment is known: aligned at strength 0, misaligned as asked, one kind without the others."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_maps import KINDS, World, draw_look, seen, uneven_progress

SIZES = {"channels": 3, "frames": 6, "size": 5}
kinds = st.lists(st.sampled_from(KINDS), unique=True)
strengths = st.floats(0, 1)


@given(seed=st.integers(0, 99), kinds=kinds)
@settings(max_examples=20)
def test_at_strength_0_clips_of_a_class_are_one(seed: int, kinds: list[str]) -> None:
    world = World(seed, **SIZES, noise=0.0)
    first, again, other = world.clips([4, 4, 5], 0, kinds=kinds, strength=0.0)
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)


@given(seed=st.integers(0, 99), kinds=kinds, strength=strengths)
@settings(max_examples=20)
def test_clips_are_a_function_of_what_is_asked_for(seed: int, kinds: list[str], strength: float) -> None:
    maps = World(seed, **SIZES).clips([1, 2], 7, kinds=kinds, strength=strength)
    assert maps.shape == (2, 3, 6, 5, 5)
    assert maps.dtype == torch.float32
    assert bool((maps >= 0).all())
    assert torch.equal(maps, World(seed, **SIZES).clips([1, 2], 7, kinds=kinds, strength=strength))
    assert not torch.equal(maps, World(seed, **SIZES).clips([1, 2], 8, kinds=kinds, strength=strength))


@given(seed=st.integers(0, 999), strength=st.floats(0.1, 1), kind=st.sampled_from(KINDS))
def test_kinds_do_not_disturb_one_another(seed: int, strength: float, kind: str) -> None:
    alone = draw_look(np.random.default_rng(seed), 4, 8, kinds=[kind], strength=strength)
    none = draw_look(np.random.default_rng(seed), 4, 8, kinds=[], strength=strength)
    every = draw_look(np.random.default_rng(seed), 4, 8, kinds=KINDS, strength=strength)
    if kind == "space":
        assert np.array_equal(alone.place, every.place)
        assert np.array_equal(alone.progress, none.progress)
    else:
        assert np.array_equal(alone.place, none.place)
        assert not np.array_equal(alone.progress, none.progress)


@given(
    speeds=st.lists(st.floats(0.05, 20), min_size=1, max_size=5),
    times=st.lists(st.floats(-0.5, 1.5), min_size=2, max_size=9),
)
def test_progress_rises_from_0_to_1_whatever_the_speeds(speeds: list[float], times: list[float]) -> None:
    when = np.array([sorted(times)])
    found = uneven_progress(when, np.array([speeds]))
    assert (np.diff(found) >= -1e-12).all()
    outside = (when < 0) | (when > 1)
    assert np.array_equal(found[outside], when[outside])
    ends = uneven_progress(np.array([[0.0, 1.0]]), np.array([speeds]))
    np.testing.assert_allclose(ends, [[0, 1]], atol=1e-12)


@given(seed=st.integers(0, 99), strength=strengths)
def test_an_action_lies_in_the_clip_and_lasts_as_long_as_said(seed: int, strength: float) -> None:
    look = draw_look(np.random.default_rng(seed), 50, 9, kinds=["duration"], strength=strength)
    length = 8 / (look.progress[:, -1] - look.progress[:, 0]) / 8
    start = -look.progress[:, 0] * length
    assert (length >= 1 - 0.6 * strength - 1e-9).all()
    assert (length <= 1 + 1e-9).all()
    assert (start >= -1e-9).all()
    assert (start + length <= 1 + 1e-9).all()


def test_evolution_even_speeds_change_nothing() -> None:
    when = np.linspace(0, 1, 8)[None]
    np.testing.assert_allclose(uneven_progress(when, np.full((1, 4), 3.0)), when)


def test_an_actor_displaced_by_whole_cells_is_the_same_actor() -> None:
    """On a grid of 5 a cell is half a half frame: what stood in column 0 stands in column 1."""
    generator = np.random.default_rng(0)
    script, scene = generator.standard_normal((2, 3, 3, 3)), generator.standard_normal((2, 1, 3, 3))
    progress = np.linspace(0, 1, 4)
    still = seen(script, scene, progress, np.zeros(2), 5)
    moved = seen(script, scene, progress, np.array([0.5, 0.0]), 5)
    np.testing.assert_allclose(moved[..., 1:], still[..., :-1], atol=1e-12)


def test_before_and_after_the_action_there_is_the_scene() -> None:
    generator = np.random.default_rng(0)
    script, scene = generator.standard_normal((2, 3, 3, 3)), generator.standard_normal((2, 1, 3, 3))
    maps = seen(script, scene, np.array([-0.2, 0.5, 1.3]), np.zeros(2), 5)
    np.testing.assert_array_equal(maps[:, 0], maps[:, 2])
    assert not np.allclose(maps[:, 0], maps[:, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_is_farther_from_aligned(kind: str) -> None:
    world = World(0, **SIZES, noise=0.0)
    labels = list(range(20))
    aligned = world.clips(labels, 0, kinds=[kind], strength=0.0)
    apart = [(world.clips(labels, 0, kinds=[kind], strength=s) - aligned).square().mean().item() for s in (0.3, 1.0)]
    assert 0 < apart[0] < apart[1]
