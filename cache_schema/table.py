"""The row table: which video each row of a store is."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError, InputError

SPLITS = ("train", "val", "test")
_COLUMNS = ("id", "path", "label", "split")


@dataclass(frozen=True)
class VideoTable:
    """The rows of a store, column by column; all of one length.

    No class is in two splits: few-shot recognition is of classes that were never trained on. Whatever names the splits
    (folders, a split file, published lists, another tool's file, a store) ends in such a table, and is refused here.

    Attributes:
        id: unique names of the videos.
        path: where each lies, relative to ``root``.
        label: class names.
        split: ``train``, ``val``, ``test``, or empty where a clip belongs to none.
        root: folder of the data set when it was extracted.

    Raises:
        DamagedCacheError: the columns differ in length, or an id occurs twice.
        InputError: a class is in two splits.
    """

    id: NDArray[np.str_]
    path: NDArray[np.str_]
    label: NDArray[np.str_]
    split: NDArray[np.str_]
    root: str = ""

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in _COLUMNS}
        if len(set(lengths.values())) != 1:
            raise DamagedCacheError(f"the columns of a row table differ in length: {lengths}")
        if len(np.unique(self.id)) != len(self.id):
            names, counts = np.unique(self.id, return_counts=True)
            raise DamagedCacheError(f"the row table holds {str(names[counts > 1][0])!r} twice; ids must be unique")
        if shared := _class_in_two_splits(self):
            raise InputError(f"{self.root}: {shared}" if self.root else shared)

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[str, str, str, str]], *, root: str = "") -> "VideoTable":
        """Builds the table from (id, path, label, split) rows."""
        columns = [[row[place] for row in rows] for place in range(len(_COLUMNS))]
        return cls(**_as_columns(columns), root=root)

    def hash(self) -> str:
        """SHA-256 over id, class and split of every row, in order."""
        rows = "\n".join("\t".join(row) for row in zip(self.id, self.label, self.split, strict=True))
        return hashlib.sha256(rows.encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """The table as UTF-8 JSON: one list per column, and the root."""
        columns = {name: getattr(self, name).tolist() for name in _COLUMNS}
        return json.dumps({"root": self.root, **columns}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> "VideoTable":
        """Reads what :meth:`to_bytes` wrote; ``source`` names the store in errors.

        Raises:
            DamagedCacheError: the bytes are not a row table, or one with a class in two splits.
        """
        try:
            values = json.loads(data)
            return cls(**_as_columns([values[name] for name in _COLUMNS]), root=str(values["root"]))
        except InputError as error:
            raise DamagedCacheError(f"{source}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedCacheError(f"{source}: its row table cannot be read ({error}); extract again") from error


def _as_columns(columns: Sequence[Sequence[str]]) -> dict[str, NDArray[np.str_]]:
    return {name: np.array(column, dtype=np.str_) for name, column in zip(_COLUMNS, columns, strict=True)}


def _class_in_two_splits(table: VideoTable) -> str:
    """What is wrong with the first class that is in two splits, with a clip of each; empty where there is none."""
    label, split = table.label, table.split
    # Rows mostly lie class by class: only the first of each run of equal ones is looked at.
    starts = np.flatnonzero(np.r_[len(label) > 0, (label[1:] != label[:-1]) | (split[1:] != split[:-1])])
    seen: dict[str, tuple[str, int]] = {}
    for row, name, part in zip(starts.tolist(), label[starts].tolist(), split[starts].tolist(), strict=True):
        first, before = seen.setdefault(name, (part, row)) if part else ("", row)
        if part != first:
            return (
                f"class {name!r} is in the split {first!r} (clip {str(table.id[before])!r}) and in {part!r} (clip "
                f"{str(table.id[row])!r}); a class is tested on only where it was never trained on: give each class "
                "one split, by folders, lists or --split-file"
            )
    return ""
