"""Which classes of a split a test is of, and which are left out because they have too few usable clips."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.pipeline.cache import FeatureCache


@dataclass(frozen=True)
class LeftOut:
    """A class of the split that no episode can have.

    Attributes:
        name: of the class.
        usable: its clips whose features are stored.
        needed: clips of a class in an episode.
    """

    name: str
    usable: int
    needed: int

    @property
    def reason(self) -> str:
        """Why it is left out: its clips, or a list of episodes that does not have it."""
        if self.usable < self.needed:
            return f"{self.usable} {'clip' if self.usable == 1 else 'clips'} usable, {self.needed} needed"
        return "in no episode of the list"


@dataclass(frozen=True)
class SplitClasses:
    """The classes of a split.

    Attributes:
        total: how many the split has.
        left_out: those that no episode can have, by name.
        videos: usable clips of the others, which the episodes are drawn from.
    """

    total: int
    left_out: tuple[LeftOut, ...]
    videos: int

    @property
    def used(self) -> int:
        """How many episodes are drawn from."""
        return self.total - len(self.left_out)

    @property
    def counted(self) -> str:
        """E.g. ``24``, or ``20 of 24`` where some are left out."""
        return f"{self.used} of {self.total}" if self.left_out else str(self.total)

    @property
    def sentence(self) -> str:
        """Which are left out and why; empty where none is."""
        if not self.left_out:
            return ""
        named = ", ".join(f"{one.name} ({one.reason})" for one in self.left_out)
        return f"{self.counted} classes; left out: {named}"

    def as_record(self) -> dict[str, Any]:
        """The classes for a machine."""
        left_out = [{"class": one.name, "usable": one.usable, "needed": one.needed} for one in self.left_out]
        return {"videos": self.videos, "classes": self.used, "classes_of_split": self.total, "left_out": left_out}


def as_line(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record that holds :meth:`SplitClasses.as_record`, for a line of CSV: the classes left out as one text."""
    return {**record, "left_out": "; ".join(str(one["class"]) for one in record["left_out"] or ())}


def classes_of(
    cache: FeatureCache, split: str, *, needed: int, listed: NDArray[np.int64] | None = None
) -> SplitClasses:
    """The classes of a split that episodes are drawn from, and the others.

    Args:
        cache: the store.
        split: ``train``, ``val`` or ``test``.
        needed: clips of a class in an episode: shots and queries.
        listed: the rows of a list of episodes, whose classes are those used; None where episodes are drawn.

    Raises:
        InputError: no row belongs to the split.
    """
    usable = cache.labels(split) >= 0
    names = np.unique(cache.videos.label[cache.videos.split == split]).tolist()
    found, counts = np.unique(cache.videos.label[usable], return_counts=True)
    clips = dict(zip(found.tolist(), counts.tolist(), strict=True))
    in_list: Collection[str] = names if listed is None else set(cache.videos.label[listed].tolist())
    left_out = [
        LeftOut(name, clips.get(name, 0), needed)
        for name in names
        if clips.get(name, 0) < needed or name not in in_list
    ]
    return SplitClasses(len(names), tuple(left_out), int(usable.sum()) - sum(one.usable for one in left_out))
