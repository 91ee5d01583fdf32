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
        stdout().print(f"{checked} clips checked, {len(damaged)} {state}", markup=False)
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
    total = int((opened.state != State.PENDING).any(axis=1).sum())
    with progress("verifying", total, "clips") as bar:
        damaged = damaged_clips(opened, on_clip=bar)
    left = [] if path.is_file() else left_overs(path)
    for file in left:
        note(f"note: {file} is unfinished: of a run that is writing now, or has ended; the next run removes it")
    listed = [{"id": name, "problem": problem} for name, problem in damaged]
    return total, damaged, {"checked": total, "damaged": listed, "left_over": [str(file) for file in left]}


def _rows(path: Path) -> int:
    from ta2n.cache_schema.layout import open_store

    return len(open_store(path)[2]) if path.is_dir() else 0


@app.command("export")
@guarded
def export(
    cache: Store,
    file: Annotated[Path, typer.Argument(help="The HDF5 file to write; must end in .h5 or .hdf5.", metavar="FILE")],
    dataset: options.Dataset = None,
    compression: Annotated[str, typer.Option(help="none (fastest to read), gzip or lzf.", metavar="NAME")] = "none",
    wait: options.Wait = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a store into one HDF5 file, which every command takes as --cache; run again to continue.

    Example: ta2n cache export ./feats/clips.zarr clips.h5
    """
    from ta2n.cache_schema.disk import require_file
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.cache.hdf5.export import export_hdf5
    from ta2n.pipeline.cache.hdf5.source import SUFFIXES

    if file.suffix not in SUFFIXES:
        raise InputError(f"{file}: a file's form is told by its name; end it in {' or '.join(SUFFIXES)}")
    require_file(file, "FILE")
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
    file: Annotated[
        Path, typer.Argument(help="An HDF5 file; or of another tool, a folder of .npy files.", metavar="FILE")
    ],
    cache: Annotated[Path, typer.Argument(help="Folder of stores.", metavar="FOLDER")],
    compression: Annotated[
        str | None, typer.Option(help="none, zstd or lz4. \\[default: that of the exported store]", metavar="NAME")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Of a file from another tool: its data set of features, (videos, C, T, H, W), (videos, T, C) or "
            "(videos, C); or a pattern of one a video, e.g. {class}/{id}/features.",
            metavar="NAME",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Its data set of labels; or a pattern of one a video; or a .json file of clip names and classes.",
            metavar="NAME|FILE",
        ),
    ] = None,
    ids: Annotated[str | None, typer.Option(help="Its data set of clip names.", metavar="NAME")] = None,
    splits: Annotated[
        str | None, typer.Option(help="Its data set of train, val, test; or as --labels.", metavar="NAME|FILE")
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="What the axes of its features are: V videos, T frames, C channels, H, W; e.g. VCT, or CT where each "
            "video has an array of its own. \\[default: told by the shape where it leaves no doubt]",
            metavar="LETTERS",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help="Frames to store of each of its videos. \\[default: all, if equally many]", min=1),
    ] = None,
    split_file: options.SplitFile = None,
    name: Annotated[str | None, typer.Option(help="Of the new store. \\[default: the file's]", metavar="NAME")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the class split, where nothing says the splits. \\[default: 0]", min=0)
    ] = None,
    wait: options.Wait = False,
) -> None:
    """Turn an exported HDF5 file into a store again, or what another tool wrote; run again to continue.

    Example: ta2n cache import clips.h5 ./feats

    Example: ta2n cache import other.h5 ./feats --features feats --labels y --split-file splits.json

    Example: ta2n cache import ./npy ./feats --frames 8
    """
    from ta2n.cache_schema.disk import naming
    from ta2n.cache_schema.layout import COMPRESSIONS
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.cache.hdf5.restore import import_hdf5, written_manifest
    from ta2n.pipeline.cache.hdf5.source import Hdf5Source
    from ta2n.pipeline.commands.stores import require_fit, store_path

    foreign = features is not None or file.is_dir()
    options.refuse(
        (
            compression not in (None, *COMPRESSIONS),
            f"--compression {compression!r} is not known; choose one of {', '.join(COMPRESSIONS)}",
        ),
        (
            seed is not None and (not foreign or splits is not None or split_file is not None),
            "--seed splits the classes of a file that says no splits; leave it out",
        ),
    )
    names = {"features": features, "labels": labels, "ids": ids, "splits": splits}
    others = {"--ids": ids, "--splits": splits, "--axes": axes, "--frames": frames, "--name": name}
    if features is None and labels is None and not file.is_dir():
        given = [flag for flag, value in others.items() if value is not None] + ["--split-file"] * bool(split_file)
        if given:
            raise InputError(f"{given[0]} goes with --features and --labels, for a file that another tool wrote")
        source = Hdf5Source(file)
        path = store_path(cache, source.manifest.dataset)
        require_fit(path, written_manifest(source), source.videos, compression=compression)
        with naming(path), progress("importing", len(source.videos), "clips") as bar:
            store, kept = import_hdf5(file, path.parent, compression=compression, on_clips=bar)
        before = f" ({kept} from before)"
    elif not file.is_dir() and (features is None or (labels is None and "{" not in features)):
        raise InputError("a file of another tool needs both --features NAME and --labels NAME")
    elif compression not in (None, "none"):
        raise InputError("--compression is for files that ta2n exported; others are stored uncompressed")
    else:
        store, before = _import_foreign(file, cache, names, axes, frames, splits, split_file, name, seed or 0), ""
    opened = FeatureCache.open(store)
    stdout().print(f"{int(opened.done.sum())} clips{before} in {store}", markup=False)
    failed = opened.failures()
    if failed:
        stdout().print(f"{len(failed)} clips failed, e.g. {failed[0][0]}: {failed[0][1]}", markup=False)


def _import_foreign(
    file: Path,
    cache: Path,
    names: "Mapping[str, str | None]",
    axes: str | None,
    frames: int | None,
    splits: str | None,
    split_file: Path | None,
    name: str | None,
    seed: int,
) -> Path:
    from ta2n.cache_schema.disk import naming
    from ta2n.pipeline.cache.hdf5.foreign import Names, count_clips, import_foreign
    from ta2n.pipeline.commands.stores import store_path
    from ta2n.pipeline.datasets.splits import read_split_file, require_classes, seeded_class_split

    if splits is not None and split_file is not None:
        raise InputError("--splits and --split-file both say the splits; give one of them")

    def split_of(classes: list[str]) -> "Mapping[str, str]":
        if split_file is not None:
            split = read_split_file(split_file)
            require_classes(split, classes, source=split_file)
            return split
        note(f"note: nothing says the splits: the classes were split by seed {seed}; --split-file decides otherwise")
        return seeded_class_split(classes, seed)

    usual, called = file.resolve().name if file.is_dir() else file.stem, Names(**names)
    dataset = usual if name is None else name
    path = store_path(cache, dataset)
    with naming(path), progress("importing", count_clips(file, called), "clips") as bar:
        return import_foreign(
            file, path.parent, called, dataset=dataset, split_of=split_of, axes=axes, frames=frames, on_clips=bar
        )


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
