"""The forward pass in batches, and compiled."""

import shutil

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from ta2n.cache_schema.errors import MissingError
from ta2n.pipeline.features.forward import Forward
from ta2n.pipeline.features.preprocess import Preprocessing

CPU = torch.device("cpu")
PREPROCESSING = Preprocessing((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), crop=32, resize=(32, 32))


def frames(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(7)
    return nn.Sequential(*layers).requires_grad_(False).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_batches_do_not_matter(batch_size: int) -> None:
    images = frames(7)
    found = Forward(network(), PREPROCESSING, CPU, batch_size)(images)
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.2
    np.testing.assert_allclose(found, network()(pixels).numpy(), rtol=2e-3, atol=1e-3)
    assert found.dtype == np.float16
    assert found.shape == (7, 8, 7, 7)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_features_are_the_same_and_no_size_is_compiled_twice() -> None:
    torch.compiler.reset()
    forward = Forward(network(), PREPROCESSING, CPU, 4, compiled=True)
    images = frames(7)  # the second batch is filled up
    with torch.compiler.set_stance("fail_on_recompile"):
        found = forward(images)
    expected = Forward(network(), PREPROCESSING, CPU, 4)(images)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_what_cannot_be_compiled_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(module: nn.Module, *, dynamic: bool) -> object:
        def fail(_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler\nand a long story")

        return fail

    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(MissingError, match=r"\(RuntimeError: no compiler\).*g\+\+.*--compile"):
        Forward(network(), PREPROCESSING, CPU, 4, compiled=True)
