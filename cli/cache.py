"""``ta2n cache info`` and ``ta2n cache verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import options
from ta2n.cli.console import note, print_json, progress, size, stdout, table
from ta2n.cli.errors import guarded

if TYPE_CHECKING:
    from ta2n.pipeline.cache import FeatureCache

app = typer.Typer(no_args_is_help=True, help="Look into feature stores.")

Store = Annotated[Path, typer.Argument(help="A feature store, or the folder that holds one.", metavar="PATH")]


@app.command("info")
@guarded
def info(cache: Store, dataset: options.Dataset = None, as_json: options.AsJson = False) -> None:
    """Show what a store holds: its manifest, its splits, and every clip that failed.

    Example: ta2n cache info ./feats
    """
    from ta2n.pipeline.cache import FeatureCache

    opened = FeatureCache.open(cache, dataset)
    values = _describe(opened)
    if as_json:
        print_json(values)
        return
    console = stdout()
    about = values["manifest"] | {name: values[name] for name in ("map", "views", "compressed", "bytes")}
    about["bytes"] = size(values["bytes"])
    console.print(table(str(opened.path), ["", ""], [[name, str(value)] for name, value in about.items()]))
    rows = [[name or "none", *(str(value) for value in counts.values())] for name, counts in values["splits"].items()]
    console.print(table("splits", ["split", "classes", "clips", "done", "failed", "pending"], rows))
    if values["failed"]:
        console.print(table("failed", ["clip", "reason"], [[one["id"], one["reason"]] for one in values["failed"]]))


@app.command("verify")
@guarded
def verify(cache: Store, dataset: options.Dataset = None, as_json: options.AsJson = False) -> None:
    """Recompute every digest and name the clips whose maps are not what was written; exit code 1 if any.

    Example: ta2n cache verify ./feats
    """
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.cache.verify import damaged_clips

    opened = FeatureCache.open(cache, dataset)
    total = int(opened.done.sum())
    with progress("verifying", total, "clips") as bar:
        damaged = damaged_clips(opened, on_clip=bar)
    if as_json:
        print_json({"checked": total, "damaged": [{"id": name, "problem": problem} for name, problem in damaged]})
    else:
        for name, problem in damaged:
            stdout().print(f"{name}: {problem}", markup=False)
        stdout().print(f"{total} clips checked, {len(damaged)} damaged", markup=False)
    if damaged:
        note("delete the store, or its damaged shard files and their chunks of `state`, and extract again")
        raise typer.Exit(1)


def _describe(cache: "FeatureCache") -> dict[str, Any]:
    import numpy as np

    from ta2n.cache_schema.layout import State

    videos, state = cache.videos, cache.state
    failed, done = (state == State.FAILED).any(axis=1), cache.done
    splits = {}
    for split in ("train", "val", "test", ""):
        inside = videos.split == split
        if inside.any():
            splits[split] = {
                "classes": len(np.unique(videos.label[inside])),
                "clips": int(inside.sum()),
                "done": int((inside & done).sum()),
                "failed": int((inside & failed).sum()),
                "pending": int((inside & ~done & ~failed).sum()),
            }
    return {
        "path": str(cache.path),
        "manifest": cache.manifest.to_dict(),
        "manifest_hash": cache.manifest.hash(),
        "map": "×".join(map(str, cache.map_shape)),
        "views": cache.views,
        "compressed": cache.compressed,
        "bytes": sum(file.stat().st_size for file in cache.path.rglob("*") if file.is_file()),
        "splits": splits,
        "failed": [{"id": name, "reason": reason} for name, reason in cache.failures()],
    }
