"""Frames of a video file by PyAV, from the first to the last: for the files on which decord is not exact.

Frame k is the k-th frame that a sequential decode of the best video stream puts out, turned as its display matrix says:
what ffmpeg writes when it is asked to pass every frame through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.frames import Frames, Images, Pick, Size, resized
from ta2n.pipeline.videos.headers import best_video, codec_name, decoded, opened, orientation, upright

# With the number of packets, and with the true number of frames.
READS_AT_MOST = 2


def read_video_in_order(path: Path, pick: Pick, size: Size) -> Frames:
    """The frames of a video file that ``pick`` asks for.

    How many there are is guessed from the number of packets, and known after a decode of all; where the guess was wrong
    the file is decoded again.

    Args:
        path: the file.
        pick: the wanted source frames, in any shape, given the number of frames in the clip.
        size: (height, width) to resize to, the length of the short side, or None for the native size.

    Raises:
        DecodeError: the file cannot be decoded from its first frame to its last.
    """
    guess = _count_packets(path)
    for _ in range(READS_AT_MOST):
        wanted = set(np.unique(pick(guess)).tolist()) if guess else set()
        images, frame_count, fps = _read(path, wanted, size)
        if not frame_count:
            raise DecodeError(f"{path}: the video holds no frame that can be decoded.")
        if frame_count == guess:
            return Frames(np.stack(images), frame_count, fps)
        guess = frame_count
    raise DecodeError(f"{path}: every read finds another number of frames (last {frame_count}); the file is damaged.")


def _count_packets(path: Path) -> int:
    with _opened(path) as (container, stream):
        return sum(1 for packet in container.demux(stream) if packet.size)


def _read(path: Path, wanted: set[int], size: Size) -> tuple[list[Images], int, float]:
    """The wanted frames as far as there are any, the number of frames, and frames per second (0: unknown)."""
    images: list[Images] = []
    frame_count = 0
    with _opened(path) as (container, stream):
        for frame in decoded(container, stream):
            # A stream may change its size; ffmpeg then scales to that of the first frame.
            size = size if frame_count else _shown_size(frame, size)
            if frame_count in wanted:
                images.append(_image(frame, size))
            frame_count += 1
        rate = stream.average_rate
    return images, frame_count, float(rate) if rate else 0.0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A file and its best video stream; what libav finds wrong with it is a DecodeError."""
    try:
        with opened(path) as container:
            stream = best_video(container)
            if stream is None:
                raise DecodeError(f"{path}: the file holds no video stream.")
            if not codec_name(stream):
                raise DecodeError(f"{path}: its video has a codec that no decoder here knows.")
            yield container, stream
    except (av.FFmpegError, IndexError) as error:
        why = getattr(error, "strerror", None) or error
        raise DecodeError(f"{path}: the video is damaged or cannot be decoded ({why}).") from error


def _shown_size(frame: av.VideoFrame, size: Size) -> tuple[int, int]:
    """(height, width) of a frame as it is shown at a size."""
    shown = (frame.height, frame.width) if orientation(frame)[0] else (frame.width, frame.height)
    return resized(*shown, size) or shown


def _image(frame: av.VideoFrame, size: Size) -> Images:
    signs = orientation(frame)
    height, width = _shown_size(frame, size)
    if not signs[0]:
        height, width = width, height
    values = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    return np.ascontiguousarray(upright(np.asarray(values, np.uint8), signs))
