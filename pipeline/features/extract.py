"""The extraction stage on this machine: clips in, a store of feature maps out.

Worker processes decode clips in row order while this process runs the backbone; whole shards are written as they
fill. What is computed for a clip depends on the clip and the plan alone, but for the rounding of another device, batch
size or compiler; with the same of those, a run that was killed and continued ends with the bytes of one that was not.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ta2n.cache_schema.disk import size
from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.values import State
from ta2n.pipeline.cache.writer import CacheWriter
from ta2n.pipeline.features.backbones import rebuild
from ta2n.pipeline.features.forward import BATCH_SIZES, Forward, even_batch, fastest_forward
from ta2n.pipeline.features.plan import Plan
from ta2n.pipeline.features.shard import Clip, compute_shard
from ta2n.pipeline.videos.decode import FailedClip
from ta2n.pipeline.videos.pool import DecodePool


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
    network: nn.Module | None = None,
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
        network: the plan's backbone, where it is loaded already; None builds it from the plan.
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
        BusyError: another process is writing the store.
    """
    batch_size = BATCH_SIZES[device.type] if batch_size is None else batch_size
    if batch_size < 1:
        raise InputError(f"batch size is {batch_size}, expected at least 1 frame")
    _check_disk(plan, store, compression)
    start = time.monotonic()
    with writing(store, "ta2n extract"):
        writer = CacheWriter(
            store,
            plan.manifest(),
            plan.videos,
            map_shape=plan.map_shape,
            shard_size=shard_size,
            compression=compression,
        )
        if retry_failed:
            writer.forget_failures()
        summary = Summary(store, before=writer.counts()[State.DONE])
        # Asked once, and used both for what is decoded and for where it goes.
        work = list(writer.unfinished())
        if work:
            forward = _forward(plan, network or rebuild(plan.backbone), device, batch_size, compiled)
            summary.compiled = forward.compiled

            def count(clip: Clip) -> None:
                _count(summary, clip, plan.frames)
                if on_clip:
                    on_clip(summary)

            with DecodePool(workers=workers, deadline_seconds=deadline_seconds) as pool:
                clips = pool.map(plan.job(row) for _, pending in work for row in pending)
                for rows, pending in work:
                    compute_shard(plan, rows, pending, writer=writer, clips=clips, forward=forward, on_clip=count)
        summary.failed = [(str(plan.videos.id[row]), reason) for row, reason in writer.failures()]
    summary.seconds = time.monotonic() - start
    summary.bytes = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    return summary


def _forward(plan: Plan, network: nn.Module, device: torch.device, batch_size: int, compiled: bool | None) -> Forward:
    module = network.to(device)
    batch_size = even_batch(batch_size, plan.views * plan.frames)
    if compiled is None:
        return fastest_forward(module, plan.preprocessing, device, batch_size, clips=len(plan.videos))
    return Forward(module, plan.preprocessing, device, batch_size, compiled=compiled)


def _count(summary: Summary, clip: Clip, frames: int) -> None:
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
    there = sum(plan.path(row).exists() for row in range(len(plan.videos)))
    needed = plan.bytes // len(plan.videos) * there
    if needed > free:
        raise InputError(
            f"{store}: the features take {size(needed)} and {folder} has {size(free)} free; "
            "choose another --cache folder, fewer --views, or --compression zstd"
        )
