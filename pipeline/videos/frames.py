"""Frames of a clip that is stored as a folder of numbered images."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.series import list_frames

# (height, width), the length of the short side, or None for what the file has.
Size = tuple[int, int] | int | None
Images = NDArray[np.uint8]
Pick = Callable[[int], NDArray[np.int32]]


class Frames(NamedTuple):
    """(U, H, W, 3) RGB in the order of their frame numbers, frames in the clip, frames per second (0: unknown)."""

    images: Images
    frame_count: int
    fps: float


def read_frame_folder(
    folder: Path, pick: Pick, size: Size, pattern: str | None = None
) -> tuple[NDArray[np.uint8], int]:
    """The frames of a folder that `pick` asks for; only these files are opened.

    Args:
        folder: holds the frames, as JPEG or PNG files.
        pick: the wanted frame numbers, in any shape, given the number of frames in the folder.
        size: (height, width) to resize to, the length of the short side, or None where all frames have one size.
        pattern: names the frames where the folder holds other images too, see `list_frames`.

    Returns:
        (U, H, W, 3) RGB frames in the order of their sorted numbers, and the number of frames in the folder.

    Raises:
        DecodeError: there is no frame, there are several series, one cannot be read, or sizes differ and none is given.
    """
    files = list_frames(folder, pattern)
    wanted = [files[i] for i in np.unique(pick(len(files))).tolist()]
    images = [_read_image(file, size) for file in wanted]
    for file, image in zip(wanted, images, strict=True):
        if image.shape != images[0].shape:
            found, first = (f"{w}x{h}" for h, w, _ in (image.shape, images[0].shape))
            raise DecodeError(f"{file}: this frame is {found}, others are {first}; give a size to resize them to.")
    return np.stack(images), len(files)


def resized(height: int, width: int, size: Size) -> tuple[int, int] | None:
    """(height, width) that an image is resized to; the long side is rounded down, as torchvision does.

    >>> resized(240, 320, 256)
    (256, 341)
    """
    if not isinstance(size, int):
        return size
    return (size, size * width // height) if height <= width else (size * height // width, size)


def _read_image(file: Path, size: Size) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            # Cameras store what they saw and say in EXIF how to turn it: orientations from 5 on lie on their side.
            lying = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            shown = (image.width, image.height) if lying else (image.height, image.width)
            wanted = resized(*shown, size)
            if wanted is not None:
                image.draft(None, wanted if lying else wanted[::-1])
            rgb = ImageOps.exif_transpose(_to_rgb(image))
            if wanted is not None and rgb.size != wanted[::-1]:
                rgb = rgb.resize(wanted[::-1], Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.asarray(rgb)
    except Exception as error:  # damaged images raise OSError, ValueError, SyntaxError, struct.error ... by format
        raise DecodeError(f"{file}: the frame cannot be read as an image ({error}).") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: a plain conversion would cut everything above 255 to white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
