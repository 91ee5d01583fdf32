"""The unit of work of every way to extract: the pending rows of one shard, from decoded clips to the store."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import WorkerError
from ta2n.cache_schema.values import DECODERS
from ta2n.pipeline.cache.writer import CacheWriter, Shard
from ta2n.pipeline.features.forward import Forward
from ta2n.pipeline.features.plan import Plan
from ta2n.pipeline.features.preprocess import crop_frames, view_window
from ta2n.pipeline.videos.decode import DecodedClip, FailedClip

Clip = DecodedClip | FailedClip


@dataclass(frozen=True)
class Receipt:
    """What became of a shard: small enough to be sent back from anywhere.

    Attributes:
        rows: of the shard.
        done: rows that were filled with maps.
        failed: rows whose clip could not be used; the reasons are in the store.
    """

    rows: range
    done: tuple[int, ...]
    failed: tuple[int, ...]


def compute_shard(
    plan: Plan,
    rows: range,
    pending: Sequence[int],
    *,
    writer: CacheWriter,
    clips: Iterator[Clip],
    forward: Forward,
    on_clip: Callable[[Clip], None] | None = None,
) -> Receipt:
    """Fills the pending rows of a shard and commits it.

    Args:
        plan: what to extract.
        rows: of the shard.
        pending: those of its rows that are to be filled, in order. Whoever asked for ``clips`` asked for just these:
            the list is made once and used for both, so that a store that changes meanwhile moves no clip.
        writer: of the store.
        clips: gives the clips of ``pending``, in order; further ones are left in it.
        forward: the backbone.
        on_clip: called after each clip, with the clip or its failure.

    Returns:
        What was done.

    Raises:
        WorkerError: a clip is not that of its row; nothing is written then.
    """
    shard = writer.load(rows)
    done: list[int] = []
    failed: list[int] = []
    at_once = max(1, forward.batch_size // (plan.views * plan.frames))
    for start in range(0, len(pending), at_once):
        batch = [(row, _of_row(plan, row, next(clips))) for row in pending[start : start + at_once]]
        for row, clip in _with_maps(plan, batch, shard, forward):
            (done if isinstance(clip, DecodedClip) else failed).append(row)
            if on_clip:
                on_clip(clip)
    writer.commit(shard)
    return Receipt(rows, tuple(done), tuple(failed))


def _of_row(plan: Plan, row: int, clip: Clip) -> Clip:
    """The clip, if it is the row's."""
    expected = str(plan.videos.id[row])
    if clip.clip_id != expected:
        raise WorkerError(
            f"row {row} is the clip {expected!r}, and {clip.clip_id!r} was decoded for it: a fault of ta2n; nothing of "
            "this shard was written, run again"
        )
    return clip


def _with_maps(
    plan: Plan, batch: Sequence[tuple[int, Clip]], shard: Shard, forward: Forward
) -> Iterator[tuple[int, Clip]]:
    """Puts the maps or the failures of some clips into their rows; yields each row with what became of its clip."""
    decoded = [clip for _, clip in batch if isinstance(clip, DecodedClip)]
    maps = iter(forward(np.concatenate([_views(plan, clip) for clip in decoded]))) if decoded else iter(())
    for row, clip in batch:
        kept = clip
        if isinstance(clip, DecodedClip):
            own = np.stack(list(itertools.islice(maps, plan.views * plan.frames)))
            kept = _put(shard, row, clip, own.reshape(plan.views, plan.frames, *own.shape[1:]))
        if isinstance(kept, FailedClip):
            # The row says which file; a long path would leave no room for the reason.
            kept = FailedClip(kept.clip_id, kept.reason.removeprefix(f"{plan.path(row)}: "))
            shard.fail(row, kept.reason)
        yield row, kept


def _put(shard: Shard, row: int, clip: DecodedClip, maps: NDArray[np.float16]) -> Clip:
    """Stores one clip's (V, T, C, H, W) maps, time moved behind channels."""
    if not np.isfinite(maps).all():
        return FailedClip(clip.clip_id, "its features are not finite in float16; are the backbone's weights broken?")
    shard.put(
        row,
        np.swapaxes(maps, 1, 2),
        frame_index=clip.source,
        frame_count=clip.frame_count,
        fps=clip.fps,
        decoder=DECODERS.index(clip.decoder),
        concealed=clip.concealed,
    )
    return clip


def _views(plan: Plan, clip: DecodedClip) -> NDArray[np.uint8]:
    """The frames of every view of a clip: (V*T, crop, crop, 3)."""
    preprocessing = plan.preprocessing
    size = (clip.images.shape[1], clip.images.shape[2])
    windows = [
        view_window(preprocessing, size, view=v, seed=plan.seed, clip_id=clip.clip_id) for v in range(plan.views)
    ]
    return np.concatenate(
        [
            crop_frames(clip.images[place], window, preprocessing.crop)
            for place, window in zip(clip.position, windows, strict=True)
        ]
    )
