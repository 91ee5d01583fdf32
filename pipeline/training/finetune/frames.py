"""Frames of a store's clips, decoded again as the store's manifest says: the test view, or a random one.

Clips are decoded ahead in the killable processes of extraction, and handed on as bytes.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DecodeError, InputError, MissingError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.clips import RULES, stored_places
from ta2n.pipeline.features.preprocess import Preprocessing, crop_frames, view_window
from ta2n.pipeline.training.finetune.kept import KeptClips, whole
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip
from ta2n.pipeline.videos.pool import DecodePool

Rows = NDArray[np.int64]
Images = NDArray[np.uint8]
_RANDOM = 1
"""The number of a random view; what it shows is decided by its seed."""
_LOOKED_FOR = 1000


class ClipFrames:
    """Decodes clips of a store for a head of T frames.

    Args:
        cache: the store; its manifest says rule, size and crop.
        root: the folder that the paths of its row table are relative to.
        frames: T, at most those that are stored.
        pool: decodes.
        seed: of the random views.
        flip: whether these may be mirrored.
        kept: where clips stay once they are decoded; None for nowhere.

    Raises:
        InputError: the store was not extracted from clips, or holds fewer frames.
        MissingError: the folder, or a clip in it, is not there.
    """

    def __init__(
        self,
        cache: FeatureCache,
        root: Path,
        *,
        frames: int,
        pool: DecodePool,
        seed: int = 0,
        flip: bool = True,
        kept: KeptClips | None = None,
    ) -> None:
        stored = cache.map_shape[1]
        if not 1 <= frames <= stored:
            raise InputError(f"{cache.path}: {frames} frames asked for, the store has {stored} of each clip")
        self.cache, self.root, self.frames, self.pool, self.seed = cache, root, frames, pool, seed
        self._kept = kept
        self.preprocessing = preprocessing_of(cache, flip=flip)
        require_clips(cache, root)

    def test(self, rows: Rows) -> Iterator[Images]:
        """(T, crop, crop, 3) of each clip: the frames and the crop that the store's view 0 is of."""
        rule, stored = self._sampling("rule"), self.cache.map_shape[1]
        jobs = (self._job(row, frames=stored, views=1, seed=0) for row in rows.tolist())
        for row, clip in self._decoded(rows, jobs):
            place = clip.position[0]
            if self.frames < stored:
                place = place[stored_places(rule, clip.source[0], frame_count=clip.frame_count, frames=self.frames)]
            yield self._cropped(row, clip, place, view=0, seed=0)

    def random(self, rows: Rows, item: int) -> Iterator[Images]:
        """(T, crop, crop, 3) of each clip: a view that is a function of (seed, item, clip) alone."""
        seed = _mixed(self.seed, item)
        jobs = (
            self._job(row, frames=self.frames, views=_RANDOM + 1, first=_RANDOM, seed=seed) for row in rows.tolist()
        )
        for row, clip in self._decoded(rows, jobs):
            yield self._cropped(row, clip, clip.position[0], view=_RANDOM, seed=seed)

    def _job(self, row: int, *, frames: int, views: int, seed: int, first: int = 0) -> DecodeJob:
        videos, resize = self.cache.videos, self.preprocessing.resize
        return DecodeJob(
            clip_id=str(videos.id[row]),
            path=self.root / str(videos.path[row]),
            rule=self._sampling("rule"),
            frames=frames,
            views=views,
            seed=seed,
            size=resize,
            frame_pattern=self.cache.manifest.sampling.get("frame_pattern"),
            first=first,
        )

    def _decoded(self, rows: Rows, jobs: Iterator[DecodeJob]) -> Iterator[tuple[int, DecodedClip]]:
        """Each row with its clip: decoded, or kept from an earlier time."""
        kept = self._kept
        if kept is None:
            yield from self._from_disk(rows.tolist(), jobs)
            return
        asked = list(zip(rows.tolist(), jobs, strict=True))
        lacking = [(row, job) for row, job in asked if job not in kept]
        anew = self._from_disk(
            [row for row, _ in lacking], (whole(job, int(self.cache.frame_count[row])) for row, job in lacking)
        )
        for row, job in asked:
            if job not in kept:
                kept.keep(next(anew)[1])
            yield row, kept.take(job)

    def _from_disk(self, rows: list[int], jobs: Iterator[DecodeJob]) -> Iterator[tuple[int, DecodedClip]]:
        """Each row with its decoded clip, which must be the one that the store was made from."""
        for row, clip in zip(rows, self.pool.map(jobs), strict=True):
            file = self.root / str(self.cache.videos.path[row])
            if isinstance(clip, FailedClip):
                # Of a folder of frames the reason names a file in it.
                reason = clip.reason if str(file) in clip.reason else f"{file}: {clip.reason}"
                raise DecodeError(f"{reason} It was read when {self.cache.path} was made; put it back")
            expected = int(self.cache.frame_count[row])
            if clip.frame_count != expected:
                raise DecodeError(
                    f"{file}: has {clip.frame_count} frames, and {expected} when {self.cache.path} was made; put that "
                    "clip back, or extract again"
                )
            yield row, clip

    def _cropped(self, row: int, clip: DecodedClip, place: Any, *, view: int, seed: int) -> Images:
        size = (clip.images.shape[1], clip.images.shape[2])
        window = view_window(self.preprocessing, size, view=view, seed=seed, clip_id=clip.clip_id)
        return np.ascontiguousarray(crop_frames(clip.images[place], window, self.preprocessing.crop))

    def _sampling(self, name: str) -> str:
        return str(self.cache.manifest.sampling[name])


def preprocessing_of(cache: FeatureCache, *, flip: bool) -> Preprocessing:
    """What happened to the frames of a store, by its manifest.

    Raises:
        InputError: the store does not say, as one that was imported.
    """
    said = cache.manifest.preprocessing
    if cache.manifest.sampling.get("rule") not in RULES or any(
        said.get(one) is None for one in ("crop", "mean", "std")
    ):
        raise InputError(
            f"{cache.path}: was not extracted by ta2n, so it does not say how its clips became maps; fine-tuning takes "
            "a store that `ta2n extract` made"
        )
    resize = said["resize"]
    return Preprocessing(
        tuple(said["mean"]),
        tuple(said["std"]),
        resize=resize if isinstance(resize, int) else (resize[0], resize[1]),
        crop=said["crop"],
        flip=flip,
    )


def require_clips(cache: FeatureCache, root: Path) -> None:
    """Refuses a folder that lacks the clips of a store; of many clips some are looked for.

    Raises:
        MissingError: names the folder, or the first clip that is not in it.
    """
    if not root.is_dir():
        raise MissingError(f"{root}: the clips of {cache.path} are not there; give their folder with --root")
    rows = np.flatnonzero(cache.done)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _LOOKED_FOR)).astype(np.int64)]
    paths = [root / str(path) for path in cache.videos.path[some].tolist()]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise MissingError(
            f"{missing[0]}: there is no such clip, and {len(missing) - 1} more of {cache.path} are missing; "
            "give the folder that they were extracted from with --root"
        )


def _mixed(seed: int, item: int) -> int:
    """One seed of two numbers."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {item}".encode(), digest_size=7).digest(), "little")
