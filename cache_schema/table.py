"""The row table: which video each row of a store is."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.cache_schema.plain_json import to_json

SPLITS = ("train", "val", "test")
_COLUMNS = ("id", "path", "label", "split")


@dataclass(frozen=True)
class VideoTable:
    """The rows of a store, column by column; all of one length.

    Attributes:
        id: unique names of the videos.
        path: where each lies, relative to ``root``.
        label: class names.
        split: ``train``, ``val``, ``test``, or empty where a clip belongs to none.
        root: folder of the data set when it was extracted.
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
        return to_json({"root": self.root, **columns}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> "VideoTable":
        """Reads what :meth:`to_bytes` wrote; ``source`` names the store in errors.

        Raises:
            DamagedCacheError: the bytes are not a row table.
        """
        try:
            values = json.loads(data)
            return cls(**_as_columns([values[name] for name in _COLUMNS]), root=str(values["root"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedCacheError(f"{source}: its row table cannot be read ({error}); extract again") from error


def _as_columns(columns: Sequence[Sequence[str]]) -> dict[str, NDArray[np.str_]]:
    return {name: np.array(column, dtype=np.str_) for name, column in zip(_COLUMNS, columns, strict=True)}
