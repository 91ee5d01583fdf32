"""The forward pass in batches, and compiled."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from ta2n.cache_schema.errors import MissingError
from ta2n.pipeline.features.forward import COMPILED_FROM, Forward, even_batch, fastest_forward
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


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_what_follows_a_convolution_is_compiled_into_it() -> None:
    torch.compiler.reset()
    forward = Forward(network(), PREPROCESSING, CPU, 4, compiled=True)
    with torch.profiler.profile() as profile:
        forward(frames(4))
    called = {event.key for event in profile.key_averages()}
    assert "mkldnn::_convolution_pointwise" in called
    assert not {"aten::relu", "aten::mkldnn_convolution"} & called


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(module: nn.Module, *, dynamic: bool) -> object:
        def fail(_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler\nand a long story")

        return fail

    monkeypatch.setattr(torch, "compile", compiled)


@pytest.mark.usefixtures("no_compiler")
def test_what_cannot_be_compiled_is_an_error() -> None:
    with pytest.raises(MissingError, match=r"\(RuntimeError: no compiler\).*g\+\+.*--no-compile"):
        Forward(network(), PREPROCESSING, CPU, 4, compiled=True)


@pytest.mark.parametrize(("clips", "compiled"), [(COMPILED_FROM - 1, False), (COMPILED_FROM, True)])
def test_compiling_pays_for_many_clips(monkeypatch: pytest.MonkeyPatch, clips: int, compiled: bool) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    assert fastest_forward(network(), PREPROCESSING, CPU, 4, clips=clips).compiled == compiled


@pytest.mark.usefixtures("no_compiler")
def test_what_cannot_be_compiled_is_run_as_it_is_where_nobody_asked() -> None:
    forward = fastest_forward(network(), PREPROCESSING, CPU, 4, clips=COMPILED_FROM)
    assert not forward.compiled
    np.testing.assert_array_equal(forward(frames(4)), Forward(network(), PREPROCESSING, CPU, 4)(frames(4)))


@pytest.mark.parametrize(
    ("most", "in_clip", "batch"),
    [(8, 8, 8), (8, 5, 5), (8, 4, 8), (8, 10, 5), (8, 17, 6), (128, 8, 128), (1, 3, 1)],
)
def test_passes_of_whole_clips_or_equal_parts(most: int, in_clip: int, batch: int) -> None:
    assert even_batch(most, in_clip) == batch


@given(st.integers(1, 200), st.integers(1, 200))
def test_no_pass_more_than_needed(most: int, in_clip: int) -> None:
    batch = even_batch(most, in_clip)
    assert 1 <= batch <= most
    assert -(-in_clip // batch) == -(-in_clip // most)


def test_torch_is_silent_on_cuda_that_nobody_asked_for(tmp_path: Path) -> None:
    """Where CUDA's tools are and no GPU is, torch says so at compiling; nothing else of what it says is lost."""
    code = (
        "import logging, sys\n"
        "from ta2n.pipeline.features.forward import _import_compiler\n"
        "if sys.argv[1] == 'ours': _import_compiler()\n"
        "import torch.utils.cpp_extension\n"
        "logging.getLogger('torch.utils.cpp_extension').warning('another line')\n"
    )

    def said(whose: str) -> str:
        env = os.environ | {"CUDA_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-c", code, whose]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=True).stderr

    assert "No CUDA runtime is found" in said("torch's")
    ours = said("ours")
    assert "CUDA" not in ours
    assert "another line" in ours
