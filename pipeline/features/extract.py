"""The extraction stage: clips in, a store of feature maps out.

Worker processes decode clips in row order while this process runs the backbone; whole shards are written as they
fill. What is computed for a clip depends on the clip and the settings alone, and a shard is always computed from its
first pending row with the same batches, so a run that was killed and continued ends with the bytes of one that was not.
"""

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.layout import State
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache.writer import CacheWriter, Shard
from ta2n.pipeline.clips import RULES
from ta2n.pipeline.features.backbones import IMAGE_SIZE, Backbone
from ta2n.pipeline.features.forward import BATCH_SIZES, Forward, even_batch, fastest_forward
from ta2n.pipeline.features.preprocess import Preprocessing, crop_frames, view_window
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip, decoder_version
from ta2n.pipeline.videos.pool import DecodePool

MAP_SIZE = IMAGE_SIZE // 32
NORMALISATIONS = ("backbone", "none")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to extract, and how; decides every byte of the store.

    Attributes:
        dataset: name of the data set and of the store.
        videos: the rows; paths are relative to its root.
        backbone: the network.
        frames: T, frames of a clip.
        rule: frame rule of ``clips.py``.
        views: V, view 0 the deterministic one.
        flip: whether random views may be mirrored.
        resize: (height, width) of a decoded frame, or the length of its short side.
        normalise: ``backbone`` for the mean and deviation that its weights want, ``none`` for pixels from 0 to 1.
        seed: of the random views.
    """

    dataset: str
    videos: VideoTable
    backbone: Backbone
    frames: int = 8
    rule: str = "tsn"
    views: int = 1
    flip: bool = True
    resize: tuple[int, int] | int = (256, 256)
    normalise: str = "backbone"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("frames", self.frames), ("views", self.views)):
            if value < 1:
                raise InputError(f"{name} is {value}, expected at least 1")
        if self.rule not in RULES:
            raise InputError(f"frame rule {self.rule!r} is not known; choose {' or '.join(RULES)}")
        if self.normalise not in NORMALISATIONS:
            raise InputError(f"normalise {self.normalise!r} is not known; choose {' or '.join(NORMALISATIONS)}")
        if min((self.resize,) if isinstance(self.resize, int) else self.resize) < IMAGE_SIZE:
            raise InputError(f"resize {self.resize} is smaller than the crop of {IMAGE_SIZE} pixels taken from it")

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to frames; flips matter only to random views."""
        own = self.normalise == "backbone"
        return Preprocessing(
            self.backbone.mean if own else (0.0, 0.0, 0.0),
            self.backbone.std if own else (1.0, 1.0, 1.0),
            resize=self.resize,
            flip=self.flip and self.views > 1,
        )

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W)."""
        return self.backbone.channels, self.frames, MAP_SIZE, MAP_SIZE

    @property
    def bytes(self) -> int:
        """Size of all maps, uncompressed."""
        return 2 * len(self.videos) * self.views * int(np.prod(self.map_shape))

    def manifest(self) -> Manifest:
        """The manifest of the store that this plan makes."""
        random_view = "random frames, random crop" + (", mirrored half of the time" if self.preprocessing.flip else "")
        return Manifest(
            dataset=self.dataset,
            split_hash=self.videos.hash(),
            backbone=self.backbone.name,
            weights=self.backbone.weights,
            weights_sha256=self.backbone.weights_sha256,
            layer=self.backbone.layer,
            preprocessing=self.preprocessing.to_dict(),
            sampling={"rule": self.rule, "frames": self.frames, "seed": self.seed},
            decoder=decoder_version(),
            views=("test frames, centre crop", *[random_view] * (self.views - 1)),
            ta2n_version=ta2n.__version__,
        )


@dataclass
class Summary:
    """What an extraction run did.

    Attributes:
        store: its path.
        done: clips of this run that ended as features.
        failed: (id, reason) of every failed clip of the store.
        before: clips that an earlier run had finished.
        short: clips of this run with fewer frames than T, whose frames were repeated.
        compiled: whether the backbone was compiled.
        seconds: wall time of this run.
        bytes: size of the store on disk.
    """

    store: Path
    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    before: int = 0
    short: int = 0
    compiled: bool = False
    seconds: float = 0.0
    bytes: int = 0


def extract(
    plan: Plan,
    store: Path,
    *,
    device: torch.device,
    batch_size: int | None = None,
    workers: int = 2,
    deadline_seconds: float = 30.0,
    shard_size: int = 64,
    compression: str = "none",
    retry_failed: bool = False,
    compiled: bool | None = None,
    on_clip: Callable[[Summary], None] | None = None,
) -> Summary:
    """Extracts every pending clip of a plan into a store, which is made or continued.

    Args:
        plan: what to extract.
        store: path of the store.
        device: where the backbone runs.
        batch_size: frames in one forward pass; bounds memory. None is what was measured fastest: see
            :data:`~ta2n.pipeline.features.forward.BATCH_SIZES`.
        workers: decoding processes.
        deadline_seconds: a clip that takes longer to decode fails.
        shard_size: videos per shard file: what a killed run can lose. Fixed by the store once it exists.
        compression: of a new store: ``none``, ``zstd`` or ``lz4``.
        retry_failed: whether clips that failed earlier are tried again.
        compiled: whether torch compiles the backbone first, which gives the same features but for rounding. None
            compiles on a CPU, for a data set of at least :data:`~ta2n.pipeline.features.forward.COMPILED_FROM` clips,
            where a compiler is found; the summary says whether it was done.
        on_clip: called after every clip with the summary so far.

    Returns:
        The summary of the run; failed clips are in it and in the store, never raised.

    Raises:
        InputError: ``batch_size`` is below 1, or the disk cannot hold the store.
        ManifestMismatchError: the store holds features of another kind.
        MissingError: the backbone was to be compiled, and cannot be here.
    """
    batch_size = BATCH_SIZES[device.type] if batch_size is None else batch_size
    if batch_size < 1:
        raise InputError(f"batch size is {batch_size}, expected at least 1 frame")
    _check_disk(plan, store, compression)
    start = time.monotonic()
    shape = plan.map_shape
    writer = CacheWriter(
        store, plan.manifest(), plan.videos, map_shape=shape, shard_size=shard_size, compression=compression
    )
    if retry_failed:
        writer.forget_failures()
    counts = writer.counts()
    summary = Summary(store, before=counts[State.DONE])
    if counts[State.PENDING]:
        forward = _forward(plan, device, batch_size, compiled)
        summary.compiled = forward.compiled
        shards = list(writer.unfinished())
        jobs = (_job(plan, row) for rows in shards for row in writer.pending(rows))
        with DecodePool(workers=workers, deadline_seconds=deadline_seconds) as pool:
            clips = pool.map(jobs)
            for rows in shards:
                shard = writer.load(rows)
                for clip in _fill(shard, plan, clips, forward):
                    _count(summary, clip, plan.frames)
                    if on_clip:
                        on_clip(summary)
                writer.commit(shard)
    summary.failed = [(str(plan.videos.id[row]), reason) for row, reason in writer.failures()]
    summary.seconds = time.monotonic() - start
    summary.bytes = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    return summary


def _forward(plan: Plan, device: torch.device, batch_size: int, compiled: bool | None) -> Forward:
    module = plan.backbone.module.to(device)
    batch_size = even_batch(batch_size, plan.views * plan.frames)
    if compiled is None:
        return fastest_forward(module, plan.preprocessing, device, batch_size, clips=len(plan.videos))
    return Forward(module, plan.preprocessing, device, batch_size, compiled=compiled)


def _fill(
    shard: Shard, plan: Plan, clips: Iterator[DecodedClip | FailedClip], forward: Forward
) -> Iterator[DecodedClip | FailedClip]:
    """Fills the pending rows of a shard, a few clips to a forward pass; yields each clip once its row is filled."""
    pending = shard.pending()
    at_once = max(1, forward.batch_size // (plan.views * plan.frames))
    for start in range(0, len(pending), at_once):
        rows = pending[start : start + at_once]
        batch = [(row, next(clips)) for row in rows]
        decoded = [(row, clip) for row, clip in batch if isinstance(clip, DecodedClip)]
        maps = iter(forward(np.concatenate([_views(plan, clip) for _, clip in decoded]))) if decoded else iter(())
        for row, clip in batch:
            if isinstance(clip, DecodedClip):
                own = np.stack(list(itertools.islice(maps, plan.views * plan.frames)))
                clip = _put(shard, row, clip, own.reshape(plan.views, plan.frames, *own.shape[1:]))
            if isinstance(clip, FailedClip):
                # The row says which file; a long path would leave no room for the reason.
                clip = FailedClip(clip.clip_id, clip.reason.removeprefix(f"{_path(plan, row)}: "))
                shard.fail(row, clip.reason)
            yield clip


def _put(shard: Shard, row: int, clip: DecodedClip, maps: NDArray[np.float16]) -> DecodedClip | FailedClip:
    """Stores one clip's (V, T, C, H, W) maps, time moved behind channels."""
    if not np.isfinite(maps).all():
        return FailedClip(clip.clip_id, "its features are not finite in float16; are the backbone's weights broken?")
    shard.put(row, np.swapaxes(maps, 1, 2), frame_index=clip.source, frame_count=clip.frame_count, fps=clip.fps)
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


def _job(plan: Plan, row: int) -> DecodeJob:
    videos = plan.videos
    return DecodeJob(
        clip_id=str(videos.id[row]),
        path=_path(plan, row),
        rule=plan.rule,
        frames=plan.frames,
        views=plan.views,
        seed=plan.seed,
        size=plan.preprocessing.resize,
    )


def _path(plan: Plan, row: int) -> Path:
    return Path(plan.videos.root) / str(plan.videos.path[row])


def _count(summary: Summary, clip: DecodedClip | FailedClip, frames: int) -> None:
    if isinstance(clip, FailedClip):
        summary.failed.append((clip.clip_id, clip.reason))
    else:
        summary.done += 1
        summary.short += clip.frame_count < frames


def _check_disk(plan: Plan, store: Path, compression: str) -> None:
    if store.exists() or compression != "none":
        return
    folder = next(parent for parent in store.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if plan.bytes <= free:
        return
    # Rows of clips that are not on disk take no room: the store writes no empty chunks.
    there = sum(_path(plan, row).exists() for row in range(len(plan.videos)))
    needed = plan.bytes // len(plan.videos) * there
    if needed > free:
        raise InputError(
            f"{store}: the features take {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            "choose another --cache folder, fewer --views, or --compression zstd"
        )
