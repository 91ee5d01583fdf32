"""Whether clips decode, and to the frames that another decoder puts out when it reads them from start to end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ta2n.pipeline.clips import view_indices
from ta2n.pipeline.videos.av_reader import read_video_in_order
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip
from ta2n.pipeline.videos.headers import DECORD, decoder_of, read_headers
from ta2n.pipeline.videos.pool import DecodePool

# Mean difference in grey levels. Decoders round colours differently, by less than the first even where their colour
# conversions differ; a frame that is further off is wrong where a neighbour is closer, or past the second.
SAME_FRAME = 0.05
OTHER_COLOURS = 5.0


@dataclass(frozen=True)
class Comparison:
    """What became of one clip: `same`, `differs`, `failed`, or `read` where nothing is there to compare with."""

    clip_id: str
    result: str
    detail: str


def compare_decoding(
    clips: Sequence[tuple[str, Path]],
    *,
    workers: int,
    deadline_seconds: float = 30.0,
    on_clip: Callable[[int], None] | None = None,
) -> list[Comparison]:
    """Decodes the test frames of every clip as extraction does, and once more from start to end with PyAV.

    Clips that extraction reads with PyAV itself have nothing to be compared with, and neither have folders of frames.

    Args:
        clips: id and path of each.
        workers: decoding processes.
        deadline_seconds: of one clip, in each decoder.
        on_clip: called with the number of clips done.
    """
    jobs = [DecodeJob(name, path, "tsn", 8, 1, 0, None) for name, path in clips]
    videos = [job for job in jobs if not job.path.is_dir() and decoder_of(read_headers(job.path)) == DECORD]
    done: list[Comparison] = []
    with (
        DecodePool(workers=workers, deadline_seconds=deadline_seconds) as pool,
        DecodePool(workers=workers, deadline_seconds=deadline_seconds, decode=decode_in_order) as plain,
    ):
        in_order = plain.map(videos)
        compared = {job.clip_id for job in videos}
        for job, clip in zip(jobs, pool.map(jobs), strict=True):
            other = next(in_order) if job.clip_id in compared else None
            done.append(_compare(clip, other))
            if on_clip:
                on_clip(len(done))
    return done


def decode_in_order(job: DecodeJob) -> DecodedClip:
    """The wanted frames of a video and their neighbours, by decoding all of it with PyAV.

    Returns:
        A clip whose source has three rows: the frames before, the wanted ones, the frames after.

    Raises:
        DecodeError: PyAV cannot decode the file.
    """

    def around(frame_count: int) -> NDArray[np.int32]:
        wanted = view_indices(job.rule, frame_count=frame_count, frames=job.frames, views=1, seed=0, clip_id="")
        return np.clip(wanted + np.array([[-1], [0], [1]], np.int32), 0, frame_count - 1)

    found = read_video_in_order(job.path, around, None)
    source = around(found.frame_count)
    position = np.searchsorted(np.unique(source), source).astype(np.int32)
    return DecodedClip(job.clip_id, found.images, source, position, found.frame_count, found.fps)


def _compare(clip: DecodedClip | FailedClip, other: DecodedClip | FailedClip | None) -> Comparison:
    if isinstance(clip, FailedClip):
        return Comparison(clip.clip_id, "failed", clip.reason)
    frames = f"{clip.frame_count} frames"
    if other is None:
        return Comparison(clip.clip_id, "read", f"{frames}, not compared")
    if isinstance(other, FailedClip):
        return Comparison(clip.clip_id, "read", f"{frames}, not compared: {other.reason}")
    if clip.frame_count != other.frame_count:
        return Comparison(clip.clip_id, "differs", f"{frames}, in order {other.frame_count}")
    mine = clip.images[clip.position[0]]
    before, same, after = (_distances(mine, other.images[place]) for place in other.position)
    wrong = (same > SAME_FRAME) & ((np.minimum(before, after) < same) | (same > OTHER_COLOURS))
    detail = f"{frames}, largest mean difference {same.max():.3f} grey levels"
    if wrong.any():
        return Comparison(clip.clip_id, "differs", f"{detail}, {int(wrong.sum())} of {len(wrong)} frames are others")
    return Comparison(clip.clip_id, "same", detail)


def _distances(mine: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean absolute difference of each pair of (T, H, W, 3) images; infinite where the sizes differ."""
    if mine.shape != other.shape:
        return np.full(len(mine), np.inf)
    return np.array([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(mine, other, strict=True)])
