"""``ta2n extract``."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import options, rows
from ta2n.cli.console import duration, note, print_json, progress, size, stdout, table

if TYPE_CHECKING:
    from ta2n.pipeline.features.extract import Plan, Summary

_SHOWN_FAILURES = 20


def extract(
    dataset: Annotated[
        str,
        typer.Option(
            help="ucf101, hmdb51, ssv2-otam, ssv2-cmn or kinetics-cmn; or a folder of clips: class/clip or "
            "{train,val,test}/class/clip, where a clip is a video file or a folder of JPEG or PNG frames.",
            metavar="NAME|FOLDER",
        ),
    ],
    cache: options.Cache = Path("feats"),
    root: rows.Root = None,
    splits: rows.Splits = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="resnet50, resnet18, resnet34, resnet101 or efficientnet-lite0. [default: resnet50]", metavar="NAME"
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="imagenet1k-v1 (the ResNets' default), imagenet1k-v2, a file with a state dict, or random.",
            metavar="NAME|FILE",
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames T of a clip; above 8, training segments them anew. [default: 8]", min=1)
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="Which frames: tsn (the paper's) or linspace (its code's). [default: the protocol's]", metavar="NAME"
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            help="Of a frame: HEIGHTxWIDTH, or short-256 for its short side. [default: the protocol's]", metavar="SIZE"
        ),
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            help="backbone (as its weights want) or none (pixels from 0 to 1). [default: the protocol's]",
            metavar="NAME",
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            help="Views of a clip: one deterministic, the others random frames, crops and flips. [default: 1]", min=1
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Mirror half of the random views. Never where left and right are labels. "
            "[default: flip, but never ssv2-otam and ssv2-cmn]",
        ),
    ] = None,
    protocol: options.ProtocolName = None,
    recipe: options.RecipeFile = None,
    split_file: options.SplitFile = None,
    device: options.Device = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Frames in one forward pass; bounds memory. [default: 8 on a CPU, 128 on a card]",
            min=1,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Decoding processes; 0 takes one per core.", min=0)] = 0,
    deadline: Annotated[float, typer.Option(help="Seconds after which a clip's decoding is given up.")] = 30.0,
    shard_size: Annotated[int, typer.Option(help="Clips per file: what a killed run can lose.", min=1)] = 64,
    compression: Annotated[str, typer.Option(help="none (fastest to read), zstd or lz4.", metavar="NAME")] = "none",
    retry_failed: Annotated[bool, typer.Option(help="Try again the clips that failed before.")] = False,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Let torch compile the backbone first: some seconds, and a fifth faster on a CPU. "
            "[default: on a CPU with a C++ compiler, for 500 clips and more]",
            show_default=False,
        ),
    ] = None,
    seed: options.SomeSeed = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would be done, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Turn clips into cached feature maps, once; run again to continue.

    Clips that cannot be decoded are recorded with their reason and left out, never skipped silently.

    Example: ta2n extract --dataset ./clips --cache ./feats --backbone efficientnet-lite0
    """
    called, chosen, read = options.chosen(protocol, recipe)
    from ta2n.pipeline.config.recipes import first_given

    flags = {
        "backbone": backbone,
        "weights": weights,
        "frames": frames,
        "rule": rule,
        "views": views,
        "flip": flip,
        "resize": resize,
        "normalise": normalise,
        "seed": seed,
    }
    usual = {"backbone": "resnet50", "frames": 8, "views": 1, "seed": 0}
    usual |= {"rule": chosen.rule, "resize": chosen.resize, "normalise": chosen.normalise}
    values = first_given(flags, read.extract, usual)
    flips = rows.may_flip(dataset, values.get("flip")) and (values.get("flip") is not None or chosen.flip)
    name, videos = rows.dataset_rows(dataset, root, splits, split_file, values["seed"])
    from ta2n.pipeline.features.backbones import load_backbone
    from ta2n.pipeline.features.extract import Plan
    from ta2n.pipeline.features.preprocess import parse_resize

    note(f"protocol {called}: " + ", ".join(f"{key}={value}" for key, value in (values | {"flip": flips}).items()))
    plan = Plan(
        dataset=name,
        videos=videos,
        backbone=load_backbone(values["backbone"], values.get("weights"), seed=values["seed"]),
        frames=values["frames"],
        rule=values["rule"],
        views=values["views"],
        flip=flips,
        resize=parse_resize(values["resize"]),
        normalise=values["normalise"],
        seed=values["seed"],
    )
    store = cache / f"{name}.zarr"
    _describe(plan, store)
    if dry_run:
        return
    settings: dict[str, Any] = {
        "device": options.torch_device(device),
        "batch_size": batch_size,
        "workers": workers or options.cores(),
        "deadline_seconds": deadline,
        "shard_size": shard_size,
        "compression": compression,
        "retry_failed": retry_failed,
        "compiled": compiled,
    }
    summary = _run(plan, store, settings)
    if as_json:
        print_json(_as_dict(summary))
    else:
        _print(summary)
    if not summary.done and not summary.before:
        note("error: no clip could be used; the reasons are above")
        raise typer.Exit(1)


