"""Whether clips decode, and to the frames that a plain decode from start to end puts out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ta2n.pipeline.datasets.in_order import decode_in_order
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip
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
    frame_pattern: str | None = None,
    on_clip: Callable[[int], None] | None = None,
) -> list[Comparison]:
    """Decodes the test frames of every clip as extraction does, and once more from start to end.

    Folders of frames have nothing to be compared with.

    Args:
        clips: id and path of each.
        workers: decoding processes.
        deadline_seconds: of one clip, in each way.
        frame_pattern: which images of a clip's folder are its frames; None for all.
        on_clip: called with the number of clips done.
    """
    jobs = [DecodeJob(name, path, "tsn", 8, 1, 0, None, frame_pattern) for name, path in clips]
    videos = [job for job in jobs if job.path.is_file()]
    done: list[Comparison] = []
    with (
        DecodePool(workers=workers, deadline_seconds=deadline_seconds) as pool,
        DecodePool(workers=workers, deadline_seconds=deadline_seconds, decode=decode_in_order) as plain,
    ):
        in_order = plain.map(videos)
        compared = {job.clip_id for job in videos}
        for job, clip in zip(jobs, pool.map(jobs), strict=True):
            other = next(in_order) if job.clip_id in compared else None
            done.append(compare(clip, other))
            if on_clip:
                on_clip(len(done))
    return done


def compare(clip: DecodedClip | FailedClip, other: DecodedClip | FailedClip | None) -> Comparison:
    """What became of a clip.

    Args:
        clip: as extraction decodes it.
        other: as `decode_in_order` does; None where there is nothing to compare with.
    """
    if isinstance(clip, FailedClip):
        return Comparison(clip.clip_id, "failed", clip.reason)
    frames = f"{clip.frame_count} frames by {clip.decoder}"
    if clip.concealed > 0:
        frames += f", {clip.concealed} {'error' if clip.concealed == 1 else 'errors'} concealed"
    if not isinstance(other, DecodedClip):
        why = f": {other.reason}" if other else ""
        return Comparison(clip.clip_id, "read", f"{frames}, not compared{why}")
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
