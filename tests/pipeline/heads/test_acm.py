"""The overlap mask of SC, and the limits of its network."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared_data import GOLDEN, needs_shared

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.heads import build_head
from ta2n.pipeline.heads.acm import averaged_mask, overlap_mask

size = st.integers(1, 9)
reach = st.floats(-1, 1, width=32)


def mask(x: float, y: float, size: int) -> torch.Tensor:
    return overlap_mask(torch.tensor([x, y], dtype=torch.float64), size)


@needs_shared
def test_the_golden_masks() -> None:
    with np.load(GOLDEN / "mask_7x7.npz") as golden:
        found = overlap_mask(torch.from_numpy(golden["offsets"]), 7)
        torch.testing.assert_close(found, torch.from_numpy(golden["mask"]), rtol=1e-4, atol=1e-5)


@given(reach, reach, size)
def test_values_lie_between_zero_and_one(x: float, y: float, size: int) -> None:
    values = mask(x, y, size)
    assert values.shape == (size, size)
    assert ((values >= 0) & (values <= 1)).all()
    assert values.sum() > 0


@given(size)
def test_no_offset_covers_the_whole_frame(size: int) -> None:
    assert torch.equal(mask(0, 0, size), torch.ones(size, size, dtype=torch.float64))


@given(reach, reach, size)
def test_mirrored_offsets_give_mirrored_masks(x: float, y: float, size: int) -> None:
    torch.testing.assert_close(mask(-x, y, size), mask(x, y, size).flip(1))
    torch.testing.assert_close(mask(x, -y, size), mask(x, y, size).flip(0))
    torch.testing.assert_close(mask(y, x, size), mask(x, y, size).T)


@given(reach, reach, st.integers(2, 9))
def test_one_grid_step_moves_the_mask_by_one_cell(x: float, y: float, size: int) -> None:
    step = 2 / (size - 1)
    torch.testing.assert_close(mask(x + step, y, size)[:, :-1], mask(x, y, size)[:, 1:])
    torch.testing.assert_close(mask(x, y + step, size)[:-1], mask(x, y, size)[1:])


def test_worked_by_hand() -> None:
    """Five cells stand 0.5 apart: moved by (0.75, 0), the fourth is 0.25 beyond the border and the fifth 0.75."""
    assert mask(0.75, 0, 5).tolist() == [[1, 1, 1, 0.5, 0]] * 5


@given(reach, reach, size, st.floats(0, 1, width=32))
def test_the_averaged_mask_is_the_mean_of_nine(x: float, y: float, size: int, perturbation: float) -> None:
    nine = [mask(x + dx * perturbation, y + dy * perturbation, size) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    if not all(m.sum() > 0 for m in nine):  # beyond the offsets that SC can give
        return
    expected = torch.stack([m / m.sum() for m in nine]).mean(0)
    found = averaged_mask(torch.tensor([x, y], dtype=torch.float64), size, perturbation)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@given(st.floats(-0.75, 0.75), st.floats(0, 1))
def test_every_offset_in_reach_leaves_something_to_pool(offset: float, perturbation: float) -> None:
    for size in (4, 7, 8):
        total = averaged_mask(torch.tensor([offset, -offset], dtype=torch.float64), size, perturbation).sum()
        torch.testing.assert_close(total, torch.tensor(1, dtype=torch.float64))


def test_maps_too_small_for_the_poolings_are_refused() -> None:
    with pytest.raises(InputError, match="size=3; use sc=False"):
        build_head("ta2n", channels=4, frames=8, size=3, ttm=False)