def _describe(plan: "Plan", store: Path) -> None:
    manifest = plan.manifest()
    note(f"{plan.dataset}: {len(plan.videos)} clips -> {store}")
    note(
        f"  {manifest.backbone}, {manifest.weights} weights (sha256 {manifest.weights_sha256[:12]}), {manifest.decoder}"
    )
    channels, frames, height, width = plan.map_shape
    note(f"  maps of {channels}×{frames}×{height}×{width} float16, {plan.views} per clip: {size(plan.bytes)} in all")
    for number, view in enumerate(manifest.views):
        note(f"  view {number}: {view}")
    for split in ("train", "val", "test", ""):
        labels = plan.videos.label[plan.videos.split == split]
        if len(labels):
            counts = ", ".join(f"{label} {count}" for label, count in sorted(Counter(labels.tolist()).items())[:12])
            more = ", ..." if len(set(labels.tolist())) > 12 else ""
            note(f"  {split or 'no split'}: {len(set(labels.tolist()))} classes, {len(labels)} clips ({counts}{more})")


def _run(plan: "Plan", store: Path, settings: dict[str, Any]) -> "Summary":
    from ta2n.pipeline.features.extract import extract as run_stage

    with progress("extracting", len(plan.videos), "clips") as bar:

        def show(summary: "Summary") -> None:
            bar(summary.before + summary.done + len(summary.failed), f"{len(summary.failed)} failed")

        return run_stage(plan, store, **settings, on_clip=show)


def _print(summary: "Summary") -> None:
    console = stdout()
    if summary.failed:
        # Listed videos that are not on disk are known before; they must not crowd out what is broken.
        known_last = sorted(summary.failed, key=lambda one: one[1].startswith("there is no such file"))
        lines = [[name, reason] for name, reason in known_last[:_SHOWN_FAILURES]]
        made = table(f"{len(summary.failed)} clips failed", ["clip", "reason"], lines)
        made.columns[1].justify = "left"
        console.print(made)
        if len(summary.failed) > _SHOWN_FAILURES:
            console.print(
                f"and {len(summary.failed) - _SHOWN_FAILURES} more: `ta2n cache info {summary.store}` lists all"
            )
    rate = f", {summary.done / summary.seconds:.2f} clips/s" if summary.done else ""
    rate += " (backbone compiled)" if summary.compiled else ""
    console.print(
        f"{summary.done} clips done, {summary.before} done before, {len(summary.failed)} failed"
        f"{rate}; {size(summary.bytes)} in {summary.store}; {duration(summary.seconds)}",
        soft_wrap=True,
        markup=False,
    )
    if summary.short:
        console.print(f"{summary.short} clips have fewer frames than asked for: frames were repeated")


def _as_dict(summary: "Summary") -> dict[str, Any]:
    return {
        "store": str(summary.store),
        "done": summary.done,
        "before": summary.before,
        "failed": [{"id": name, "reason": reason} for name, reason in summary.failed],
        "short": summary.short,
        "compiled": summary.compiled,
        "seconds": round(summary.seconds, 3),
        "bytes": summary.bytes,
    }
