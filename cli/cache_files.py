"""``ta2n cache export`` and ``import``: stores as one file, and features of other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.errors import InputError
from ta2n.cli import options
from ta2n.cli.cache import Store
from ta2n.cli.console import note, print_json, progress, size, stdout

if TYPE_CHECKING:
    from collections.abc import Mapping


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
