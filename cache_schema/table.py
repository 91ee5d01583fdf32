"""The row table: which video each row of a store is."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.columns import COLUMNS, checksum, count_texts, decode_texts, encode_texts
from ta2n.cache_schema.errors import DamagedCacheError, InputError

SPLITS = ("train", "val", "test")
_SPLIT_NAMES = np.array(["", *SPLITS])

Column = NDArray[Any]


class VideoTable:
    """The rows of a store, column by column. Made by :meth:`from_rows` or :meth:`from_columns`, and never changed.

    No class is in two splits: few-shot recognition is of classes that were never trained on. Whatever names the splits
    (folders, a split file, published lists, another tool's file, a store) ends in such a table, and is refused here.
    A store of a million videos is opened without making a million texts: columns are decoded when they are asked for.

    Args:
        column: gives a column as it is stored (:mod:`~ta2n.cache_schema.columns`).
        checksums: SHA-256 of each stored column.
        split: (videos,) number of each row's split, 0 for none, in place of the stored one.

    Raises:
        InputError: a class is in two splits.
    """

    def __init__(
        self, column: Callable[[str], Column], checksums: Mapping[str, str], split: NDArray[np.uint8] | None = None
    ) -> None:
        self.column, self.checksums = column, dict(checksums)
        self._split: NDArray[np.uint8] = column("split") if split is None else split
        _refuse_shared_classes(self, self._split)

    def __len__(self) -> int:
        return len(self._split)

    @cached_property
    def id(self) -> NDArray[np.str_]:
        """(videos,) unique names of the videos."""
        return _texts(self.column("id"))

    @cached_property
    def path(self) -> NDArray[np.str_]:
        """(videos,) where each lies, relative to ``root``."""
        return _texts(self.column("path"))

    @cached_property
    def label_names(self) -> NDArray[np.str_]:
        """The classes of the whole table, sorted."""
        return _texts(self.column("label_names"))

    @cached_property
    def label_number(self) -> NDArray[np.int32]:
        """(videos,) number of each row's class in ``label_names``."""
        return self.column("label")

    @cached_property
    def label(self) -> NDArray[np.str_]:
        """(videos,) class names."""
        return self.label_names[self.label_number]

    @cached_property
    def split(self) -> NDArray[np.str_]:
        """(videos,) ``train``, ``val``, ``test``, or empty where a clip belongs to none."""
        return _SPLIT_NAMES[self._split]

    @cached_property
    def root(self) -> str:
        """Folder of the data set when it was extracted."""
        return decode_texts(self.column("root"))[0]

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[str, str, str, str]], *, root: str = "") -> "VideoTable":
        """Builds the table from (id, path, label, split) rows.

        Raises:
            InputError: an id occurs twice, a split is not one of ``train``, ``val``, ``test`` or empty, or a name
                cannot be stored.
        """
        ids, paths, labels, splits = ([row[place] for row in rows] for place in range(4))
        _refuse_repeated(ids)
        names = sorted(set(labels))
        number = {name: place for place, name in enumerate(names)}
        columns: dict[str, Column] = {
            "id": encode_texts(ids),
            "path": encode_texts(paths),
            "label": np.array([number[label] for label in labels], np.int32),
            "label_names": encode_texts(names),
            "split": _split_numbers(splits),
            "root": encode_texts([root]),
        }
        return cls(columns.__getitem__, {name: checksum(columns[name]) for name in COLUMNS})

    @classmethod
    def from_columns(cls, read: Callable[[str], Column], checksums: Mapping[str, str], *, source: str) -> "VideoTable":
        """The table of a store, whose columns are read and compared with their checksums when they are asked for.

        Ids, classes and splits are read at once, paths and root later.

        Args:
            read: gives a column as it is stored.
            checksums: SHA-256 of each, as it was written.
            source: names the store in errors.

        Raises:
            DamagedCacheError: a column is not what was written; also later, from whatever asks for it first.
        """
        kept: dict[str, Column] = {}

        def column(name: str) -> Column:
            if name not in kept:
                values = read(name)
                if checksum(values) != checksums.get(name):
                    raise DamagedCacheError(
                        f"{source}: the column {name!r} of its row table is not what was written; extract into another "
                        "--cache folder, or import an export of this store"
                    )
                kept[name] = values
            return kept[name]

        _check_numbers(column, source)
        return cls(column, checksums)

    def with_splits(self, split: Sequence[str] | NDArray[np.str_]) -> "VideoTable":
        """The same rows with other splits."""
        numbers = _split_numbers(list(split))
        return VideoTable(self.column, {**self.checksums, "split": checksum(numbers)}, numbers)

    def columns(self) -> dict[str, Column]:
        """Every column as it is to be stored."""
        return {name: self.column(name) for name in COLUMNS} | {"split": self._split}

    def hash(self) -> str:
        """SHA-256 that stands for id, class and split of every row, in order."""
        parts = [self.checksums[name] for name in ("id", "label", "label_names", "split")]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _check_numbers(column: Callable[[str], Column], source: str) -> None:
    label, split, names = column("label"), column("split"), count_texts(column("label_names"))
    if count_texts(column("id")) != len(split) or len(label) != len(split):
        raise DamagedCacheError(f"{source}: the columns of its row table differ in length")
    if len(split) and not (label.min() >= 0 and label.max() < names and split.max() < len(_SPLIT_NAMES)):
        raise DamagedCacheError(f"{source}: its row table numbers classes or splits that there are not")


def _refuse_shared_classes(table: VideoTable, split: NDArray[np.uint8]) -> None:
    label = table.label_number
    found = np.zeros((int(label.max(initial=0)) + 1, len(_SPLIT_NAMES)), bool)
    found[label, split] = True
    shared = np.flatnonzero(found[:, 1:].sum(axis=1) > 1)
    if not len(shared):
        return
    rows = np.flatnonzero((label == shared[0]) & (split > 0))
    first = int(rows[0])
    other = int(rows[split[rows] != split[first]][0])
    clips = [f"{str(_SPLIT_NAMES[split[row]])!r} (clip {str(table.id[row])!r})" for row in (first, other)]
    root = f"{table.root}: " if table.root else ""
    raise InputError(
        f"{root}class {str(table.label_names[shared[0]])!r} is in the split {clips[0]} and in {clips[1]}; a class is "
        "tested on only where it was never trained on: give each class one split, by folders, lists or --split-file"
    )


def _texts(raw: NDArray[np.uint8]) -> NDArray[np.str_]:
    return np.array(decode_texts(raw), dtype=np.str_)


def _refuse_repeated(ids: Sequence[str]) -> None:
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"the row table holds {twice!r} twice; ids must be unique")


def _split_numbers(splits: Sequence[str]) -> NDArray[np.uint8]:
    numbers = {name: number for number, name in enumerate(_SPLIT_NAMES.tolist())}
    odd = sorted(set(splits) - set(numbers))
    if odd:
        raise InputError(f"{odd[0]!r} is no split; expected {', '.join(SPLITS)}, or nothing")
    return np.array([numbers[split] for split in splits], np.uint8)
