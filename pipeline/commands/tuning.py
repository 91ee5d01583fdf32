"""What ``ta2n finetune`` would do: settings, store, clips, head and backbone, checked before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ta2n.cache_schema.disk import require_folder, require_text
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.commands.machine import torch_device
from ta2n.pipeline.commands.reporting import AnyPath, OnNote, path_of, tell
from ta2n.pipeline.commands.settings import on_patience, require_options
from ta2n.pipeline.commands.stores import default_frames, open_cache
from ta2n.pipeline.commands.tables import FINETUNE, chosen
from ta2n.pipeline.config.protocols import Protocol
from ta2n.pipeline.config.resolve import given_fields, make, resolve
from ta2n.pipeline.datasets.published import PUBLISHED
from ta2n.pipeline.datasets.resolve import find_root, may_flip
from ta2n.pipeline.evaluation.scratch import Scratch, scratch_folder
from ta2n.pipeline.heads import HEADS, build_head
from ta2n.pipeline.training.checkpoint import Checkpoint, checksum_of, load_checkpoint
from ta2n.pipeline.training.finetune.frames import preprocessing_of, require_clips
from ta2n.pipeline.training.finetune.settings import FineTuneMachine, FineTuneSettings
from ta2n.pipeline.training.finetune.stages import chosen as chosen_stages
from ta2n.pipeline.training.finetune.stages import usual
from ta2n.pipeline.training.finetune.start import Start, backbone_of
from ta2n.pipeline.training.finetune.task import require_fit


@dataclass(frozen=True)
class FineTunePlan:
    """What a call of ``ta2n.finetune`` will do.

    Attributes:
        cache: the store that the run starts from.
        root: the folder of its clips.
        protocol: name of the protocol.
        settings: of the run; its ``trainable`` and ``flip`` are decided.
        machine: how this machine does it.
        start: head and backbone.
        folder: of the run.
        device: where both are trained.
        scratch: where what does not fit in memory goes.
    """

    cache: FeatureCache
    root: Path
    protocol: str
    settings: FineTuneSettings
    machine: FineTuneMachine
    start: Start
    folder: Path
    device: torch.device
    scratch: Scratch


def plan_finetuning(
    cache: AnyPath = "feats",
    *,
    checkpoint: AnyPath | None = None,
    method: str | None = None,
    out: AnyPath | None = None,
    dataset: str | None = None,
    root: AnyPath | None = None,
    weights: AnyPath | None = None,
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    split_file: AnyPath | None = None,
    scratch: AnyPath | None = None,
    check: bool = True,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
    on_note: OnNote | None = None,
) -> FineTunePlan:
    """What would be tuned: arguments and errors are those of ``ta2n.finetune``."""
    if (checkpoint is None) == (method is None):
        raise InputError("give either --checkpoint, a run of `ta2n train-head`, or --method, for an untrained head")
    if checkpoint is not None and options:
        raise InputError("--option makes the head of --method; the head of a --checkpoint is made already")
    asked = chosen(protocol)
    said, notes = given_fields(FINETUNE, settings or {})
    tell((*asked.notes, *notes), on_note)
    where = torch_device(device)
    opened = open_cache(Path(cache), dataset, path_of(split_file), check=check, on_note=on_note)
    earlier = None if checkpoint is None else _earlier(Path(checkpoint), opened, on_note)
    own = _settings(said, opened, asked.protocol, method, options or {}, earlier)
    require_fit(own)
    tell(on_patience(said, own), on_note)
    place = _root(opened, path_of(root))
    preprocessing_of(opened, flip=False)
    require_clips(opened, place)
    start = _start(opened, own, earlier, path_of(weights))
    trainable = own.trainable or usual(start.backbone)
    chosen_stages(start.backbone, trainable)
    flip, mirroring = _flip(opened, own, asked.protocol)
    tell(mirroring, on_note)
    own = make(
        FineTuneSettings, {**vars(own), "trainable": trainable, "flip": flip}, method=own.method, options=own.options
    )
    folder = require_folder(path_of(out) or _usual_folder(opened, own), "--out")
    require_text(str(folder), "checkpoints could not be read from there")
    room = Scratch(scratch_folder(path_of(scratch), beside=folder), on_note)
    machine = make(FineTuneMachine, resolve([FineTuneMachine], [said], asked.protocol))
    return FineTunePlan(opened, place, asked.name, own, machine, start, folder, where, room)


def _earlier(path: Path, cache: FeatureCache, on_note: OnNote | None) -> Checkpoint:
    """The checkpoint to start from, which must be of the store's features."""
    found = load_checkpoint(path)
    tell(found.notes(), on_note)
    found.require_features(cache.manifest.features(), source=path, store=cache.path)
    if found.metadata["split_hash"] != cache.videos.hash():
        tell([f"note: {path} was trained with other splits than {cache.path} has now"], on_note)
    return found


def _settings(
    said: Mapping[str, Any],
    cache: FeatureCache,
    protocol: Protocol,
    method: str | None,
    options: Mapping[str, Any],
    earlier: Checkpoint | None,
) -> FineTuneSettings:
    """The settings: as the caller says, else as the checkpoint was trained, else the protocol's."""
    trained: dict[str, Any] = {"frames": default_frames(cache)}
    if earlier is not None:
        before, made = earlier.metadata["settings"], earlier.metadata["head"]
        method, options = made["name"], before.get("options", {})
        if said.get("frames", made["frames"]) != made["frames"]:
            raise InputError(f"--frames {said['frames']}: the checkpoint's head takes {made['frames']}; leave it out")
        trained = {name: before[name] for name in ("way", "shot", "queries") if name in before}
        trained["frames"] = made["frames"]
    if method not in HEADS:
        raise InputError(f"there is no method named {method!r}; choose one of {', '.join(HEADS)}")
    require_options(method, options if earlier is None else {})
    values = resolve([FineTuneSettings], [said, trained], protocol)
    return make(FineTuneSettings, values, method=method, options=dict(options))


def _start(cache: FeatureCache, settings: FineTuneSettings, earlier: Checkpoint | None, weights: Path | None) -> Start:
    backbone = backbone_of(cache, weights, earlier=earlier)
    if earlier is not None:
        origin = earlier.checksum or checksum_of(earlier.tensors, earlier.metadata)
        return Start(earlier.build(), earlier.metadata["head"], backbone, origin)
    channels, _, size, _ = cache.map_shape
    made: dict[str, Any] = {"name": settings.method, "channels": channels, "frames": settings.frames, "size": size}
    made |= {"seed": settings.seed, **settings.options}
    return Start(build_head(**made), made, backbone)


def _root(cache: FeatureCache, root: Path | None) -> Path:
    """The folder of the clips: the one that the store was extracted from, unless the caller says."""
    if root is None:
        return Path(cache.videos.root)
    dataset = cache.manifest.dataset
    return find_root(dataset, root) if dataset in PUBLISHED else root


def _flip(cache: FeatureCache, settings: FineTuneSettings, protocol: Protocol) -> tuple[bool, tuple[str, ...]]:
    if not settings.augment:
        if settings.flip:
            raise InputError("--flip mirrors random views, and --no-augment has none; leave one out")
        return False, ()
    may, notes = may_flip(cache.manifest.dataset, settings.flip)
    return may and (settings.flip is not None or protocol.flip), notes


def _usual_folder(cache: FeatureCache, settings: FineTuneSettings) -> Path:
    name = f"{settings.method}-{settings.way}way-{settings.shot}shot"
    return Path("runs") / f"{cache.manifest.dataset}-{name}-seed{settings.seed}-finetuned"
