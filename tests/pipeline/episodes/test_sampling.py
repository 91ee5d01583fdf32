"""Episodes as functions of their arguments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.episodes import Episodes, group_rows, sample_episode

LABELS = np.repeat([3, 0, 7, 1, 9, 4], 8)


@given(
    st.integers(2, 6),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.randoms(use_true_random=False),
)
def test_an_episode_is_sound(way: int, shot: int, queries: int, seed: int, index: int, shuffler: object) -> None:
    labels = np.concatenate([LABELS, [-1] * 5])
    shuffler.shuffle(labels)  # type: ignore[attr-defined]
    episode = sample_episode(labels, way=way, shot=shot, queries=queries, seed=seed, index=index)
    assert len(set(episode.classes.tolist())) == way
    assert labels[episode.support].tolist() == np.repeat(episode.classes, shot).tolist()
    assert labels[episode.query].tolist() == episode.classes[episode.query_labels].tolist()
    assert episode.query_labels.tolist() == np.repeat(np.arange(way), queries).tolist()
    rows = np.concatenate([episode.support, episode.query])
    assert len(set(rows.tolist())) == way * (shot + queries)
    assert (labels[rows] >= 0).all()


def test_an_episode_depends_on_its_number_and_not_on_what_was_drawn_before() -> None:
    episodes = Episodes(LABELS, way=5, shot=1, queries=2, seed=4)
    forwards = [episode.support.tolist() for episode in episodes.take(20)]
    assert [episodes[index].support.tolist() for index in reversed(range(20))] == forwards[::-1]
    assert [episode.support.tolist() for episode in episodes.take(5, start=7)] == forwards[7:12]
    assert len({tuple(rows) for rows in forwards}) == 20
    other = Episodes(LABELS, way=5, shot=1, queries=2, seed=5)
    assert [episode.support.tolist() for episode in other.take(20)] != forwards


def test_the_published_sequence_stays_what_it_is() -> None:
    """Written down once: a change here breaks the comparison of every stored result with every new one."""
    episode = sample_episode(LABELS, way=3, shot=2, queries=1, seed=1, index=10)
    assert episode.classes.tolist() == [4, 9, 0]
    assert episode.support.tolist() == [42, 47, 33, 34, 8, 10]
    assert episode.query.tolist() == [45, 37, 9]


def test_classes_and_clips_are_drawn_evenly() -> None:
    episodes = Episodes(LABELS, way=3, shot=1, queries=1, seed=0)
    drawn = np.concatenate([np.concatenate([one.support, one.query]) for one in episodes.take(4000)])
    counts = np.bincount(drawn, minlength=len(LABELS))
    # 24,000 draws of 48 rows: 500 each, standard deviation about 21.
    assert counts.min() > 400
    assert counts.max() < 600


def test_too_few_is_said_with_numbers() -> None:
    with pytest.raises(InputError, match=r"val cannot give a 7-way .* 6 of its 6 classes .*8, 8, 8, 8, 8, 8"):
        Episodes(LABELS, way=7, shot=1, queries=1, seed=0, name="val")
    with pytest.raises(InputError, match=r"at least 5 \+ 5 = 10 usable clips, and 0 of its 6"):
        Episodes(LABELS, way=5, shot=5, queries=5, seed=0)
    with pytest.raises(InputError, match="clips a class: none"):
        Episodes([-1, -1], way=2, shot=1, queries=1, seed=0)


@pytest.mark.parametrize("name", ["way", "shot", "queries"])
def test_numbers_below_the_least_are_named(name: str) -> None:
    least = 2 if name == "way" else 1
    for value in range(-1, least):
        with pytest.raises(InputError, match=f"{name} is {value}, expected at least {least}"):
            Episodes(LABELS, **{"way": 2, "shot": 1, "queries": 1, "seed": 0, name: value})  # type: ignore[arg-type]


def test_the_rows_that_may_occur() -> None:
    labels = [0, 1, -1, 1, 0, 0, 2, 1]
    assert Episodes(labels, way=2, shot=1, queries=2, seed=0).rows.tolist() == [0, 1, 3, 4, 5, 7]


def test_negative_index_and_seed() -> None:
    with pytest.raises(InputError, match="counted from 0"):
        Episodes(LABELS, way=2, shot=1, queries=1, seed=0)[-1]
    with pytest.raises(InputError, match="seed is -1"):
        Episodes(LABELS, way=2, shot=1, queries=1, seed=-1)


def test_group_rows() -> None:
    groups = group_rows([2, -1, 0, 2, 0, -1])
    assert {label: rows.tolist() for label, rows in groups.items()} == {0: [2, 4], 2: [0, 3]}
    assert group_rows([-1]) == {}
