"""Episodes as a file, so that others can score the same ones with other software.

JSON, gzipped where the name ends in ``.gz``: see docs/protocols.md. Clips are named by their ids, not by row numbers,
which differ between stores.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.episodes.sampling import Episode, Episodes

FORMAT = "ta2n-episodes-1"
_FIELDS = ("format", "dataset", "split", "way", "shot", "queries", "seed", "classes", "clips", "episodes")
_NAMED = 3


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
    """
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
    data = to_json(values, ensure_ascii=False, separators=(",", ":")).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    # No time in the header: the same episodes give the same bytes.
    partial.write_bytes(gzip.compress(data, mtime=0) if file.suffix == ".gz" else data)
    partial.replace(file)
    return str(values["sha256"])


def load_episodes(file: Path, *, ids: Sequence[str], labels: Sequence[int]) -> EpisodeList:
    """Reads a list for a store.

    Args:
        file: from :func:`save_episodes`, or written by others in its form.
        ids: name of each row's clip.
        labels: class number of each row that can be used, negative where it cannot.

    Raises:
        MissingError: there is no such file.
        InputError: it is no list of episodes, was changed, or names clips that the store does not have.
    """
    values = _read(file)
    rows = _rows(file, values["clips"], ids, labels)
    way, shot, queries = (int(values[name]) for name in ("way", "shot", "queries"))
    shape = (way * shot, way * queries)
    numbers = np.asarray(labels)
    made = []
    for number, (support, query) in enumerate(values["episodes"]):
        if (len(support), len(query)) != shape:
            raise InputError(f"{file}: episode {number} has {len(support)} and {len(query)} clips, expected {shape}")
        made.append(
            Episode(
                support=rows[support],
                query=rows[query],
                query_labels=np.repeat(np.arange(way), queries),
                classes=numbers[rows[support][::shot]],
            )
        )
    names = ("dataset", "split", "seed", "sha256")
    dataset, split, seed, sha256 = (values[name] for name in names)
    return EpisodeList(str(dataset), str(split), way, shot, queries, int(seed), tuple(made), str(sha256))


def _read(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
        values = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        missing = [name for name in (*_FIELDS, "sha256") if name not in values]
        if missing or values["format"] != FORMAT:
            raise InputError(
                f"{file}: not a list of episodes (missing: {', '.join(missing) or 'none'}; expected {FORMAT})"
            )
    except FileNotFoundError as error:
        raise MissingError(f"{file}: there is no such list of episodes") from error
    except (ValueError, OSError, EOFError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: not a list of episodes ({error})") from error
    if _digest(values) != values["sha256"]:
        raise InputError(f"{file}: was changed after it was written: its SHA-256 does not fit; get it again")
    return dict(values)


def _digest(values: dict[str, Any]) -> str:
    text = to_json([values[name] for name in _FIELDS], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(file: Path, clips: list[str], ids: Sequence[str], labels: Sequence[int]) -> "np.ndarray[Any, Any]":
    place = {str(name): row for row, name in enumerate(ids)}
    unknown = [name for name in clips if name not in place]
    unusable = [name for name in clips if name in place and labels[place[name]] < 0]
    for names, what in ((unknown, "are not in the store"), (unusable, "failed, are pending or are of another split")):
        if names:
            shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
            raise InputError(
                f"{file}: {len(names)} of its {len(clips)} clips {what} ({shown}); these episodes need all"
            )
    return np.array([place[name] for name in clips], dtype=np.int64)
