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


def read_video_in_order(path: Path, pick: Pick, size: Size) -> Frames:
    """The frames of a video file that ``pick`` asks for; decoded twice, once to count and once to keep.

    Args:
        path: the file.
        pick: the wanted source frames, in any shape, given the number of frames in the clip.
        size: (height, width) to resize to, the length of the short side, or None for the native size.

    Raises:
        DecodeError: the file cannot be decoded from its first frame to its last.
    """
    with _decoding(path) as (frames, _):
        frame_count = sum(1 for _ in frames)
    if not frame_count:
        raise DecodeError(f"{path}: the video holds no frame that can be decoded.")
    wanted = set(np.unique(pick(frame_count)).tolist())
    with _decoding(path) as (frames, fps):
        images: list[Images] = []
        for number, frame in enumerate(frames):
            # A stream may change its size; ffmpeg then scales to that of the first frame.
            size = size if number else _shown_size(frame, size)
            if number in wanted:
                images.append(_image(frame, size))
    if len(images) < len(wanted):
        raise DecodeError(f"{path}: a second read finds fewer frames than the first ({frame_count}); it is damaged.")
    return Frames(np.stack(images), frame_count, fps)


@contextmanager
def _decoding(path: Path) -> Iterator[tuple[Iterator[av.VideoFrame], float]]:
    """All frames of the best video stream, and frames per second (0: unknown)."""
    try:
        with opened(path) as container:
            stream = best_video(container)
            if stream is None:
                raise DecodeError(f"{path}: the file holds no video stream.")
            if not codec_name(stream):
                raise DecodeError(f"{path}: its video has a codec that no decoder here knows.")
            rate = stream.average_rate
            yield decoded(container, stream), float(rate) if rate else 0.0
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
