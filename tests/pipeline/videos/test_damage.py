"""Errors that a decoder conceals: counted for damaged clips, and for no sound one."""

import os
from pathlib import Path

import numpy as np
import pytest
import shared_data
from synthetic_video import write_video

from ta2n.pipeline.videos.damage import ErrorMessages
from ta2n.pipeline.videos.decode import UNCOUNTED, DecodedClip, DecodeJob, FailedClip, decode_clip
from ta2n.pipeline.videos.pool import DecodePool


@pytest.fixture
def descriptor() -> int:
    return os.open(os.devnull, os.O_WRONLY)


def test_messages_are_counted_by_their_text_and_taken_once(descriptor: int) -> None:
    messages = ErrorMessages(descriptor)
    assert messages.take() == 0
    os.write(descriptor, b"[h264 @ 0x55aa] error while decoding MB 1 2\n[h264 @ 0x66bb] error while decoding MB 1 2\n")
    os.write(descriptor, b"[h264 @ 0x66bb] error while decoding MB 1 3\n[mpeg4 @ 0x1] error while decoding MB 1 3\n")
    os.write(descriptor, b"[12:00:00] video_reader.cc:1: no message of libav\nFutureWarning: nor is this\n")
    assert messages.take() == 3
    assert messages.take() == 0
    os.write(descriptor, b"[vp9 @ 0x1] Not enough data\n")
    assert messages.take() == 1
    os.write(descriptor, b"[mov @ 0x1] [h264 @ 0x2] [error] no frame!\n[h264 @ 0x2] [info] concealing 8 DC errors\n")
    os.write(descriptor, b"[NULL @ 0x2] [warning] Failed to parse extradata\n[warning] Truncating packet to 702\n")
    assert messages.take() == 3
    os.close(descriptor)


def damaged(path: Path, copy: Path, *, seed: int) -> Path:
    """A copy with 20 changed bytes in its second half, where there are pictures and no headers."""
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(len(content) // 2, len(content) * 9 // 10, 20).tolist():
        content[place] ^= 0xFF
    copy.write_bytes(content)
    return copy


@pytest.mark.parametrize(("name", "codec", "decoder"), [("a.avi", "mpeg4", "decord"), ("a.ts", "mpeg2video", "pyav")])
def test_damage_that_is_concealed_is_counted(tmp_path: Path, name: str, codec: str, decoder: str) -> None:
    sound = write_video(tmp_path / name, 60, codec=codec)
    copies = [damaged(sound, tmp_path / f"{seed}{name}", seed=seed) for seed in range(4)]
    jobs = [DecodeJob(path.name, path, "tsn", 8, 1, 0, None) for path in [sound, *copies, sound]]
    with DecodePool(workers=1) as pool:
        first, *torn, last = pool.map(jobs)
    for clip in (first, last):  # after damaged ones too
        assert isinstance(clip, DecodedClip)
        assert (clip.decoder, clip.concealed) == (decoder, 0)
    counts = [clip.concealed for clip in torn if isinstance(clip, DecodedClip)]
    assert counts
    assert min(counts) > 0
    assert all("damaged" in clip.reason for clip in torn if isinstance(clip, FailedClip))


def test_outside_a_decoding_process_nobody_counts(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5)
    assert decode_clip(DecodeJob("a", path, "tsn", 2, 1, 0, None)).concealed == UNCOUNTED


@shared_data.needs_shared
def test_no_error_is_counted_in_clips_as_they_were_published() -> None:
    paths = sorted((shared_data.DATA / "ucf101_mini").glob("*/*_c01.avi"))[:12]
    with DecodePool(workers=1) as pool:
        clips = list(pool.map(DecodeJob(path.name, path, "tsn", 8, 1, 0, None) for path in paths))
    assert {clip.concealed if isinstance(clip, DecodedClip) else -1 for clip in clips} == {0}
