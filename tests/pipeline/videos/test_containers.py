"""Every container that clips are looked for in: whole, the right frames, by the decoder that the rule names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_video import CONTAINERS, can_encode, moving_square, plain_decode, write_video

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.datasets.decode_check import compare_decoding
from ta2n.pipeline.datasets.folder import scan_folder
from ta2n.pipeline.datasets.scan import scan_copy
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, decode_clip
from ta2n.pipeline.videos.entries import VIDEO_SUFFIXES
from ta2n.pipeline.videos.frames import Size
from ta2n.pipeline.videos.headers import decoder_of, read_headers
from ta2n.pipeline.videos.pool import DecodePool

FRAMES = 30
BY_DECORD = {
    "h264.mp4", "hevc.mp4", "mpeg4.avi", "mjpeg.avi", "mjpeg.mov", "h264.mov",
    "h264.m4v", "wmv2.wmv", "msmpeg4.wmv", "flv1.flv", "h264.flv", "mpeg4.3gp", "h264.3gp",
}  # fmt: skip


def job(path: Path, *, frames: int = FRAMES) -> DecodeJob:
    return DecodeJob(path.name, path, "tsn", frames, 1, 0, None)


def test_every_suffix_has_a_file_here() -> None:
    assert {f".{name.rpartition('.')[2]}" for name in CONTAINERS} == set(VIDEO_SUFFIXES)


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_frame_of_every_container(tmp_path: Path, name: str) -> None:
    how: dict[str, Any] = CONTAINERS[name]
    if not can_encode(how["codec"]):
        pytest.skip(f"PyAV has no encoder {how['codec']} here")
    path = write_video(tmp_path / name, FRAMES, **how)
    with DecodePool(workers=1) as pool:
        (clip,) = pool.map([job(path)])
    assert isinstance(clip, DecodedClip), clip
    assert (clip.frame_count, clip.concealed) == (FRAMES, 0)
    assert clip.decoder == ("decord" if name in BY_DECORD else "pyav")
    plain = plain_decode(path)
    assert len(plain) == FRAMES
    encoded = [moving_square(number) for number in range(FRAMES)]
    for number, image in enumerate(clip.images):
        assert np.abs(image.astype(int) - plain[number]).mean() < 0.5
        # Codecs lose colours, a picture with a palette most of all, and still each frame is nearest to its own.
        assert int(np.argmin([np.abs(image.astype(int) - one).mean() for one in encoded])) == number


def test_both_ways_of_looking_for_clips_know_every_suffix_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    for number, suffix in enumerate(VIDEO_SUFFIXES):
        (tmp_path / "class" / f"{number}{suffix.upper() if number % 2 else suffix}").write_bytes(b"-")
    found = scan_folder(tmp_path)
    assert len(found.clips) == len(VIDEO_SUFFIXES)
    assert found.notes == ()
    assert sorted(scan_copy(tmp_path).clips) == sorted(clip.id for clip in found.clips)


def test_a_codec_without_a_decoder_is_refused_for_that(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", 5)
    content = path.read_bytes()
    assert content.count(b"V_MPEG4/ISO/AVC") == 1
    path.write_bytes(content.replace(b"V_MPEG4/ISO/AVC", b"V_NOBODY/KNOWS!"))
    with pytest.raises(DecodeError, match=r"clip\.mkv: its video has a codec that no decoder here knows\."):
        decode_clip(job(path))


def test_a_stream_that_begins_within_a_group_of_pictures_gives_what_can_be_decoded(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.ts", 40, options={"g": "10", "bf": "0"})
    packets = whole.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(packets[188 * (len(packets) // 188 // 3) :])
    headers = read_headers(cut)
    assert headers is not None
    assert (headers.container, decoder_of(headers)) == ("mpegts", "pyav")
    clip = decode_clip(job(cut, frames=4))
    assert clip.frame_count == len(plain_from_first_key(cut))


def plain_from_first_key(path: Path) -> list[bytes]:
    """The frames that ffmpeg puts out of a stream whose first packets cannot be decoded."""
    import av

    found: list[bytes] = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            try:
                found += [bytes(frame.planes[0]) for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
            except av.InvalidDataError:
                assert not found
    return found


@pytest.mark.parametrize("size", [None, 96, (64, 96)])
def test_a_stream_that_changes_its_size_is_scaled_to_its_first_frame(tmp_path: Path, size: Size) -> None:
    small, large = write_video(tmp_path / "a.ts", 10), write_video(tmp_path / "b.ts", 10, scale=2)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(large.read_bytes() + small.read_bytes())
    clip = decode_clip(DecodeJob("a", joined, "tsn", 20, 1, 0, size))
    assert clip.frame_count == 20
    shown = {None: (96, 128), 96: (96, 128), (64, 96): (64, 96)}[size]
    assert clip.images.shape == (20, *shown, 3)
    (found,) = compare_decoding([("joined", joined)], workers=1)
    assert found.result == "same", found.detail


def test_joined_files_are_read_to_the_end(tmp_path: Path) -> None:
    first, second = (write_video(tmp_path / f"{name}.webm", 10, codec="libvpx-vp9") for name in "ab")
    joined = tmp_path / "joined.webm"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    assert decode_clip(job(joined)).frame_count == 20


def test_a_title_in_another_encoding_changes_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", 5, title="unmistakable")
    content = path.read_bytes()
    assert b"unmistakable" in content
    path.write_bytes(content.replace(b"unmistakable", b"unm\xefstakable"))
    assert read_headers(path) is not None
    assert decode_clip(job(path)).frame_count == 5
    stream = write_video(tmp_path / "mpeg2.mkv", 5, codec="mpeg2video", title="unmistakable")
    stream.write_bytes(stream.read_bytes().replace(b"unmistakable", b"unm\xefstakable"))
    clip = decode_clip(job(stream))
    assert (clip.frame_count, clip.decoder) == (5, "pyav")
