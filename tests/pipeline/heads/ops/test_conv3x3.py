"""The convolution by matrix products against the one of torch, in value and in every gradient."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ta2n.pipeline.heads.ops import conv3x3 as module
from ta2n.pipeline.heads.ops.conv3x3 import convolve


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_torch(frames: Tensor, kernel: Tensor, kept: int) -> Tensor:
    out = F.conv2d(frames.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding=1)
    return out.permute(0, 2, 3, 1)[:, :kept, :kept]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 4), (5, 3), (7, 7)])
@pytest.mark.parametrize("short", [0, 1])
def test_values_and_gradients(height: int, width: int, short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With frames taken in several parts, and some of the last rows and columns not wanted."""
    monkeypatch.setattr(module, "_FRAMES", 2)
    frames, kernel = random(5, height, width, 3, seed=0).requires_grad_(), random(3, 3, 3, 4, seed=1).requires_grad_()
    kept = max(1, min(height, width) - short)
    found, expected = convolve(frames, kernel, kept), by_torch(frames, kernel, kept)
    torch.testing.assert_close(found, expected)
    share = random(*expected.shape, seed=2)
    pairs = [torch.autograd.grad(out, (frames, kernel), share) for out in (found, expected)]
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b)


def test_no_gradient_is_computed_for_frames_that_want_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a gradient of cached frames")

    monkeypatch.setattr(module, "_add_frames_grad", refused)
    frames, kernel = random(2, 3, 3, 3, seed=0), random(3, 3, 3, 4, seed=1).requires_grad_()
    convolve(frames, kernel, 3).sum().backward()  # type: ignore[no-untyped-call]
    assert kernel.grad is not None
    with pytest.raises(AssertionError, match="cached frames"):
        convolve(frames.requires_grad_(), kernel, 3).sum().backward()  # type: ignore[no-untyped-call]


def test_half_precision_is_widened_not_computed_in() -> None:
    frames, kernel = random(2, 3, 3, 3, seed=0).half(), random(3, 3, 3, 4, seed=1).float()
    assert torch.equal(convolve(frames, kernel, 3), convolve(frames.float(), kernel, 3))
