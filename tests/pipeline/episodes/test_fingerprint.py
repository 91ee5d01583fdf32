"""The fingerprint of episodes: equal where the same clips meet in the same roles, and nowhere else."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ta2n.pipeline.episodes import Episode, Episodes
from ta2n.pipeline.episodes.fingerprint import Watched, fingerprint

IDS = np.array([f"clip {number}" for number in range(40)])
LABELS = np.repeat(np.arange(8), 5)


class Listed:
    """Episodes that are there already."""

    shot = 1

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self._episodes = episodes
        self.rows = np.unique(np.concatenate([np.concatenate([one.support, one.query]) for one in episodes]))

    def take(self, count: int, start: int = 0) -> Iterator[Episode]:
        return iter(self._episodes[start : start + count])


def drawn(
    labels: NDArray[np.int64] = LABELS, *, way: int = 4, shot: int = 1, queries: int = 2, seed: int = 0
) -> Episodes:
    return Episodes(labels, way=way, shot=shot, queries=queries, seed=seed)


def test_the_rows_of_a_store_do_not_matter_only_the_clips_do() -> None:
    expected = fingerprint(drawn(), 30, IDS)
    assert expected == fingerprint(drawn(), 30, IDS)
    # Another store holds clips of another split between them.
    labels, ids = np.full(80, -1), np.array(["elsewhere"] * 80, dtype=IDS.dtype)
    labels[::2], ids[::2] = LABELS, IDS
    assert fingerprint(drawn(labels), 30, ids) == expected


@pytest.mark.parametrize("other", [drawn(seed=1), drawn(way=3), drawn(shot=2), drawn(queries=1)])
def test_other_settings_are_other_episodes(other: Episodes) -> None:
    assert fingerprint(other, 30, IDS) != fingerprint(drawn(), 30, IDS)


def test_other_clips_are_other_episodes_though_as_many() -> None:
    one = fingerprint(drawn(), 30, IDS)
    assert fingerprint(drawn(), 29, IDS) != one
    renamed = IDS.copy()
    renamed[3] = "turned up"
    assert fingerprint(drawn(), 30, renamed) != one
    fewer = np.where(np.arange(40) == 3, -1, LABELS)
    assert fingerprint(drawn(fewer), 30, IDS) != one


@pytest.mark.parametrize(
    "change",
    [
        lambda one: dataclasses.replace(one, support=one.query[:4], query=np.concatenate([one.support, one.query[4:]])),
        lambda one: dataclasses.replace(one, query=one.query[::-1]),
        lambda one: dataclasses.replace(one, query_labels=one.query_labels[::-1]),
        lambda one: dataclasses.replace(one, support=one.support[:3], query=np.append(one.support[3], one.query)),
    ],
)
def test_the_same_clips_in_other_roles_are_another_episode(change: Callable[[Episode], Episode]) -> None:
    episodes = list(drawn().take(5))
    changed = [*episodes[:2], change(episodes[2]), *episodes[3:]]
    assert fingerprint(Listed(changed), 5, IDS) != fingerprint(Listed(episodes), 5, IDS)


def test_watching_changes_nothing_and_notes_each_episode_once() -> None:
    watched = Watched(drawn(), IDS)
    taken = [one.query.tolist() for one in watched.take(10)]
    assert taken == [one.query.tolist() for one in drawn().take(10)]
    assert watched.shot == 1
    list(watched.take(10))
    assert watched.fingerprint == fingerprint(drawn(), 10, IDS)
    list(watched.take(5, start=10))
    assert watched.fingerprint == fingerprint(drawn(), 15, IDS)


def test_names_that_are_no_text() -> None:
    odd = IDS.copy()
    odd[0] = b"clip \xff".decode(errors="surrogateescape")
    assert fingerprint(drawn(), 30, odd) != fingerprint(drawn(), 30, IDS)
