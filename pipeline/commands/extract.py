"""``ta2n extract`` in Python: clips in, a store of feature maps out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ta2n.cache_schema.disk import naming, require_text
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.commands.machine import cores, torch_device
from ta2n.pipeline.commands.reporting import AnyPath, OnNote, OnProgress, Step, path_of, tell
from ta2n.pipeline.commands.stores import require_fit, store_path
from ta2n.pipeline.commands.tables import chosen
from ta2n.pipeline.commands.tuned import tuned_run
from ta2n.pipeline.config.extraction import ExtractMachine, ExtractSettings
from ta2n.pipeline.config.options import options, takes
from ta2n.pipeline.config.resolve import given_fields, make, recipe_fields, resolve
from ta2n.pipeline.datasets.resolve import may_flip
from ta2n.pipeline.datasets.resolve import resolve as resolve_dataset
from ta2n.pipeline.features import extract as stage
from ta2n.pipeline.features.backbones import load_backbone, require_backbone
from ta2n.pipeline.features.plan import Plan
from ta2n.pipeline.features.preprocess import parse_resize

_TABLES = (ExtractSettings, ExtractMachine)


@dataclass(frozen=True)
class ExtractPlan:
    """What a call of :func:`extract` will do.

    Attributes:
        protocol: name of the protocol.
        settings: what decides the features; its ``flip`` is decided.
        machine: how this machine extracts.
        plan: the settings and the clips, as the extraction stage takes them.
        network: its backbone, loaded.
        store: path of the store.
    """

    protocol: str
    settings: ExtractSettings
    machine: ExtractMachine
    plan: Plan
    network: nn.Module
    store: Path


def plan_extraction(
    dataset: AnyPath,
    cache: AnyPath = "feats",
    *,
    root: AnyPath | None = None,
    splits: AnyPath | None = None,
    protocol: str | None = None,
    recipe: AnyPath | None = None,
    split_file: AnyPath | None = None,
    checkpoint: AnyPath | None = None,
    settings: Mapping[str, Any] | None = None,
    on_note: OnNote | None = None,
) -> ExtractPlan:
    """What would be extracted: arguments and errors are those of :func:`extract`."""
    asked = chosen(protocol, path_of(recipe))
    said, notes = given_fields(_TABLES, settings or {})
    tell((*asked.notes, *notes), on_note)
    of_recipe = recipe_fields((ExtractSettings,), asked.recipe.extract)
    run = None if checkpoint is None else tuned_run(Path(checkpoint), {**of_recipe, **said})
    as_run = run.as_trained(protocol is None and asked.recipe.protocol is None) if run else {}
    values = resolve(_TABLES, [said, of_recipe, as_run], asked.protocol)
    machine = make(ExtractMachine, values)
    may, mirroring = may_flip(str(dataset), values["flip"])
    tell(mirroring, on_note)
    if said.get("flip") and values["views"] == 1:
        raise InputError("--flip mirrors random views, and there are none; add --views 2 or more, or leave --flip out")
    values["flip"] = may and (values["flip"] is not None or asked.protocol.flip)
    own = make(ExtractSettings, values)
    require_backbone(own.backbone, own.layer)
    resize = parse_resize(own.resize)
    found = resolve_dataset(
        str(dataset),
        root=path_of(root),
        splits=path_of(splits),
        split_file=path_of(split_file),
        seed=own.seed,
        on_file=lambda url: tell([f"fetching {url}"], on_note),
    )
    for text in (found.name, found.videos.root):
        require_text(text, "cannot be written into a store")
    store = store_path(Path(cache), found.name)
    tell(found.notes, on_note)
    tell([f"protocol {asked.name}: {described(own)}"], on_note)
    if run:
        backbone = run.backbone(own.layer)
    else:
        backbone = load_backbone(own.backbone, own.weights, seed=own.seed, layer=own.layer)
    plan = Plan(
        dataset=found.name,
        videos=found.videos,
        backbone=backbone.spec,
        frames=own.frames,
        rule=own.rule,
        frame_pattern=own.frame_pattern,
        views=own.views,
        flip=values["flip"],
        resize=resize,
        normalise=own.normalise,
        seed=own.seed,
    )
    asked_for = {name: said.get(name) for name in ("compression", "shard_size")}
    require_fit(store, plan.manifest(), plan.videos, **asked_for)
    return ExtractPlan(asked.name, own, machine, plan, backbone.module, store)


@takes(*_TABLES)
def extract(
    dataset: AnyPath,
    cache: AnyPath = "feats",
    *,
    root: AnyPath | None = None,
    splits: AnyPath | None = None,
    protocol: str | None = None,
    recipe: AnyPath | None = None,
    split_file: AnyPath | None = None,
    checkpoint: AnyPath | None = None,
    device: str = "auto",
    on_note: OnNote | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> stage.Summary:
    """Turns clips into cached feature maps, once; a stopped run is continued by the same call.

    Clips that cannot be decoded are recorded with their reason and left out, never skipped silently.

    Args:
        dataset: name of a data set, or a folder of clips: ``class/clip`` or ``{train,val,test}/class/clip``.
        cache: folder of stores, or a store in it; the store is called like the data set.
        root: folder of a named data set's clips, or one that holds it; None is the variable ``TA2N_DATA``.
        splits: folder of a named data set's lists; None fetches them once.
        protocol: name of the protocol.
        recipe: a TOML file of settings.
        split_file: a JSON file of classes by split, for a folder.
        checkpoint: a run of ``ta2n finetune``, whose backbone is used; frames are taken as the run took them, where
            nobody says otherwise.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        on_note: gets lines worth knowing.
        on_progress: gets how far extraction is, after each clip.
        settings: ``backbone``, ``frames`` and the other flags of ``ta2n extract --help``, with underscores.

    Returns:
        What was done; failed clips are in it.

    Raises:
        MissingError: there is no such folder or file.
        InputError: an option cannot be what it was given as, the run holds no backbone, or the disk cannot hold the
            store.
        ManifestMismatchError: the store holds features of another kind.
    """
    planned = plan_extraction(
        dataset,
        cache,
        root=root,
        splits=splits,
        protocol=protocol,
        recipe=recipe,
        split_file=split_file,
        checkpoint=checkpoint,
        settings=settings,
        on_note=on_note,
    )
    return extract_planned(planned, device=device, on_progress=on_progress)


def extract_planned(
    planned: ExtractPlan, *, device: str = "auto", on_progress: OnProgress | None = None
) -> stage.Summary:
    """Does what was planned: see :func:`extract`."""
    machine, total, where = planned.machine, len(planned.plan.videos), torch_device(device)

    def show(summary: stage.Summary) -> None:
        if on_progress:
            done = summary.before + summary.done + len(summary.failed)
            on_progress(Step("extracting", done, total, "clips", f"{len(summary.failed)} failed"))

    with naming(planned.store):
        return stage.extract(
            planned.plan,
            planned.store,
            device=where,
            network=planned.network,
            batch_size=machine.batch_size,
            workers=machine.workers or cores(),
            deadline_seconds=machine.deadline,
            shard_size=machine.shard_size,
            compression=machine.compression,
            retry_failed=machine.retry_failed,
            compiled=machine.compiled,
            on_clip=show,
        )


def described(settings: ExtractSettings) -> str:
    """The settings in one line; what nobody decided is left out."""
    values = {one.field: getattr(settings, one.field) for one in options(ExtractSettings)}
    return ", ".join(f"{name}={value}" for name, value in values.items() if value is not None)
