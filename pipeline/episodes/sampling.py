"""Episodes: which clips are support and which are query.

An episode is a function of (labels of the split, way, shot, queries, seed, index) and of nothing else: the same for
every method, in any order, on any machine, so two methods can be compared episode by episode.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError

Labels = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True)
class Episode:
    """The row numbers of one episode.

    Attributes:
        support: (N*K,) rows, class-major: all shots of the first class, then of the second.
        query: (N*Q,) rows, class-major.
        query_labels: (N*Q,) place of each query's class in ``classes``, 0 to N-1.
        classes: (N,) labels, in the episode's order.
    """

    support: NDArray[np.int64]
    query: NDArray[np.int64]
    query_labels: NDArray[np.int64]
    classes: NDArray[np.int64]


class EpisodeSequence(Protocol):
    """What episodes can be taken from: drawn without end, or read from a list."""

    @property
    def shot(self) -> int:
        """K, of every episode."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Every row that may occur, in ascending order."""

    def take(self, count: int, start: int = 0) -> Iterator[Episode]:
        """The episodes ``start`` to ``start + count - 1``."""


class Episodes:
    """An endless, randomly accessible sequence of episodes; ``episodes[index]`` draws one.

    Args:
        labels: class of each row; negative where the row takes no part (another split, a failed clip).
        way: N, classes in an episode, at least 2.
        shot: K, support clips of each class.
        queries: query clips of each class.
        seed: chooses the sequence.
        name: of the split, for messages.

    Raises:
        InputError: a number is too small, or too few classes have enough clips; the message has the numbers.
    """

    def __init__(
        self, labels: Labels, *, way: int, shot: int, queries: int, seed: int, name: str = "this split"
    ) -> None:
        # The nearest of one class is always right.
        for what, value, least in (("way", way, 2), ("shot", shot, 1), ("queries", queries, 1)):
            if value < least:
                raise InputError(f"{what} is {value}, expected at least {least}")
        if seed < 0:
            raise InputError(f"seed is {seed}, expected 0 or more")
        self.way, self.shot, self.queries, self.seed = way, shot, queries, seed
        groups = group_rows(labels)
        self._classes = {label: rows for label, rows in groups.items() if len(rows) >= shot + queries}
        if len(self._classes) < way:
            raise InputError(_too_few(groups, name, way=way, shot=shot, queries=queries))
        self._labels = np.array(sorted(self._classes))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Every row that may occur: those of the classes that have clips enough."""
        return np.sort(np.concatenate(list(self._classes.values())))

    def __getitem__(self, index: int) -> Episode:
        """The episode of a number, 0 or more."""
        if index < 0:
            raise InputError(f"episode {index} asked for; they are counted from 0")
        generator = np.random.default_rng([self.seed, index])
        classes = generator.choice(self._labels, self.way, replace=False)
        need = self.shot + self.queries
        rows = np.stack([generator.choice(self._classes[label], need, replace=False) for label in classes.tolist()])
        return Episode(
            support=rows[:, : self.shot].reshape(-1),
            query=rows[:, self.shot :].reshape(-1),
            query_labels=np.repeat(np.arange(self.way), self.queries),
            classes=classes,
        )

    def take(self, count: int, start: int = 0) -> Iterator[Episode]:
        """The episodes ``start`` to ``start + count - 1``."""
        return (self[index] for index in range(start, start + count))


def sample_episode(labels: Labels, *, way: int, shot: int, queries: int, seed: int, index: int) -> Episode:
    """Draws one episode; see :class:`Episodes`, which groups the labels once for many."""
    return Episodes(labels, way=way, shot=shot, queries=queries, seed=seed)[index]


def group_rows(labels: Labels) -> dict[int, NDArray[np.int64]]:
    """Rows of each label in ascending order; negative labels are left out."""
    values = np.asarray(labels, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    order = order[values[order] >= 0]
    found, starts = np.unique(values[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True)) if len(found) else {}


def _too_few(groups: dict[int, NDArray[np.int64]], name: str, *, way: int, shot: int, queries: int) -> str:
    need = shot + queries
    sizes = sorted((len(rows) for rows in groups.values()), reverse=True)
    enough = sum(size >= need for size in sizes)
    counts = ", ".join(map(str, sizes[:10])) + (", ..." if len(sizes) > 10 else "")
    return (
        f"{name} cannot give a {way}-way {shot}-shot episode with {queries} queries a class: it takes {way} classes of "
        f"at least {shot} + {queries} = {need} usable clips, and {enough} of its {len(sizes)} classes have as many "
        f"(clips a class: {counts or 'none'}); lower --way, --shot or --queries, or add clips"
    )
