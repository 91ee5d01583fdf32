"""Whether a file that is there is the finished export of a store, and what killed exports left beside it."""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ta2n.cache_schema.errors import CacheError, InputError, MissingError
from ta2n.cache_schema.plain_json import to_json
from ta2n.cache_schema.values import State
from ta2n.pipeline.cache.hdf5.source import Hdf5Source
from ta2n.pipeline.cache.reader import FeatureCache
from ta2n.pipeline.cache.sources import Source
from ta2n.pipeline.cache.verify import sound_map
from ta2n.pipeline.cache.writer import COLUMNS


def identity(source: Source, form: str) -> str:
    """A hash of everything in an export but the maps themselves, whose digests are in it.

    Args:
        source: the store, or an export of it.
        form: compression of the export's maps: ``none``, ``gzip`` or ``lzf``.
    """
    about = to_json([source.manifest.to_dict(), source.shape, source.shard_size, source.compression, form])
    found = hashlib.sha256(about.encode() + to_json(source.videos.checksums).encode())
    for name in COLUMNS:
        found.update(np.ascontiguousarray(source.column(name)).tobytes())
    return found.hexdigest()[:16]


def require_same(cache: FeatureCache, file: Path, form: str) -> Hdf5Source:
    """The file that is there, if it is an export of just this store, as the store is now. Reads no map.

    Raises:
        InputError: it is something else; the message says what.
    """
    advice = "delete it, or export to another name"
    if not file.is_file():
        raise InputError(f"{file}: is there already and is no file; export to another name")
    try:
        there = Hdf5Source(file)
        same = identity(there, there.form) == identity(cache.source, form)
    except (CacheError, MissingError) as error:
        raise InputError(f"{file}: is there already and cannot be read as an export; {advice}") from error
    if not same:
        raise InputError(f"{file}: is there already and {_difference(cache, there, form)}; {advice}")
    return there


def compare_maps(cache: FeatureCache, there: Hdf5Source, on_clips: Callable[[int], None]) -> int:
    """Compares every map of a finished export with its digest.

    Args:
        cache: the store.
        there: its export.
        on_clips: called with the number of clips compared so far.

    Returns:
        How many maps there are.

    Raises:
        DamagedCacheError: one is not what was written.
    """
    maps = 0
    for row in range(len(cache)):
        for view in np.flatnonzero(cache.state[row] == State.DONE).tolist():
            sound_map(there, row, view)
            maps += 1
        on_clips(row + 1)
    return maps


def forget_left_overs(file: Path, *, keep: Path | None = None) -> None:
    """Removes what killed exports to a file left beside it; to be called by whoever holds the file's lock.

    Args:
        file: the export's name.
        keep: what is not to be removed.
    """
    ours = re.compile(rf"\.{re.escape(file.name)}\.[0-9a-f]{{16}}\.partial(\.new)?")
    for left in file.parent.iterdir():
        if left != keep and ours.fullmatch(left.name):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _difference(cache: FeatureCache, there: Hdf5Source, form: str) -> str:
    """What makes a file another export than the one that is asked for."""
    if there.manifest.hash() != cache.manifest.hash():
        return f"holds other features than {cache.path}"
    if there.form != form:
        return f"its compression is {there.form}, not {form}"
    stored, now = (int((state == State.DONE).all(axis=1).sum()) for state in (there.column("state"), cache.state))
    if stored == now:
        return f"holds other maps than {cache.path}"
    return f"holds {cache.path} as it was at another time ({stored} clips done then, {now} now)"
