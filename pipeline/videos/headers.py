"""Which decoder reads a video file: decided by what its headers say, so that every machine decides alike.

decord stays the first decoder, for the containers and codecs on which reading it in order was found to give exactly
the frames of a sequential decode. PyAV reads the rest. decord's index of a transport or program stream loses the frames
before a later key frame, without a word, and of two Matroska files that were joined it reads the first alone; it has no
AV1 decoder, and of a display matrix it reads the angle only, so that what is mirrored comes out turned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideData
from numpy.typing import NDArray

DECORD, PYAV = "decord", "pyav"

# By ffmpeg's names, which know a file by its bytes and not by its suffix.
_EXACT_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "avi", "asf", "flv"})
_EXACT_CODECS = frozenset(
    {"flv", "h263", "h264", "hevc", "mjpeg", "mpeg4", "msmpeg4", "msmpeg4v2", "vp8", "vp9", "wmv1", "wmv2", "wmv3"}
)
_UPRIGHT = (1, 0, 0, 1)

Orientation = tuple[int, int, int, int]
"""Signs of (x to x, x to y, y to x, y to y) of a display matrix."""


@dataclass(frozen=True)
class Headers:
    """What a file says about its video.

    Attributes:
        container: ffmpeg's name of the format.
        codec: of the stream that ffmpeg takes for the best; empty where PyAV has no decoder for it.
        has_duration: whether the file says how long it is.
        orientation: of its display matrix.
    """

    container: str
    codec: str
    has_duration: bool
    orientation: Orientation


def read_headers(path: Path) -> Headers | None:
    """The headers of a file; None where PyAV cannot open it, or it holds no video."""
    try:
        with opened(path) as container:
            stream = best_video(container)
            if stream is None:
                return None
            name, known = container.format.name, container.duration is not None
            # AVI has no display matrix; where there can be one, it comes with the first frame.
            first = None if name == "avi" else _first_frame(container, stream)
            return Headers(name, codec_name(stream), known, _UPRIGHT if first is None else orientation(first))
    except (av.FFmpegError, IndexError, UnicodeError, ValueError):
        return None


def opened(path: Path) -> av.container.InputContainer:
    """A file, opened by PyAV; titles and other metadata may be in any encoding.

    Raises:
        av.FFmpegError: it is no media file, or its headers are damaged.
    """
    # An absolute path: ffmpeg would take the start of a relative one such as "a:b.mp4" for a protocol.
    return av.open(str(path.absolute()), metadata_errors="replace")


def decoder_of(headers: Headers | None) -> str:
    """The decoder of a file: the rule of this module. What has no headers is left to decord, whose errors say why."""
    if headers is None:
        return DECORD
    exact = headers.container in _EXACT_CONTAINERS and headers.codec in _EXACT_CODECS and headers.has_duration
    return DECORD if exact and not mirrored(headers.orientation) else PYAV


def best_video(container: av.container.InputContainer) -> av.VideoStream | None:
    """The video stream that ffmpeg would take, which need not be the first."""
    return cast(av.VideoStream | None, container.streams.best("video"))


def codec_name(stream: av.VideoStream) -> str:
    """The codec of a stream by ffmpeg's name; empty where there is no decoder for it."""
    context = cast(av.VideoCodecContext | None, stream.codec_context)
    return "" if context is None else context.name


def decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """All frames of a stream, in the order in which a sequential decode puts them out.

    What comes before the first frame may be undecodable: streams are cut anywhere. Later on, it is damage.

    Raises:
        av.FFmpegError: the stream is damaged.
    """
    # The same guesses for what is missing, however many cores there are; a clip has one core anyway.
    stream.codec_context.thread_count = 1
    started = False
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            if started:
                raise
            continue
        started = started or bool(frames)
        yield from frames


def _first_frame(container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoFrame | None:
    if not codec_name(stream):
        return None
    try:
        return next(decoded(container, stream), None)
    except av.FFmpegError:
        return None


def orientation(frame: av.VideoFrame) -> Orientation:
    """What the display matrix of a frame says, rounded to quarter turns; upright where it has none."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return _UPRIGHT
    values = np.frombuffer(bytes(cast(SideData, found)), "<i4", 9)
    signs = np.sign(np.where(np.abs(values) >= 1 << 15, values, 0))  # 16.16 fixed point, nearest of -1, 0 and 1
    a, b, c, d = (int(signs[place]) for place in (0, 1, 3, 4))
    # Any other matrix is no quarter turn: ffmpeg rotates by its angle, and we leave the picture as it is.
    return (a, b, c, d) if (a and d and not b and not c) or (b and c and not a and not d) else _UPRIGHT


def mirrored(signs: Orientation) -> bool:
    """Whether an orientation is no rotation: its determinant is below zero."""
    a, b, c, d = signs
    return a * d - b * c < 0


def upright(image: NDArray[np.uint8], signs: Orientation) -> NDArray[np.uint8]:
    """An (H, W, 3) image as it is to be shown.

    A pixel at (x, y) goes to (a·x + c·y, b·x + d·y), counted from the side that a negative sign begins at.
    """
    a, b, c, d = signs
    if not a:
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
