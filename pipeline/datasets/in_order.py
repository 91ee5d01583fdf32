"""What a decode of ffmpeg from start to end puts out: the yardstick of `dataset check --decode`.

It shares no code with extraction, so that it can tell of extraction's faults: it keeps going where a packet cannot be
decoded, as ffmpeg does, and turns pictures by ffmpeg's own filters, chosen as ffmpeg's command line chooses them.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.filter
import numpy as np
from av.sidedata.sidedata import SideData
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.clips import view_indices
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob

NAME = "in order"


def decode_in_order(job: DecodeJob) -> DecodedClip:
    """The wanted frames of a video and their neighbours, at their own size, by decoding all of it.

    Returns:
        A clip whose source has three rows: the frames before, the wanted ones, the frames after.

    Raises:
        DecodeError: the file cannot be opened, or holds no video that can be decoded.
    """
    frame_count = sum(1 for _ in _frames(job.path))
    if not frame_count:
        raise DecodeError(f"{job.path}: no frame of it can be decoded.")
    wanted = view_indices(job.rule, frame_count=frame_count, frames=job.frames, views=1, seed=0, clip_id="")
    source = np.clip(wanted + np.array([[-1], [0], [1]], np.int32), 0, frame_count - 1)
    kept, position = np.unique(source, return_inverse=True)
    wanted_numbers, size = set(kept.tolist()), (0, 0)
    shown = []
    for number, frame in enumerate(_frames(job.path)):
        size = size if number else (frame.width, frame.height)
        if number in wanted_numbers:
            shown.append(_shown(frame, *size))
    images = np.stack(shown)
    return DecodedClip(job.clip_id, images, source, position.reshape(3, -1).astype(np.int32), frame_count, 0.0, NAME)


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    try:
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None or cast(object, stream.codec_context) is None:
                raise DecodeError(f"{path}: holds no video that can be decoded.")
            for packet in container.demux(stream):
                try:
                    yield from cast(list[av.VideoFrame], packet.decode())
                except av.InvalidDataError:
                    continue
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise DecodeError(f"{path}: cannot be decoded in order ({error}).") from error


def _shown(frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """An (H, W, 3) picture as it is to be shown, of the first frame's size, to which ffmpeg scales all."""
    picture = frame.reformat(format="rgb24", width=width, height=height)
    filters = _filters(frame)
    if not filters:
        return np.asarray(picture.to_ndarray(), np.uint8)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 25)
    )
    graph.link_nodes(source, *(graph.add(*one) for one in filters), graph.add("buffersink")).configure()
    graph.push(picture)
    return np.asarray(cast(av.VideoFrame, graph.pull()).to_ndarray(format="rgb24"), np.uint8)


def _filters(frame: av.VideoFrame) -> list[tuple[str, str]]:
    """The filters by which ffmpeg's command line turns a frame: `configure_input_video_filter` of its source."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return []
    matrix = np.frombuffer(bytes(cast(SideData, found)), "<i4", 9).tolist()
    across, down = math.hypot(matrix[0], matrix[3]), math.hypot(matrix[1], matrix[4])
    if not across or not down:
        return []
    angle = round(math.degrees(math.atan2(matrix[1] / down, matrix[0] / across))) % 360
    if angle == 90:
        return [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
    if angle == 270:
        return [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
    if angle == 180:
        return [("hflip", "")] * (matrix[0] < 0) + [("vflip", "")] * (matrix[4] < 0)
    if angle:
        return [("rotate", f"{angle}*PI/180")]
    return [("vflip", "")] * (matrix[4] < 0)
