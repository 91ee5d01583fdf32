"""From decoded frames to the backbone's input: which part of them a view takes. Nothing here imports torch."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError

_MOST_DIGITS = 5


@dataclass(frozen=True)
class Preprocessing:
    """How a frame becomes the backbone's input (protocol ``ta2n-paper`` of METHODS: 256×256, crop 224).

    Attributes:
        resize: (height, width) that a frame is resized to as it is decoded, whatever its aspect; or the length of its
            short side, the aspect kept.
        crop: side of the square taken from it: the centre in view 0, a random place in the others.
        flip: whether the random views are mirrored half of the time. Wrong where left and right are labels.
        mean: per channel, of images scaled to [0, 1].
        std: likewise.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: tuple[int, int] | int = (256, 256)
    crop: int = 224
    flip: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for the manifest."""
        return {
            "resize": self.resize if isinstance(self.resize, int) else list(self.resize),
            "crop": self.crop,
            "flip": self.flip,
            "mean": list(self.mean),
            "std": list(self.std),
        }


@dataclass(frozen=True)
class Window:
    """The part of a resized frame that a view takes: (top, left) of the crop, and whether it is mirrored."""

    top: int
    left: int
    mirrored: bool


def view_window(preprocessing: Preprocessing, images: tuple[int, int], *, view: int, seed: int, clip_id: str) -> Window:
    """Where a view crops images of (height, width): one window for all frames of a clip.

    A function of the images' size, (seed, clip, view) and nothing else.
    """
    height, width = images
    free = (height - preprocessing.crop, width - preprocessing.crop)
    if view == 0:
        return Window(free[0] // 2, free[1] // 2, mirrored=False)
    key = hashlib.blake2b(f"window {view} {clip_id}".encode(), digest_size=8).digest()
    generator = np.random.default_rng([seed, int.from_bytes(key, "little")])
    top, left = generator.integers(0, free[0] + 1), generator.integers(0, free[1] + 1)
    return Window(int(top), int(left), mirrored=bool(preprocessing.flip and generator.random() < 0.5))


def parse_resize(text: str) -> tuple[int, int] | int:
    """``256x256`` (height and width) or ``short-256`` as :attr:`Preprocessing.resize`.

    Raises:
        InputError: it is neither.
    """
    sides = text.removeprefix("short-").split("x")
    expected = 1 if text.startswith("short-") else 2
    if len(sides) != expected or not all(_is_side(side) for side in sides):
        raise InputError(f"resize {text!r} is not known; give HEIGHTxWIDTH, such as 256x256, or short-256")
    numbers = [int(side) for side in sides]
    return numbers[0] if expected == 1 else (numbers[0], numbers[1])


def _is_side(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) > 0


def crop_frames(images: NDArray[np.uint8], window: Window, crop: int) -> NDArray[np.uint8]:
    """(T, H, W, 3) frames -> (T, crop, crop, 3)."""
    part = images[:, window.top : window.top + crop, window.left : window.left + crop]
    return part[:, :, ::-1] if window.mirrored else part
