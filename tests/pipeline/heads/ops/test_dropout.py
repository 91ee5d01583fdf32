"""Dropout with few random numbers: the share, the scale, the gradient, the generator."""

import pytest
import torch

from ta2n.pipeline.heads.ops.dropout import drop


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_share_dropped_and_the_scale(probability: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    maps = torch.ones(3, 33, 1001, dtype=dtype)
    dropped = drop(maps, probability)
    assert dropped.dtype == dtype
    assert float((dropped == 0).double().mean()) == pytest.approx(probability, abs=0.01)
    kept = dropped[dropped != 0].double()
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - probability)), rtol=1e-3, atol=0)
    assert torch.equal(maps, torch.ones_like(maps))


def test_neighbours_are_dropped_independently() -> None:
    """Four come out of one random number."""
    torch.manual_seed(0)
    kept = (drop(torch.ones(100_000, 4), 0.5) != 0).double()
    together = torch.corrcoef(kept.T) - torch.eye(4)
    assert float(together.abs().max()) < 0.02


def test_the_seed_decides_and_0_does_nothing() -> None:
    maps = torch.rand(5, 7)
    torch.manual_seed(3)
    first, other = drop(maps, 0.5), drop(maps, 0.5)
    torch.manual_seed(3)
    assert torch.equal(drop(maps, 0.5), first)
    assert not torch.equal(first, other)
    assert drop(maps, 0.0) is maps


def test_the_gradient_is_that_of_what_was_kept() -> None:
    maps = torch.rand(50, 20, requires_grad=True)
    dropped = drop(maps, 0.5)
    dropped.sum().backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad * maps, dropped)
