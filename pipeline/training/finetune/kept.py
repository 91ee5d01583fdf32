"""Decoded clips that stay: every frame of a clip, resized, in bytes, so that no view of it is decoded again."""

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray

from ta2n.cache_schema.disk import size
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.in_memory import free_bytes
from ta2n.pipeline.clips import view_indices
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.training.finetune.settings import KEEP
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob

_WIDEST = 16 / 9
"""What the long side of a clip is taken for, in short sides, before it is decoded."""


class KeptClips:
    """Whole clips, kept as they are decoded for the first time.

    Args:
        scratch: where they are kept, in files without a name; None is memory.
    """

    def __init__(self, scratch: Scratch | None = None) -> None:
        self._scratch = scratch
        self._clips: dict[str, DecodedClip] = {}

    def __contains__(self, job: DecodeJob) -> bool:
        return job.clip_id in self._clips

    def keep(self, clip: DecodedClip) -> None:
        """Keeps a clip that was decoded by :func:`whole`."""
        images = clip.images
        if self._scratch:
            place = self._scratch.empty(images.shape, torch.uint8).numpy()
            place[:] = images
            images = place
        self._clips[clip.clip_id] = dataclasses.replace(clip, images=images)

    def take(self, job: DecodeJob) -> DecodedClip:
        """What decoding a job would give."""
        clip = self._clips[job.clip_id]
        source = view_indices(
            job.rule,
            frame_count=clip.frame_count,
            frames=job.frames,
            views=job.views,
            seed=job.seed,
            clip_id=job.clip_id,
        )[job.first :]
        wanted = np.unique(source)
        position = np.searchsorted(wanted, source).astype(np.int32)
        return dataclasses.replace(clip, images=clip.images[wanted], source=source, position=position)


def whole(job: DecodeJob, frame_count: int) -> DecodeJob:
    """The job of decoding every frame of a clip: the middle of each of as many segments as it has frames."""
    return dataclasses.replace(job, rule="tsn", frames=frame_count, views=1, first=0)


def bytes_of(cache: FeatureCache, rows: NDArray[np.int64], resize: tuple[int, int] | int) -> int:
    """What whole clips take; of clips that keep their aspect, about."""
    height, width = (resize, math.ceil(_WIDEST * resize)) if isinstance(resize, int) else resize
    return 3 * height * width * int(cache.frame_count[rows].sum(dtype=np.int64))


def kept_clips(
    where: str, cache: FeatureCache, rows: NDArray[np.int64], resize: tuple[int, int] | int, scratch: Scratch
) -> tuple[KeptClips | None, list[str]]:
    """Where decoded clips are kept, and a line that says how much that takes.

    Args:
        where: ``none``, ``ram`` or ``disk``.
        cache: the store.
        rows: the clips that a run decodes.
        resize: of their frames.
        scratch: the folder for ``disk``.

    Raises:
        InputError: they do not fit there.
    """
    if where == KEEP[0]:
        return None, []
    needed = bytes_of(cache, rows, resize)
    free = free_bytes(torch.device("cpu")) if where == "ram" else scratch.free()
    place = "memory" if where == "ram" else str(scratch.folder)
    if needed > free:
        raise InputError(
            f"--keep-frames {where}: all frames of {len(rows)} clips take {size(needed)}, and {size(free)} are free in "
            f"{place}; leave it out"
        )
    kept = KeptClips(scratch if where == "disk" else None)
    return kept, [f"keeping all frames of {len(rows)} clips takes {size(needed)} in {place}"]
