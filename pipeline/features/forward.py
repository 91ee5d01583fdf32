"""Frames through the backbone, a batch at a time."""

import contextlib
import importlib
import io
import logging
import math
import sys
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import MissingError
from ta2n.pipeline.features.preprocess import Preprocessing

BATCH_SIZES = {"cpu": 8, "cuda": 128}
"""Frames in one pass: the activations of more than one clip do not fit a CPU's caches; a GPU wants many."""

COMPILED_FROM = 500
"""Clips of a data set from which a CPU gets back, several times over, the seconds that compiling takes."""


class Forward:
    """The backbone on frames of any number, at most ``batch_size`` at a time.

    Args:
        module: the backbone, on the device, without gradients.
        preprocessing: how frames are normalised.
        device: where the module is.
        batch_size: frames in one pass; bounds memory.
        compiled: whether torch compiles the module for batches of this very size first, which takes some seconds.
            Batches are filled up with black frames then, so that no other size is ever compiled.

    Raises:
        MissingError: the module cannot be compiled here; on a CPU that takes a C++ compiler.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        batch_size: int,
        *,
        compiled: bool = False,
    ) -> None:
        self._module: Callable[[Tensor], Tensor] = module
        self.preprocessing, self.device, self.batch_size = preprocessing, device, batch_size
        self.compiled = compiled
        if compiled:
            self._module = torch.compile(module, dynamic=False)
            self._try_out()

    @torch.no_grad()  # under inference mode, torch does not freeze what it compiles
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        """(B, crop, crop, 3) bytes -> (B, C, H, W) float16."""
        starts = range(0, len(images), self.batch_size)
        return np.concatenate([self._pass(images[start : start + self.batch_size]) for start in starts])

    def _pass(self, images: NDArray[np.uint8]) -> NDArray[np.float16]:
        given = len(images)
        if self.compiled and given < self.batch_size:
            images = np.pad(images, ((0, self.batch_size - given), (0, 0), (0, 0), (0, 0)))
        maps = self._module(normalise(images, self.preprocessing, self.device))[:given]
        found: NDArray[np.float16] = maps.to(torch.float16).contiguous().cpu().numpy()
        return found

    def _try_out(self) -> None:
        _import_compiler()
        from torch._inductor import config  # imported here: it costs a second

        side = self.preprocessing.crop
        try:
            # Frozen weights let a CPU's convolutions take what follows them into the same call.
            with config.patch(freezing=self.device.type == "cpu"):
                self(np.zeros((1, side, side, 3), np.uint8))
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise MissingError(
                f"the backbone cannot be compiled here ({type(error).__name__}: {reason}); on a CPU that takes a C++ "
                "compiler such as g++; --no-compile gives the same features"
            ) from error


def _import_compiler() -> None:
    """Loads what torch compiles with, without its line on a machine that has CUDA's tools and no GPU: nobody asked."""

    def wanted(line: str) -> bool:
        return not line.startswith("No CUDA runtime is found")

    def keep(record: logging.LogRecord) -> bool:
        return wanted(record.getMessage())

    logger = logging.getLogger("torch.utils.cpp_extension")
    logger.addFilter(keep)
    # Versions of torch before the logger print it.
    with contextlib.redirect_stderr(io.StringIO()) as said:
        importlib.import_module(logger.name)
    sys.stderr.writelines(line for line in said.getvalue().splitlines(keepends=True) if wanted(line))


def fastest_forward(
    module: torch.nn.Module, preprocessing: Preprocessing, device: torch.device, batch_size: int, *, clips: int
) -> Forward:
    """The pass that takes least time for a data set of so many clips: compiled where that pays and can be done.

    The data set's clips decide, not those still to do: a run that is continued computes the same bytes.
    """
    if device.type == "cpu" and clips >= COMPILED_FROM:
        with contextlib.suppress(MissingError):  # nobody asked for it
            return Forward(module, preprocessing, device, batch_size, compiled=True)
    return Forward(module, preprocessing, device, batch_size)


def even_batch(batch_size: int, frames: int) -> int:
    """Frames in one pass, at most ``batch_size``: whole clips of ``frames``, or equal parts of one.

    Equal passes leave none that is nearly empty, and a compiled pass costs the same however few frames are in it.
    """
    if frames <= batch_size:
        return batch_size // frames * frames
    return math.ceil(frames / math.ceil(frames / batch_size))


def normalise(images: NDArray[np.uint8], preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """(B, H, W, 3) bytes -> (B, 3, H, W) float32 on ``device``, channels last, which costs no copy."""
    mean = torch.tensor(preprocessing.mean, device=device).view(3, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(3, 1, 1)
    pixels = torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)
    return pixels.float().sub_(255 * mean).div_(255 * std)
