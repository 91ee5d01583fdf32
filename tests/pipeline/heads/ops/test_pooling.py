"""Pooling of mixed maps, one video at a time, against the product of whole tensors."""

import pytest
import torch
from torch import Tensor

from ta2n.pipeline.heads.ops.factorised_conv import mix_frames
from ta2n.pipeline.heads.ops.pooling import mixed_pool


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("mixed", [True, False])
def test_values_and_gradients(mixed: bool) -> None:
    """More frames are cached than come out, as where the shots of a class are fused."""
    mask, maps = (
        random(2, 3, 4, 5, seed=0).requires_grad_(),
        random(2, 6 if mixed else 3, 5, 7, seed=1).requires_grad_(),
    )
    mixing = random(2, 3, 6, seed=2).requires_grad_() if mixed else None
    found, expected = mixed_pool(mask, mixing, maps), mask @ mix_frames(mixing, maps)
    torch.testing.assert_close(found, expected)
    wanted = [x for x in (mask, mixing, maps) if x is not None]
    share = random(*expected.shape, seed=3)
    pairs = [torch.autograd.grad(out, wanted, share) for out in (found, expected)]
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b)


def test_no_gradient_is_kept_for_maps_that_want_none() -> None:
    mask, maps = random(2, 3, 4, 5, seed=0).requires_grad_(), random(2, 3, 5, 7, seed=1)
    mixed_pool(mask, None, maps).sum().backward()  # type: ignore[no-untyped-call]
    assert mask.grad is not None
    assert maps.grad is None


def test_half_precision_is_widened_not_computed_in() -> None:
    mask, maps, mixing = random(2, 3, 4, 5, seed=0).float(), random(2, 3, 5, 7, seed=1).half(), random(2, 3, 3, seed=2)
    expected = mixed_pool(mask, mixing.float(), maps.float())
    assert torch.equal(mixed_pool(mask, mixing.float(), maps), expected)
