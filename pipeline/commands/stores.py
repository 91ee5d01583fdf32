"""The store that a command works on."""

from pathlib import Path

import numpy as np

from ta2n.pipeline.cache import FeatureCache


def open_cache(path: Path, dataset: str | None = None, split_file: Path | None = None) -> FeatureCache:
    """Opens the store that is meant, with the splits that are meant.

    Args:
        path: a store, or a folder of stores.
        dataset: which store of the folder; None where there is one.
        split_file: a JSON file of classes by split, instead of the store's own splits.

    Raises:
        MissingError: there is no store, or no such file.
        InputError: several stores could be meant, or the file says no splits.
    """
    cache = FeatureCache.open(path, dataset)
    if split_file is not None:
        # What reads folders is slow to import, and seldom needed here.
        from ta2n.pipeline.datasets.splits import read_split_file

        split = read_split_file(split_file)
        cache.use_splits(np.array([split.get(label, "") for label in cache.videos.label.tolist()], dtype=np.str_))
    return cache


def default_frames(cache: FeatureCache) -> int:
    """T of a head on a store: the field's 8, or as many as are there."""
    return min(8, cache.map_shape[1])
