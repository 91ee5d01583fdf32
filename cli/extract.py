"""``ta2n extract``."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import options
from ta2n.cli.console import bars, duration, note, print_json, say, size, stdout, table
from ta2n.cli.flags import Given, flags
from ta2n.pipeline.config.extraction import ExtractMachine, ExtractSettings

if TYPE_CHECKING:
    from ta2n.pipeline.features.extract import Summary
    from ta2n.pipeline.features.plan import Plan

_SHOWN_FAILURES = 20


@flags(ExtractSettings, ExtractMachine)
def extract(
    *,
    dataset: Annotated[
        str,
        typer.Option(
            help="ucf101, hmdb51, ssv2-otam, ssv2-cmn or kinetics-cmn; or a folder of clips: class/clip or "
            "{train,val,test}/class/clip, where a clip is a video file or a folder of JPEG or PNG frames.",
            metavar="NAME|FOLDER",
        ),
    ],
    cache: options.Cache = Path("feats"),
    root: options.Root = None,
    splits: options.Splits = None,
    given: Given,
    protocol: options.ProtocolName = None,
    recipe: options.RecipeFile = None,
    split_file: options.SplitFile = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A run of finetune, whose backbone is used instead of --backbone.", metavar="RUN"),
    ] = None,
    device: options.Device = "auto",
    wait: options.Wait = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would be done, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Turn clips into cached feature maps, once; run again to continue.

    Clips that cannot be decoded are recorded with their reason and left out, never skipped silently.

    Example: ta2n extract --dataset ./clips --cache ./feats --backbone efficientnet-lite0
    """
    from ta2n.pipeline.commands.extract import extract_planned, plan_extraction
    from ta2n.pipeline.commands.machine import torch_device

    options.refuse((dry_run and as_json, "--dry-run has no result that --json could print; leave one of them out"))
    torch_device(device)
    planned = plan_extraction(
        dataset,
        cache,
        root=root,
        splits=splits,
        protocol=protocol,
        recipe=recipe,
        split_file=split_file,
        checkpoint=checkpoint,
        settings=given,
        on_note=note,
    )
    _describe(planned.plan, planned.store)
    if dry_run:
        return
    with bars() as show:
        summary = extract_planned(planned, device=device, on_progress=show)
    if as_json:
        print_json(_as_dict(summary))
    else:
        report(summary)
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


def report(summary: "Summary") -> None:
    """Prints what an extraction did."""
    if summary.failed:
        # Listed videos that are not on disk are known before; they must not crowd out what is broken.
        known_last = sorted(summary.failed, key=lambda one: one[1].startswith("there is no such file"))
        lines = [[name, reason] for name, reason in known_last[:_SHOWN_FAILURES]]
        made = table(f"{len(summary.failed)} clips failed", ["clip", "reason"], lines)
        made.columns[1].justify = "left"
        stdout().print(made)
        if len(summary.failed) > _SHOWN_FAILURES:
            say(f"and {len(summary.failed) - _SHOWN_FAILURES} more: `ta2n cache info {summary.store}` lists all")
    rate = f", {summary.done / summary.seconds:.2f} clips/s" if summary.done else ""
    rate += " (backbone compiled)" if summary.compiled else ""
    say(
        f"{summary.done} clips done, {summary.before} done before, {len(summary.failed)} failed"
        f"{rate}; {size(summary.bytes)} in {summary.store}; {duration(summary.seconds)}"
    )
    if summary.short:
        say(f"{summary.short} clips have fewer frames than asked for: frames were repeated")


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
