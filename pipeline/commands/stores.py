"""The store that a command works on, and the folder that it makes one in."""

from pathlib import Path

import numpy as np

from ta2n.cache_schema.disk import require_folder
from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.layout import is_store
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.source import SUFFIXES
from ta2n.pipeline.cache.names import named_store
from ta2n.pipeline.cache.writer import refuse_mixture
from ta2n.pipeline.commands.reporting import OnNote, tell


def open_cache(
    path: Path,
    dataset: str | None = None,
    split_file: Path | None = None,
    *,
    check: bool = True,
    on_note: OnNote | None = None,
) -> FeatureCache:
    """Opens the store that is meant, with the splits that are meant.

    Args:
        path: a store, or a folder of stores.
        dataset: which store of the folder; None where there is one.
        split_file: a JSON file of classes by split, instead of the store's own splits.
        check: whether each map is compared with its digest when it is first read.
        on_note: is told of clips that are not extracted yet.

    Raises:
        MissingError: there is no store, or no such file.
        InputError: several stores could be meant, the file says no splits, or names a class that the store lacks.
    """
    cache = FeatureCache.open(path, dataset, check=check)
    tell(cache.pending(), on_note)
    if split_file is not None:
        # What reads folders is slow to import, and seldom needed here.
        from ta2n.pipeline.datasets.splits import read_split_file, require_classes

        split, labels = read_split_file(split_file), cache.videos.label.tolist()
        require_classes(split, labels, source=split_file)
        cache.use_splits(np.array([split.get(label, "") for label in labels], dtype=np.str_))
    return cache


def store_path(cache: Path, dataset: str) -> Path:
    """Where the store of a data set is or will be.

    Args:
        cache: the folder of stores, or the store itself, which may not be there yet.
        dataset: name of the data set.

    Raises:
        InputError: the name is no file's; or the path is inside of a store, names the store of another data set that is
            not there, is a file, or cannot be written to.
    """
    if cache.suffix in SUFFIXES:
        raise InputError(f"--cache {cache}: has the name of an HDF5 file; give a folder, and `ta2n cache export` after")
    folder = cache.parent if is_store(cache) or cache.suffix == ".zarr" else cache
    path = named_store(folder, dataset)
    if folder != cache and path != cache and not is_store(cache):
        raise InputError(f"--cache {cache}: the store of {dataset} is called {path.name}; give the folder, {folder}")
    inside = next((one for one in folder.absolute().parents if is_store(one)), None)
    if is_store(folder) or inside:
        raise InputError(f"--cache {cache}: lies in the store {inside or folder}; give the folder that holds the store")
    return require_folder(path, "--cache")


def default_frames(cache: FeatureCache) -> int:
    """T of a head on a store: the field's 8, or as many as are there."""
    return min(8, cache.map_shape[1])


def require_fit(
    store: Path,
    manifest: Manifest,
    videos: VideoTable,
    *,
    compression: str | None = None,
    shard_size: int | None = None,
) -> None:
    """Refuses to continue a store with what cannot go into it any more; one that is not there takes everything.

    Args:
        store: its path.
        manifest: of what would be written.
        videos: rows of what would be written.
        compression: that was asked for; None where nobody asked.
        shard_size: that was asked for, likewise.

    Raises:
        ManifestMismatchError: the store holds features of another kind, or other videos.
        InputError: the store was made with another compression or shard size.
    """
    if not is_store(store):
        return
    stored = FeatureCache.open(store)
    refuse_mixture(store, stored.manifest, manifest, stored.videos, videos)
    own = {"compression": stored.source.compression, "shard-size": stored.source.shard_size}
    asked = {"compression": compression, "shard-size": shard_size and min(shard_size, len(videos))}
    for flag, value in asked.items():
        if value is not None and value != own[flag]:
            raise InputError(
                f"--{flag} {value}: {store} was made with {own[flag]}, and keeps it; leave --{flag} out, or give "
                "another --cache folder"
            )
