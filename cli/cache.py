"""``ta2n cache info``, ``verify``, ``export`` and ``import``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.errors import InputError
from ta2n.cli import options
from ta2n.cli.console import note, print_json, progress, size, stdout, table
from ta2n.cli.errors import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        note(
            "delete the file, and export it again"
            if opened.path.is_file()
            else "delete the store, or its damaged shard files and their chunks of `state`, and extract again"
        )
        raise typer.Exit(1)


@app.command("export")
@guarded
def export(
    cache: Store,
    file: Annotated[Path, typer.Argument(help="The HDF5 file to write; must end in .h5 or .hdf5.", metavar="FILE")],
    dataset: options.Dataset = None,
    compression: Annotated[str, typer.Option(help="none (fastest to read), gzip or lzf.", metavar="NAME")] = "none",
    as_json: options.AsJson = False,
) -> None:
    """Write a store into one HDF5 file, which every command takes as --cache; run again to continue.

    Example: ta2n cache export ./feats/clips.zarr clips.h5
    """
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.cache.hdf5.export import export_hdf5
    from ta2n.pipeline.cache.hdf5.source import SUFFIXES

    if file.suffix not in SUFFIXES:
        raise InputError(f"{file}: a file's form is told by its name; end it in {' or '.join(SUFFIXES)}")
    opened, before = FeatureCache.open(cache, dataset), file.exists()
    with progress("exporting", len(opened), "clips") as bar:
        kept = export_hdf5(opened, file, compression=compression, on_clips=bar)
    values: dict[str, Any] = {
        "file": str(file),
        "clips": int(opened.done.sum()),
        "kept": kept,
        "bytes": file.stat().st_size,
    }
    if as_json:
        print_json(values)
    elif before:
        stdout().print(
            f"{file}: is there already and holds the same: {values['clips']} clips, {size(values['bytes'])}",
            markup=False,
            soft_wrap=True,
        )
    else:
        stdout().print(
            f"{values['clips']} clips ({kept} maps from before), {size(values['bytes'])} in {file}", markup=False
        )


@app.command("import")
@guarded
def import_file(
    file: Annotated[Path, typer.Argument(help="An HDF5 file.", metavar="FILE")],
    cache: Annotated[Path, typer.Argument(help="Folder of stores.", metavar="FOLDER")],
    compression: Annotated[
        str | None, typer.Option(help="none, zstd or lz4. \\[default: that of the exported store]", metavar="NAME")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Of a file from another tool: its data set of features, (videos, C, T, H, W), (videos, T, C) or "
            "(videos, C).",
            metavar="NAME",
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Its data set of labels.", metavar="NAME")] = None,
    ids: Annotated[str | None, typer.Option(help="Its data set of clip names.", metavar="NAME")] = None,
    splits: Annotated[str | None, typer.Option(help="Its data set of train, val, test.", metavar="NAME")] = None,
    split_file: options.SplitFile = None,
    name: Annotated[str | None, typer.Option(help="Of the new store. \\[default: the file's]", metavar="NAME")] = None,
    seed: options.Seed = 0,
) -> None:
    """Turn an exported HDF5 file into a store again, or one that another tool wrote; run again to continue.

    Example: ta2n cache import clips.h5 ./feats

    Example: ta2n cache import other.h5 ./feats --features feats --labels y --split-file splits.json
    """
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.cache.hdf5.restore import import_hdf5

    foreign = {"--features": features, "--labels": labels, "--ids": ids, "--splits": splits, "--name": name}
    if features is None and labels is None:
        given = [flag for flag, value in foreign.items() if value is not None] + ["--split-file"] * bool(split_file)
        if given:
            raise InputError(f"{given[0]} goes with --features and --labels, for a file that another tool wrote")
        with progress("importing", _clips(file), "clips") as bar:
            store, kept = import_hdf5(file, cache, compression=compression, on_clips=bar)
        before = f" ({kept} from before)"
    elif features is None or labels is None:
        raise InputError("a file of another tool needs both --features NAME and --labels NAME")
    elif compression not in (None, "none"):
        raise InputError("--compression is for files that ta2n exported; others are stored uncompressed")
    else:
        store, before = _import_foreign(file, cache, features, labels, ids, splits, split_file, name, seed), ""
    opened = FeatureCache.open(store)
    stdout().print(f"{int(opened.done.sum())} clips{before} in {store}", markup=False)
    failed = opened.failures()
    if failed:
        stdout().print(f"{len(failed)} clips failed, e.g. {failed[0][0]}: {failed[0][1]}", markup=False)


def _clips(file: Path) -> int:
    from ta2n.pipeline.cache.hdf5.source import Hdf5Source

    return len(Hdf5Source(file).videos)


def _import_foreign(
    file: Path,
    cache: Path,
    features: str,
    labels: str,
    ids: str | None,
    splits: str | None,
    split_file: Path | None,
    name: str | None,
    seed: int,
) -> Path:
    from ta2n.pipeline.cache.hdf5.foreign import Names, count_clips, import_foreign
    from ta2n.pipeline.datasets.splits import read_split_file, seeded_class_split

    if splits is not None and split_file is not None:
        raise InputError("--splits and --split-file both say the splits; give one of them")

    def split_of(classes: list[str]) -> "Mapping[str, str]":
        if split_file is not None:
            return read_split_file(split_file)
        note(f"note: nothing says the splits: the classes were split by seed {seed}; --split-file decides otherwise")
        return seeded_class_split(classes, seed)

    names = Names(features=features, labels=labels, ids=ids, splits=splits)
    with progress("importing", count_clips(file, features), "clips") as bar:
        return import_foreign(file, cache, names, dataset=name or file.stem, split_of=split_of, on_clips=bar)


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
        "bytes": sum(file.stat().st_size for file in [cache.path, *cache.path.rglob("*")] if file.is_file()),
        "splits": splits,
        "failed": [{"id": name, "reason": reason} for name, reason in cache.failures()],
    }
