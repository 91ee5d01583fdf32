"""The check of decoding against PyAV: what agrees, what differs, what fails, and what cannot be compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shared_data
from PIL import Image
from synthetic_video import moving_square, with_matrix, write_video

from ta2n.pipeline.datasets import decode_check
from ta2n.pipeline.datasets.decode_check import compare_decoding
from ta2n.pipeline.datasets.in_order import decode_in_order
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip, decode_clip
from ta2n.pipeline.videos.headers import Orientation, upright

ODD_VIDEOS = shared_data.DATA / "odd_videos"


def results(*paths: Path) -> dict[str, str]:
    return {one.clip_id: one.result for one in compare_decoding([(path.name, path) for path in paths], workers=1)}


def test_a_video_agrees_a_folder_is_read_and_a_text_fails(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    Image.fromarray(moving_square(0)).save(tmp_path / "frames" / "1.png")
    (tmp_path / "text.avi").write_text("no video")
    seen: list[int] = []
    paths = [write_video(tmp_path / "good.mp4", 20), tmp_path / "frames", tmp_path / "text.avi"]
    found = compare_decoding([(path.name, path) for path in paths], workers=1, on_clip=seen.append)
    assert [(one.clip_id, one.result) for one in found] == [
        ("good.mp4", "same"),
        ("frames", "read"),
        ("text.avi", "failed"),
    ]
    assert found[0].detail.startswith("20 frames by decord, largest mean difference 0.0")
    assert found[1].detail == "1 frames by images, not compared"
    assert seen == [1, 2, 3]


def test_clips_of_both_decoders_are_compared(tmp_path: Path) -> None:
    jobs = [(path.name, path) for path in (write_video(tmp_path / name, 20) for name in ("a.ts", "a.mp4"))]
    found = compare_decoding(jobs, workers=1)
    assert [(one.result, one.detail.partition(",")[0]) for one in found] == [
        ("same", "20 frames by pyav"),
        ("same", "20 frames by decord"),
    ]


@pytest.mark.parametrize(
    "signs", [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]
)
def test_a_turned_or_mirrored_clip_is_compared_as_ffmpeg_shows_it(tmp_path: Path, signs: Orientation) -> None:
    path = with_matrix(write_video(tmp_path / "a.mp4", 20), signs)
    clip = decode_in_order(DecodeJob("a", path, "tsn", 8, 1, 0, None))
    for number, place in zip(clip.source[1].tolist(), clip.position[1].tolist(), strict=True):
        expected = upright(moving_square(number), signs)
        assert np.abs(clip.images[place].astype(int) - expected).mean() < 8
    if signs[0]:  # decord takes no picture of 48 pixels' width
        assert results(path) == {"a.mp4": "same"}


@shared_data.needs_shared
def test_clips_that_users_reported_are_the_same_both_ways() -> None:
    paths = [path for path in sorted((shared_data.DATA / "reported").glob("*/*")) if path.suffix in (".mp4", ".webm")]
    assert len(paths) == 6
    assert set(results(*paths).values()) == {"same"}


def test_other_frames_and_another_length_differ(tmp_path: Path) -> None:
    job = DecodeJob("a", write_video(tmp_path / "a.mp4", 20), "tsn", 8, 1, 0, None)
    clip, plain = decode_clip(job), decode_in_order(job)
    assert plain.source.tolist() == [(clip.source[0] + shift).tolist() for shift in (-1, 0, 1)]

    def compare(changed: DecodedClip | FailedClip, other: DecodedClip | FailedClip) -> tuple[str, str]:
        found = decode_check.compare(changed, other)
        return found.result, found.detail

    assert compare(clip, plain)[0] == "same"
    late = replace(clip, images=plain.images[plain.position[2]])
    assert compare(late, plain)[0] == "differs"
    assert compare(late, plain)[1].endswith("8 of 8 frames are others")
    assert compare(replace(clip, frame_count=21), plain) == ("differs", "21 frames by decord, in order 20")
    assert compare(replace(clip, images=clip.images[:, ::2]), plain)[0] == "differs"
    brighter = replace(clip, images=np.minimum(clip.images.astype(int) + 2, 255).astype(np.uint8))
    assert compare(brighter, plain)[0] == "same"
    assert compare(clip, FailedClip("a", "no")) == ("read", "20 frames by decord, not compared: no")
    assert compare(FailedClip("a", "torn"), plain) == ("failed", "torn")


@shared_data.needs_shared
def test_odd_videos_agree_or_fail() -> None:
    found = results(*sorted(ODD_VIDEOS.iterdir()))
    good = {"cut.mp4", "trunc50.avi", "x_cutcopy.mp4", "x_mpeg4.avi", "x_vfr.mp4", "x_vp9.webm"}
    assert {name for name, result in found.items() if result == "same"} == good
    assert set(found.values()) == {"same", "failed"}
