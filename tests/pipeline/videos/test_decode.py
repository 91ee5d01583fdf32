"""Decoded frames against a plain decode of the whole file by PyAV: the right frames, or a reason."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_data
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from synthetic_video import plain_decode, write_video

from ta2n.cache_schema.errors import DecodeError, InputError
from ta2n.pipeline.clips import view_indices
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip, decode_clip, decoder_version
from ta2n.pipeline.videos.frames import Size, resized
from ta2n.pipeline.videos.pool import DecodePool

ODD_VIDEOS = shared_data.DATA / "odd_videos"
# Mean difference in grey levels between one frame of the two decoders: they round the inverse transform of MPEG-4
# differently, by 0.001 at most. Shifted by one frame, the worst of the wanted frames must be off by twice the limit.
SAME_FRAME = 0.005

GOOD = {  # name: frames in a plain decode; cut.mp4 announces 434, x_cutcopy.mp4 280, trunc50.avi 164
    "cut.mp4": 302,
    "trunc50.avi": 77,
    "x_cutcopy.mp4": 241,
    "x_mpeg4.avi": 300,
    "x_vfr.mp4": 200,
    "x_vp9.webm": 355,
}
BAD = {
    "audio.mp4": "the file holds no video stream",
    "corrupt_middle.mp4": "the video is damaged, decoding stops before its end",
    "empty.mp4": "the file is empty",
    "text.mp4": "the file is not a video that can be opened",
    "trunc.mp4": "the file is cut off or damaged",
    "trunc50_faststart.mp4": "the file is cut off or damaged",
    "zero.mp4": "the video is damaged, decoding stops before its end",
}
UCF101 = [
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
    "BenchPress/v_BenchPress_g01_c02.avi",
    "BodyWeightSquats/v_BodyWeightSquats_g10_c04.avi",
    "JumpingJack/v_JumpingJack_g03_c01.avi",
    "Lunges/v_Lunges_g10_c02.avi",
    "Lunges/v_Lunges_g17_c01.avi",
    "PullUps/v_PullUps_g09_c04.avi",
    "PushUps/v_PushUps_g05_c04.avi",
    "PushUps/v_PushUps_g16_c03.avi",
]


def job(path: Path, *, rule: str = "tsn", frames: int = 8, views: int = 4, size: Size = None) -> DecodeJob:
    return DecodeJob(path.name, path, rule, frames, views, 11, size)


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def assert_plain_frames(clip: DecodedClip, path: Path, *, rule: str = "tsn") -> None:
    """The clip holds the frames that the rule names for the true length, and a shift by one frame would show."""
    plain = plain_decode(path)
    wanted = view_indices(rule, frame_count=len(plain), frames=8, views=4, seed=11, clip_id=path.name)
    assert clip.frame_count == len(plain)
    assert np.array_equal(clip.source, wanted)
    assert clip.images.dtype == np.uint8
    assert len(clip.images) == len(np.unique(wanted))
    assert np.array_equal(np.unique(wanted)[clip.position], wanted)

    def worst(shift: int) -> float:
        sources = np.clip(np.unique(wanted) + shift, 0, len(plain) - 1)
        return max(distance(image, plain[k]) for image, k in zip(clip.images, sources, strict=True))

    assert worst(0) < SAME_FRAME
    assert min(worst(-1), worst(1)) > 2 * SAME_FRAME


@shared_data.needs_shared
@pytest.mark.parametrize("rule", ["tsn", "linspace"])
@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_odd_video_gives_the_frames_of_a_plain_decode(name: str, rule: str) -> None:
    clip = decode_clip(job(ODD_VIDEOS / name, rule=rule))
    assert clip.frame_count == GOOD[name]
    assert_plain_frames(clip, ODD_VIDEOS / name, rule=rule)


@shared_data.needs_shared
@pytest.mark.parametrize("name", sorted(BAD))
def test_a_damaged_video_is_refused_with_its_path_and_a_reason(name: str) -> None:
    with pytest.raises(DecodeError, match=BAD[name]) as caught:
        decode_clip(job(ODD_VIDEOS / name))
    assert str(caught.value).startswith(str(ODD_VIDEOS / name))
    assert "\n" not in str(caught.value)


@shared_data.needs_shared
def test_every_odd_video_ends_as_the_same_clip_or_reason_in_the_pool() -> None:
    jobs = [job(path) for path in sorted(ODD_VIDEOS.iterdir())]
    assert {one.clip_id for one in jobs} == GOOD.keys() | BAD.keys()
    with DecodePool(workers=2) as pool:
        for one, answer in zip(jobs, pool.map(jobs), strict=True):
            assert answer.clip_id == one.clip_id
            if isinstance(answer, FailedClip):
                assert BAD[one.clip_id] in answer.reason
            else:
                alone = decode_clip(one)
                assert one.clip_id in GOOD
                assert np.array_equal(answer.images, alone.images)
                assert np.array_equal(answer.source, alone.source)
                assert np.array_equal(answer.position, alone.position)
                assert (answer.frame_count, answer.fps) == (alone.frame_count, alone.fps)


@shared_data.needs_shared
@pytest.mark.parametrize("name", UCF101)
def test_an_original_ucf101_clip_gives_the_frames_of_a_plain_decode(name: str) -> None:
    path = shared_data.DATA / "ucf101_mini" / name
    assert_plain_frames(decode_clip(job(path)), path)


X264_OPEN_GOP = {"x264-params": "open-gop=1:keyint=10:bframes=3:b-pyramid=2"}
X265_OPEN_GOP = {"x265-params": "open-gop=1:keyint=10:log-level=none"}
ENCODINGS: dict[str, dict[str, Any]] = {
    "b_frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "open_gop.mkv": {"options": X264_OPEN_GOP},
    "hevc_open_gop.mp4": {"codec": "libx265", "options": X265_OPEN_GOP},
    "hidden_frames.webm": {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "20"}},
    "b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "key_frames_only.mov": {"codec": "mjpeg"},
    "variable_rate.mp4": {"ticks": [i + i * i // 4 for i in range(45)]},
    "three_too_many_announced.avi": {"codec": "mpeg4", "empty_after": 20},
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_kind_of_encoding_gives_the_frames_of_a_plain_decode(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, 45, **ENCODINGS[name])
    clip = decode_clip(job(path))
    assert clip.frame_count == 45
    assert_plain_frames(clip, path)


# In C the hang hears no signal: only ending the whole run from another thread would show it.
@pytest.mark.timeout(60, method="thread")
def test_a_clip_that_announces_far_too_many_frames_does_not_hang(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 45, codec="mpeg4", empty_after=43, empty_packets=2000)
    clip = decode_clip(job(path, frames=1, views=1))
    assert (clip.frame_count, clip.source.tolist()) == (45, [[22]])
    assert distance(clip.images[0], plain_decode(path)[22]) < SAME_FRAME


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_clip_shorter_than_the_rule_repeats_its_frames(tmp_path: Path, frames: int) -> None:
    path = write_video(tmp_path / "short.mp4", frames)
    clip = decode_clip(job(path, views=1))
    plain = plain_decode(path)
    assert clip.frame_count == len(clip.images) == frames
    assert np.array_equal(clip.source, clip.position)
    assert all(distance(image, plain[i]) < SAME_FRAME for i, image in enumerate(clip.images))


def test_a_size_resizes_without_changing_which_frames_are_taken(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 20)
    small, native = decode_clip(job(path, size=(24, 40))), decode_clip(job(path))
    assert small.images.shape[1:] == (24, 40, 3)
    assert native.images.shape[1:] == (48, 64, 3)
    assert np.array_equal(small.source, native.source)
    assert small.fps == pytest.approx(25.0)


def test_a_width_that_decord_cannot_give_is_an_error_not_a_wrong_image(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 6)
    with pytest.raises(DecodeError, match=r"48 pixels wide.*at least 64"):
        decode_clip(job(path, size=(36, 48)))


def test_a_short_side_keeps_the_aspect_in_videos_and_folders(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 6)  # 48×64
    clip = decode_clip(job(path, size=96))
    assert clip.images.shape[1:] == (96, 128, 3)
    assert np.array_equal(clip.source, decode_clip(job(path)).source)
    folder = tmp_path / "frames"
    folder.mkdir()
    for frame in range(3):
        Image.new("RGB", (48, 100), (frame, 0, 0)).save(folder / f"{frame}.png")
    assert decode_clip(job(folder, size=36)).images.shape[1:] == (75, 36, 3)


@given(height=st.integers(1, 4000), width=st.integers(1, 4000), side=st.integers(1, 600))
def test_a_resized_short_side_is_exact_and_the_long_one_within_a_pixel(height: int, width: int, side: int) -> None:
    found = resized(height, width, side)
    assert found is not None
    assert min(found) == side
    assert abs(found[0] * width - found[1] * height) < max(height, width)
    assert resized(height, width, (3, 4)) == (3, 4)
    assert resized(height, width, None) is None


def test_a_name_that_ffmpeg_would_take_for_a_protocol_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "plain.mp4", 3).rename(tmp_path / "-data: 100% süß.mp4")
    monkeypatch.chdir(tmp_path)
    assert decode_clip(job(Path("-data: 100% süß.mp4"))).frame_count == 3


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DecodeError, match=r"nowhere\.mp4: there is no such file or folder"):
        decode_clip(job(Path("nowhere.mp4")))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(DecodeError, match=r"pipe\.mp4: is no file but a pipe, socket or device\."):
        decode_clip(job(tmp_path / "pipe.mp4"))
    with pytest.raises(DecodeError, match=r"loop\.mp4: cannot be read \(Too many levels of symbolic links\)\."):
        decode_clip(job(tmp_path / "loop.mp4"))


def test_a_job_that_makes_no_sense_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 3)
    with pytest.raises(InputError, match="Unknown sampling rule 'dense'"):
        decode_clip(job(path, rule="dense"))


def test_the_decoders_are_named_with_their_versions() -> None:
    assert re.fullmatch(r"decord \d[\d.]*, PyAV \d[\d.]*", decoder_version())
