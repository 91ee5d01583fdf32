"""Frames of a video file, read in order with decord so that frame k is the k-th frame a decoder puts out.

decord's random access is not used: `get_batch`, and a `skip_frames` that crosses a key frame, seek, and a seek lands
on the wrong frame, without an error, in files with packed B-frames, edit lists or open groups of pictures. Reading
from the start is exact on all of these. Frames that nobody asked for are skipped between two key frames, where
skipping does not seek: they are decoded but not converted to RGB, which makes this about as fast as `get_batch`.

The announced length cannot be trusted either: decord counts packets, and fills up the end of the clip with copies of
its last frame. A fault tolerance below one frame makes it raise at the first copy, so every read ends at the true end.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import decord
import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.frames import Frames, Images, Pick, Size, resized

# Positive and below 1 / length, whatever the length: the first frame that decord makes up raises.
NO_MADE_UP_FRAMES = 1e-9
# An edit list hides the frames before time 0. Further below, decord means that a frame has no timestamp.
NO_TIMESTAMP_SECONDS = -1e9
# Frames before the expected end that are read one by one, so that a count that is a few frames too high shows exactly.
TAIL = 8
# Behind the true end, skipping more than 128 frames waits for ever, where reading one frame raises.
LONGEST_SKIP = 100
# With the announced length, to find the true one, and with the true one; more is a file that never decodes alike.
READS_AT_MOST = 3
CHANNELS = 3


def read_video(path: Path, pick: Pick, size: Size) -> Frames:
    """The frames of a video file that `pick` asks for.

    The announced length is only a guess, which every read checks by going on to the last frame. Where it was wrong
    the clip is read again, with the true one.

    Args:
        path: the file.
        pick: the wanted source frames, in any shape, given the number of frames in the clip.
        size: (height, width) to resize to, the length of the short side, or None for the native size.

    Raises:
        DecodeError: when the file is not a video that can be read from the first frame to the last.
    """
    size = _resized(path, size)
    reader = _open(path, size)
    try:
        frame_count, guess = 0, _visible_frames(reader)
    except IndexError as error:
        raise DecodeError(f"{path}: the file is cut off or damaged: nothing says when its frames are shown.") from error
    for attempt in range(READS_AT_MOST):
        reader = reader if attempt == 0 else _open(path, size)
        # Without a known key frame to skip to, every frame is converted: slower, and the count is exact.
        keys = reader.get_key_indices() if attempt == 0 else range(len(reader))
        images, frame_count = _read_in_order(reader, keys, np.unique(pick(guess)), guess, path)
        if frame_count == guess:
            if images[0].shape[2] != CHANNELS:
                # decord takes the padding of short rows for a fourth channel.
                width = images[0].shape[1]
                raise DecodeError(f"{path}: decord gives wrong images {width} pixels wide; ask for at least 64.")
            fps = float(reader.get_avg_fps())
            return Frames(np.stack(images), frame_count, fps if math.isfinite(fps) else 0.0)
        guess = frame_count
    raise DecodeError(f"{path}: every read finds another number of frames (last {frame_count}); the file is damaged.")


def _resized(path: Path, size: Size) -> tuple[int, int] | None:
    """(height, width) to ask decord for; where that depends on the file's own, its first frame is decoded for it."""
    if not isinstance(size, int):
        return size
    try:
        height, width, _ = _open(path, None).next().shape
    except (StopIteration, decord.DECORDError) as error:
        raise DecodeError(f"{path}: the video holds no frame that can be decoded.") from error
    return resized(height, width, size)


def _open(path: Path, size: tuple[int, int] | None) -> decord.VideoReader:
    height, width = size or (-1, -1)
    # An absolute path: ffmpeg would take the start of a relative one such as "a:b.mp4" for a protocol.
    source = str(path.absolute())
    try:
        return decord.VideoReader(source, width=width, height=height, num_threads=1, fault_tol=NO_MADE_UP_FRAMES)
    except (decord.DECORDError, RuntimeError, AssertionError, UnicodeEncodeError) as error:
        raise DecodeError(f"{path}: {_why_not_opened(error)}") from error


def _why_not_opened(error: Exception) -> str:
    text = str(error)
    if "cannot find video stream" in text:
        return "the file holds no video stream."
    if "av_read_frame" in text:
        return "the file is cut off or damaged: its packets cannot be read to the end."
    if "buffer source" in text:  # whose pixel format the first frame would have told
        return "the video holds no frame that can be decoded."
    if isinstance(error, UnicodeEncodeError):
        return "the name of the file is not valid UTF-8; rename it."
    if isinstance(error, AssertionError):
        return "the video holds no frames."
    if isinstance(error, decord.DECORDError):
        return "the headers of the file are damaged or say too little."
    return "the file is not a video that can be opened."


def _visible_frames(reader: decord.VideoReader) -> int:
    starts = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
    hidden = int(np.count_nonzero((starts < 0) & (starts > NO_TIMESTAMP_SECONDS)))
    return len(reader) - hidden or len(reader)


def _read_in_order(
    reader: decord.VideoReader, keys: Sequence[int], wanted: NDArray[np.int32], expected: int, path: Path
) -> tuple[list[Images], int]:
    """The wanted frames as far as there are any, and the number of frames to the end of the clip."""
    images: list[Images] = []
    clip = _InOrder(reader, keys)
    try:
        for frame in wanted.tolist():
            clip.go_to(frame)
            images.append(clip.read().asnumpy())
        clip.go_to(expected - TAIL)
        while True:
            clip.read()
    except (StopIteration, decord.DECORDLimitReachedError):
        pass
    except decord.DECORDError as error:
        announced = f"{len(reader)} frames announced"
        raise DecodeError(f"{path}: the video is damaged, decoding stops before its end ({announced}).") from error
    if clip.position == 0:
        raise DecodeError(f"{path}: the video holds no frame that can be decoded.")
    return images, clip.position


class _InOrder:
    """Goes through a video without a seek and counts its frames, also when the end comes as an exception."""

    def __init__(self, reader: decord.VideoReader, keys: Sequence[int]) -> None:
        self.position = 0
        self._reader = reader
        self._keys = keys

    def read(self) -> decord.nd.NDArray:
        image = self._reader.next()
        self.position += 1
        return image

    def go_to(self, target: int) -> None:
        """Skips up to the frame before a key frame, reads that one, and so on to `target`."""
        while self.position < target:
            following = bisect_right(self._keys, self.position)
            next_key = self._keys[following] if following < len(self._keys) else len(self._reader)
            stop = min(target, next_key - 1, self.position + LONGEST_SKIP)
            if stop > self.position:
                self._reader.skip_frames(stop - self.position)
                self.position = stop
            if self.position < target:
                self.read()
