"""Whether a map is the one that was written."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.cache_schema.values import digest


class Digests:
    """Compares maps with the digests that were stored with them.

    Args:
        path: of the store, for errors.
        manifest: of it.
        videos: its rows.
        column: gives a column of the store by name.
    """

    def __init__(
        self, path: Path, manifest: Manifest, videos: VideoTable, column: Callable[[str], NDArray[Any]]
    ) -> None:
        self._path, self._version, self._videos, self._column = path, manifest.schema_version, videos, column

    @cached_property
    def stored(self) -> NDArray[np.uint64]:
        """(videos, views)."""
        return self._column("digest")

    def of(self, row: int, view: int, values: NDArray[np.float16]) -> int:
        """The digest of (C, T, H, W) values as the map of a row and view."""
        return digest(values, str(self._videos.id[row]), view, version=self._version)

    def matches(self, row: int, view: int, values: NDArray[np.float16]) -> bool:
        """Whether values are what was written for a row and view."""
        return self.of(row, view, values) == int(self.stored[row, view])

    def check(self, row: int, view: int, values: NDArray[np.float16]) -> None:
        """Refuses values that are not what was written.

        Raises:
            DamagedCacheError: they are not.
        """
        if not self.matches(row, view, values):
            raise DamagedCacheError(
                f"{self._path}: the map of clip {str(self._videos.id[row])!r} (row {row}, view {view}) is not what was "
                f"written; {remedy(self._path)}"
            )


def remedy(path: Path) -> str:
    """What to do about a damaged store or file."""
    if path.is_file():
        return f"delete {path} and export it again; `ta2n cache verify {path}` names every such clip"
    return f"`ta2n cache verify --repair {path}` marks every such clip to be extracted again"
