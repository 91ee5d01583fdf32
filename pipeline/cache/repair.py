"""Mending a store: what is damaged or lost becomes pending, so that the next extraction does it again."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.cache_schema.layout import array, columns_of, create_store, open_store
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import SCHEMA_VERSION
from ta2n.cache_schema.values import State
from ta2n.pipeline.cache.left_overs import remove_left_overs
from ta2n.pipeline.cache.shards import shard_file
from ta2n.pipeline.cache.sources import ZarrSource, compression_of
from ta2n.pipeline.cache.verify import row_problem
from ta2n.pipeline.cache.writer import COLUMNS, CacheWriter, Shard


@dataclass
class Repaired:
    """What :func:`repair` did.

    Attributes:
        checked: clips whose maps were compared with their digests.
        pending: (id, what was wrong) of each clip that is to be extracted again.
        rewritten: names of arrays whose description was damaged.
        removed: files of processes that ended before they had finished.
    """

    checked: int = 0
    pending: list[tuple[str, str]] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)


def repair(path: Path, *, on_clip: Callable[[int], None] | None = None) -> Repaired:
    """Marks every row pending whose maps are damaged or lost, and removes what dead processes left.

    Sound maps stay. Killed on the way, it is done by running it again.

    Args:
        path: of a zarr store.
        on_clip: called with the number of clips checked so far.

    Raises:
        InputError: ``path`` is one file, or of an older version of the format.
        DamagedCacheError: the manifest, the row table or the description of ``features`` is damaged, which nothing
            else holds.
        BusyError: another process is writing the store.
    """
    if path.is_file():
        raise InputError(f"{path}: one file is not repaired; delete it and export it again, or import it into a folder")
    with writing(path, "ta2n cache verify --repair"):
        done = Repaired(removed=remove_left_overs(path), rewritten=_rewrite_descriptions(path))
        source = _Lenient(path)
        writer = CacheWriter.of(path)
        for rows in writer.shards():
            shard, problems = _mended(path, source, writer, rows)
            done.checked += len(rows)
            if problems:
                done.pending += [(str(source.videos.id[row]), problem) for row, problem in problems]
                # zarr reads the last shard of an array before it writes it, which a damaged one does not let it do.
                shard_file(path / "features", rows.start // writer.shard_size).unlink(missing_ok=True)
                writer.commit(shard)
            if on_clip:
                on_clip(rows.stop)
    return done


class _Lenient(ZarrSource):
    """A store whose columns may have chunks that cannot be read; the digests of those rows match nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, check=False)

    def column(self, name: str) -> Any:
        found = array(self._group, name)
        values = np.zeros(found.shape, found.dtype)
        for start in range(0, len(values), self.shard_size):
            try:
                values[start : start + self.shard_size] = found[start : start + self.shard_size]
            except Exception:  # noqa: S112  whatever a damaged chunk raises, its rows are found by _mended
                continue
        return values


def _mended(path: Path, source: ZarrSource, writer: CacheWriter, rows: range) -> tuple[Shard, list[tuple[int, str]]]:
    """A shard with its sound rows, and (row, problem) of the others."""
    found, broken = _columns(path, writer, rows)
    problems: list[tuple[int, str]] = []
    if broken:
        problems = [(row, broken) for row in rows]
    else:
        for place, row in enumerate(rows):
            if problem := row_problem(source, row, found["state"][place], found["reason"][place]):
                problems.append((row, problem))
    shard = writer.blank(rows)
    if not problems:
        return shard, problems
    bad = {row for row, _ in problems}
    for place, row in enumerate(rows):
        if row in bad:
            continue
        for name in COLUMNS:
            getattr(shard, name)[place] = found[name][place]
        for view in np.flatnonzero(found["state"][place] == State.DONE).tolist():
            shard.features[place, view] = source.map(row, view)
    return shard, problems


def _columns(path: Path, writer: CacheWriter, rows: range) -> tuple[dict[str, Any], str]:
    """The columns of a shard, and what is wrong where one cannot be read; its file is removed, as it holds nothing."""
    found: dict[str, Any] = {}
    problem = ""
    for name in COLUMNS:
        try:
            found[name] = writer.column(name, rows)
        except DamagedCacheError as error:
            problem = str(error)
            for file in (path / name / "c" / str(rows.start // writer.shard_size)).rglob("*"):
                if file.is_file():
                    file.unlink()
            found[name] = None
    return found, problem


def _rewrite_descriptions(path: Path) -> list[str]:
    """Writes the description of each array again that is not as the store's manifest and ``features`` have it."""
    group, manifest, videos = open_store(path, write=True)
    if manifest.schema_version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: is of version {manifest.schema_version} of the format; add --upgrade, or run it first"
        )
    features = array(group, "features")
    expected = columns_of(len(manifest.views), int(features.shape[3]))
    wrong = [name for name, (tail, dtype) in expected.items() if not _as_described(group, name, tail, dtype, features)]
    if not wrong:
        return []
    template = path.with_name(f".{path.name}.description.partial")
    shutil.rmtree(template, ignore_errors=True)
    create_store(
        template,
        manifest,
        videos,
        map_shape=tuple(features.shape[2:]),
        shard_size=int(features.shards[0]),
        compression=compression_of(features),
    )
    for name in wrong:
        (path / name).mkdir(exist_ok=True)
        (template / name / "zarr.json").replace(path / name / "zarr.json")
    shutil.rmtree(template)
    return wrong


def _as_described(group: zarr.Group, name: str, tail: tuple[int, ...], dtype: str, features: Any) -> bool:
    try:
        found = array(group, name)
        chunk = (int(features.shards[0]), *tail)
        return bool(found.shape == (features.shape[0], *tail) and found.chunks == chunk and found.dtype == dtype)
    except DamagedCacheError:
        return False
