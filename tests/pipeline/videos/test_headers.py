"""Which decoder a file gets, and pictures that are turned or mirrored by their headers."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import DATA, needs_shared
from synthetic_video import HEIGHT, WIDTH, moving_square, with_matrix, write_video

from ta2n.pipeline.videos.decode import DecodeJob, decode_clip
from ta2n.pipeline.videos.headers import Headers, Orientation, decoder_of, mirrored, read_headers, upright

EIGHT: list[Orientation] = [
    *((a, 0, 0, d) for a, d in product((1, -1), repeat=2)),
    *((0, b, c, 0) for b, c in product((1, -1), repeat=2)),
]


def job(path: Path, *, size: tuple[int, int] | None = None) -> DecodeJob:
    return DecodeJob("clip", path, "tsn", 4, 1, 0, size)


def pixel_by_pixel(image: NDArray[np.uint8], signs: Orientation) -> NDArray[np.uint8]:
    """The definition: every pixel to the place that the matrix gives it, then shifted to begin at zero."""
    a, b, c, d = signs
    height, width, _ = image.shape
    moved = {(a * x + c * y, b * x + d * y): image[y, x] for y in range(height) for x in range(width)}
    left, top = (min(place[axis] for place in moved) for axis in (0, 1))
    shown = np.zeros((height, width, 3) if a else (width, height, 3), np.uint8)
    for (x, y), value in moved.items():
        shown[y - top, x - left] = value
    return shown


@pytest.mark.parametrize("signs", EIGHT)
def test_an_orientation_moves_every_pixel_as_its_matrix_says(signs: Orientation) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    assert np.array_equal(upright(image, signs), pixel_by_pixel(image, signs))


def test_mirrored_is_what_no_rotation_gives() -> None:
    assert [signs for signs in EIGHT if mirrored(signs)] == [(1, 0, 0, -1), (-1, 0, 0, 1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("signs", EIGHT)
def test_a_clip_is_shown_as_its_display_matrix_says(tmp_path: Path, signs: Orientation) -> None:
    path = with_matrix(write_video(tmp_path / "clip.mp4", 8), signs)
    shown = (HEIGHT, WIDTH) if signs[0] else (WIDTH, HEIGHT)
    headers = read_headers(path)
    assert headers is not None
    assert headers.orientation == signs
    size = (shown[0] * 2, shown[1] * 2)  # wide enough for decord
    clip = decode_clip(job(path, size=size))
    for image, number in zip(clip.images, np.unique(clip.source), strict=True):
        expected = upright(moving_square(int(number)), signs).repeat(2, 0).repeat(2, 1)
        assert np.abs(image.astype(int) - expected).mean() < 8  # scaled and coded; a wrong turn is over 20


def test_a_transport_stream_is_read_whole_whatever_its_suffix(tmp_path: Path) -> None:
    made = write_video(tmp_path / "clip.ts", 40, options={"g": "10"})
    named = made.rename(tmp_path / "clip.mp4")
    headers = read_headers(named)
    assert headers is not None
    assert (headers.container, decoder_of(headers)) == ("mpegts", "pyav")
    assert decode_clip(job(named, size=(96, 128))).frame_count == 40


@pytest.mark.parametrize(
    ("headers", "decoder"),
    [
        (None, "decord"),
        (Headers("avi", "mpeg4", True, (1, 0, 0, 1)), "decord"),
        (Headers("mov,mp4,m4a,3gp,3g2,mj2", "h264", True, (0, 1, -1, 0)), "decord"),
        (Headers("mov,mp4,m4a,3gp,3g2,mj2", "h264", True, (-1, 0, 0, 1)), "pyav"),
        (Headers("mov,mp4,m4a,3gp,3g2,mj2", "libdav1d", True, (1, 0, 0, 1)), "pyav"),
        (Headers("mov,mp4,m4a,3gp,3g2,mj2", "h264", False, (1, 0, 0, 1)), "pyav"),
        (Headers("matroska,webm", "vp8", True, (1, 0, 0, 1)), "pyav"),
        (Headers("mpeg", "mpeg2video", True, (1, 0, 0, 1)), "pyav"),
    ],
)
def test_the_rule_of_decoders(headers: Headers | None, decoder: str) -> None:
    assert decoder_of(headers) == decoder


@needs_shared
@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("01-ts-ps-first-gop-lost/ts_named.mp4", 100),
        ("04-no-duration-webm/mediarecorder_like.webm", 50),
        ("05-av1-no-video-stream/av1.mp4", 50),
        ("06-check-decode-false-alarm/phone_portrait.mp4", 50),
        ("07-mirrored-display-matrix/hflip.mp4", 50),
        ("10-first-gop-only-ts-damaged/one_gop_named.mp4", 50),
    ],
)
def test_clips_that_users_reported_give_all_their_frames(name: str, frames: int) -> None:
    assert decode_clip(job(DATA / "reported" / name)).frame_count == frames
