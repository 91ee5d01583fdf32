"""Folders of frames: natural order, any image mode, and failures that name the file."""

from pathlib import Path

import numpy as np
import pytest
import shared_data
from PIL import ExifTags, Image

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, decode_clip
from ta2n.pipeline.videos.frames import read_frame_folder
from ta2n.pipeline.videos.series import list_frames


def decode(folder: Path, *, frames: int = 3, size: tuple[int, int] | None = None) -> DecodedClip:
    return decode_clip(DecodeJob(folder.name, folder, "tsn", frames, 1, 0, size))


def save(folder: Path, *names: str, size: tuple[int, int] = (8, 6)) -> None:
    """One flat image a name, each a shade of its own: 20, 40, 60 ..."""
    for i, name in enumerate(names, start=1):
        Image.new("RGB", size, (20 * i, 20 * i, 20 * i)).save(folder / name)


def test_frames_are_taken_in_natural_order_and_other_files_left_alone(tmp_path: Path) -> None:
    save(tmp_path, "f1.png", "f2.PNG", "f10.png")
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_text("no frame")
    assert [file.name for file in list_frames(tmp_path)] == ["f1.png", "f2.PNG", "f10.png"]
    clip = decode(tmp_path)
    assert clip.images[:, 0, 0, 0].tolist() == [20, 40, 60]
    assert (clip.images.shape, clip.frame_count, clip.fps) == ((3, 6, 8, 3), 3, 0.0)


def test_only_wanted_frames_are_opened(tmp_path: Path) -> None:
    save(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "1.png").write_bytes(b"damaged")
    assert decode(tmp_path, frames=1).source.tolist() == [[1]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 0), (90, 90, 90)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 0x5A00, (0x5A, 0x5A, 0x5A)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, colour: int, expected: tuple[int, int, int]) -> None:
    Image.new(mode, (8, 6), colour).save(tmp_path / "1.png")
    assert decode(tmp_path).images[0, 0, 0].tolist() == list(expected)


def test_a_palette_with_transparency_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 6), (200, 30, 60)).quantize(4)
    image.save(tmp_path / "1.png", transparency=bytes([0, 128, 255, 255]))
    assert decode(tmp_path).images[0, 0, 0].tolist() == [200, 30, 60]


def test_frames_of_different_sizes_need_a_size(tmp_path: Path) -> None:
    save(tmp_path, "1.jpg", "2.jpg", size=(8, 6))
    save(tmp_path, "3.jpg", size=(9, 6))
    with pytest.raises(DecodeError, match=r"3\.jpg: this frame is 9x6, others are 8x6; give a size"):
        decode(tmp_path)
    assert decode(tmp_path, size=(4, 5)).images.shape == (3, 4, 5, 3)


def test_a_large_frame_is_averaged_down_not_picked_from(tmp_path: Path) -> None:
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "1.png")
    small = decode(tmp_path, size=(32, 32)).images
    assert np.abs(small.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("name", ["2.jpg", "2.png"])
def test_a_damaged_frame_is_named(tmp_path: Path, name: str) -> None:
    save(tmp_path, "1.png", name, "3.png")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DecodeError, match=rf"{name}: the frame cannot be read as an image \("):
        decode(tmp_path)


def test_a_folder_without_frames_is_named(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="holds no JPEG or PNG frames"):
        decode(tmp_path)


@shared_data.needs_shared
def test_a_clip_of_frames_gives_its_files_in_order() -> None:
    folder = min((shared_data.DATA / "ssv2_mini/test").glob("*/*"))
    clip = decode(folder, frames=8)
    files = sorted(folder.iterdir())
    assert clip.source.tolist() == [list(range(8))]
    for file, image in zip(files, clip.images, strict=True):
        with Image.open(file) as reference:
            assert np.array_equal(image, np.asarray(reference.convert("RGB")))


def test_a_frame_that_a_camera_stored_lying_is_shown_upright(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, :, 0] = 255  # red at the top of what the sensor saw
    for orientation, turned in {1: pixels, 3: pixels[::-1, ::-1], 6: np.rot90(pixels, -1), 8: np.rot90(pixels)}.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        folder = tmp_path / str(orientation)
        folder.mkdir()
        Image.fromarray(pixels).save(folder / "1.png", exif=exif)
        images, _ = read_frame_folder(folder, lambda _: np.zeros(1, np.int32), None)
        assert np.array_equal(images[0], turned)


def test_frames_of_several_series_are_refused_by_their_names(tmp_path: Path) -> None:
    for name in ("img_1.png", "img_2.png", "flow_x_1.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with pytest.raises(DecodeError, match=r"several series of frames: flow_x_\* \(1\), img_\* \(2\)"):
        decode(tmp_path)
    taken = decode_clip(DecodeJob("a", tmp_path, "tsn", 2, 1, 0, None, "img_*"))
    assert (taken.frame_count, taken.decoder) == (2, "images")
