"""``ta2n cache info`` and ``verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import options
from ta2n.cli.console import note, print_json, progress, size, stdout, table
from ta2n.cli.errors import guarded

if TYPE_CHECKING:
    from ta2n.pipeline.cache import FeatureCache

app = typer.Typer(no_args_is_help=True, help="Look into feature stores; turn them into one file and back.")

Store = Annotated[
    Path, typer.Argument(help="A feature store or HDF5 file, or the folder that holds one.", metavar="PATH")
]


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
    about["clips by decoder"] = ", ".join(f"{name} {count}" for name, count in values["decoders"].items())
    about["bytes"] = size(values["bytes"])
    console.print(table(str(opened.path), ["", ""], [[name, str(value)] for name, value in about.items()]))
    rows = [[name or "none", *(str(value) for value in counts.values())] for name, counts in values["splits"].items()]
    console.print(table("splits", ["split", "classes", "clips", "done", "failed", "pending"], rows))
    if values["concealed"]:
        title = "errors in the stream that the decoder concealed; look at these clips"
        lines = [[one["id"], one["decoder"], str(one["errors"])] for one in values["concealed"]]
        console.print(table(title, ["clip", "decoder", "errors"], lines))
    if values["failed"]:
        console.print(table("failed", ["clip", "reason"], [[one["id"], one["reason"]] for one in values["failed"]]))


@app.command("verify")
@guarded
def verify(
    cache: Store,
    dataset: options.Dataset = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mark damaged or lost clips to be extracted again; sound ones stay.")
    ] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Make today's version of the format of an older store.")
    ] = False,
    wait: options.Wait = False,
    as_json: options.AsJson = False,
) -> None:
    """Recompute every digest and name the clips whose maps are not what was written; exit code 1 if any.

    Example: ta2n cache verify ./feats

    Example: ta2n cache verify --repair ./feats
    """
    from ta2n.pipeline.cache.address import find_address

    path = find_address(cache, dataset).path
    upgraded = _upgrade(path, repair) if upgrade else []
    checked, damaged, values = _repair(path, upgraded) if repair else _verify(path)
    if as_json:
        print_json(values)
    else:
        for name, problem in damaged:
            stdout().print(f"{name}: {problem}", markup=False)
        state = "to be extracted again" if repair else "damaged"
        waiting = f", {values['pending']} pending" if values.get("pending") and not repair else ""
        stdout().print(f"{checked} clips checked, {len(damaged)} {state}{waiting}", markup=False)
    if damaged and repair:
        note("run the same `ta2n extract` again: it does just these clips")
    elif damaged:
        from ta2n.pipeline.cache.digests import remedy

        note(remedy(path))
        raise typer.Exit(1)


def _upgrade(path: Path, repair: bool) -> list[tuple[str, str]]:
    from ta2n.pipeline.cache.upgrade import upgrade

    with progress("upgrading", _rows(path), "clips") as bar:
        return upgrade(path, repair=repair, on_clip=bar)


def _repair(path: Path, before: list[tuple[str, str]]) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
    from ta2n.pipeline.cache.repair import repair

    with progress("repairing", _rows(path), "clips") as bar:
        done = repair(path, on_clip=bar)
    for file in done.removed:
        note(f"removed {file}, which a run that ended left")
    for name in done.rewritten:
        note(f"wrote the description of its array {name!r} again")
    damaged = before + done.pending
    listed = [{"id": name, "problem": problem} for name, problem in damaged]
    values = {"checked": done.checked, "pending": listed, "rewritten": done.rewritten}
    return done.checked, damaged, values | {"removed": [str(file) for file in done.removed]}


def _verify(path: Path) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
    from ta2n.cache_schema.values import State
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.cache.left_overs import left_overs
    from ta2n.pipeline.cache.verify import damaged_clips

    opened = FeatureCache.open(path, check=False)
    total = int((opened.state == State.DONE).any(axis=1).sum())
    with progress("verifying", int((opened.state != State.PENDING).any(axis=1).sum()), "clips") as bar:
        damaged = damaged_clips(opened, on_clip=bar)
    left = [] if path.is_file() else left_overs(path)
    for file in left:
        note(f"note: {file} is unfinished: of a run that is writing now, or has ended; the next run removes it")
    listed = [{"id": name, "problem": problem} for name, problem in damaged]
    pending = int((opened.state == State.PENDING).any(axis=1).sum())
    values = {"checked": total, "damaged": listed, "pending": pending, "left_over": [str(file) for file in left]}
    return total, damaged, values


def _rows(path: Path) -> int:
    from ta2n.cache_schema.layout import open_store

    return len(open_store(path)[2]) if path.is_dir() else 0


def _describe(cache: "FeatureCache") -> dict[str, Any]:
    import numpy as np

    from ta2n.cache_schema.values import State

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
        "bytes": sum(file.stat().st_size for file in [cache.path, *cache.path.rglob("*")] if file.is_file()),
        "splits": splits,
        "decoders": cache.decoders(),
        "concealed": [{"id": name, "decoder": one, "errors": errors} for name, one, errors in cache.concealed()],
        "failed": [{"id": name, "reason": reason} for name, reason in cache.failures()],
    }
