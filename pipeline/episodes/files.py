"""Episodes as a file, so that others can score the same ones with other software.

JSON, gzipped where the name ends in ``.gz``: see docs/protocols.md. Clips are named by their ids, not by row numbers,
which differ between stores.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.disk import write_whole
from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.episodes.checks import check_classes, check_episodes, check_header, check_store, places_of
from ta2n.pipeline.episodes.sampling import Episode, Episodes

FORMAT = "ta2n-episodes-1"
_FIELDS = ("format", "dataset", "split", "way", "shot", "queries", "seed", "classes", "clips", "episodes")
_MOST = 1_000_000
"""Episodes of a file: of 5 classes, 1 shot and 1 query each that is 100 MB, and takes 2 GB of memory to write."""


@dataclass(frozen=True)
class EpisodeList:
    """A fixed sequence of episodes of one store's rows.

    Attributes:
        dataset: that they are of.
        split: that they are drawn from.
        way: N.
        shot: K.
        queries: query clips of a class.
        seed: that drew them.
        episodes: in order.
        sha256: of what the file says.
    """

    dataset: str
    split: str
    way: int
    shot: int
    queries: int
    seed: int
    episodes: tuple[Episode, ...]
    sha256: str

    @property
    def rows(self) -> NDArray[np.int64]:
        """Every row that occurs, in ascending order."""
        return np.unique(np.concatenate([part for one in self.episodes for part in (one.support, one.query)]))

    def take(self, count: int, start: int = 0) -> Iterator[Episode]:
        """The episodes ``start`` to ``start + count - 1``.

        Raises:
            InputError: the list has fewer.
        """
        if start + count > len(self.episodes):
            raise InputError(f"episodes up to {start + count} asked for, the list has {len(self.episodes)}")
        return iter(self.episodes[start : start + count])


def save_episodes(
    file: Path, episodes: Episodes, count: int, *, dataset: str, split: str, ids: Sequence[str], labels: Sequence[str]
) -> str:
    """Writes episodes 0 to ``count - 1``, in one step.

    Args:
        file: to write.
        episodes: the sequence.
        count: how many.
        dataset: name of the data set.
        split: that they are drawn from.
        ids: name of each row's clip.
        labels: name of each row's class.

    Returns:
        The SHA-256 of what was written.

    Raises:
        InputError: there are more than a file can hold.
    """
    if count > _MOST:
        raise InputError(f"{file}: {count} episodes are too many for a file; give at most {_MOST} to --test-episodes")
    drawn = list(episodes.take(count))
    rows = np.unique(np.concatenate([np.concatenate([one.support, one.query]) for one in drawn]))
    place = {row: number for number, row in enumerate(rows.tolist())}
    values: dict[str, Any] = {
        "format": FORMAT,
        "dataset": dataset,
        "split": split,
        "way": episodes.way,
        "shot": episodes.shot,
        "queries": episodes.queries,
        "seed": episodes.seed,
        "clips": [str(ids[row]) for row in rows.tolist()],
        "classes": [str(labels[row]) for row in rows.tolist()],
        "episodes": [[[place[row] for row in part.tolist()] for part in (one.support, one.query)] for one in drawn],
    }
    values["sha256"] = _digest(values)
    data = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    # No time in the header: the same episodes give the same bytes.
    write_whole(file, gzip.compress(data, mtime=0) if file.suffix == ".gz" else data)
    return str(values["sha256"])


def load_episodes(
    file: Path, *, ids: Sequence[str], labels: Sequence[int], classes: Sequence[str], split: str
) -> EpisodeList:
    """Reads a list for a store.

    Args:
        file: from :func:`save_episodes`, or written by others in its form.
        ids: name of each row's clip.
        labels: class number of each row that can be used, negative where it cannot.
        classes: name of each row's class.
        split: whose episodes are asked for.

    Raises:
        MissingError: there is no such file.
        InputError: it is no list of episodes, was changed, names clips that the store does not have, or holds an
            episode that is none: see :mod:`ta2n.pipeline.episodes.checks`.
    """
    values = _read(file)
    check_store(file, values, ids, labels, split)
    row_of = {name: row for row, name in enumerate(ids)}
    rows = np.array([row_of[name] for name in values["clips"]], np.int64)
    check_classes(file, values["clips"], values["classes"], [classes[row] for row in rows.tolist()])
    places = places_of(file, values)
    found = check_episodes(file, places, np.asarray(labels, np.int64)[rows], values)
    way, shot, queries = (values[name] for name in ("way", "shot", "queries"))
    query_labels = np.repeat(np.arange(way), queries)
    made = tuple(
        Episode(support=one[: way * shot], query=one[way * shot :], query_labels=query_labels, classes=own)
        for one, own in zip(rows[places], found, strict=True)
    )
    return EpisodeList(
        values["dataset"], values["split"], way, shot, queries, values["seed"], made, str(values["sha256"])
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
        values = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        missing = [name for name in (*_FIELDS, "sha256") if name not in values]
        if missing or values["format"] != FORMAT:
            raise InputError(
                f"{file}: not a list of episodes (missing: {', '.join(missing) or 'none'}; expected {FORMAT})"
            )
        check_header(file, values)
        changed = _digest(values) != values["sha256"]
    except FileNotFoundError as error:
        raise MissingError(f"{file}: there is no such list of episodes") from error
    except (ValueError, OSError, EOFError, TypeError, RecursionError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: not a list of episodes ({error})") from error
    if changed:
        raise InputError(f"{file}: was changed after it was written: its SHA-256 does not fit; get it again")
    return dict(values)


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps([values[name] for name in _FIELDS], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
