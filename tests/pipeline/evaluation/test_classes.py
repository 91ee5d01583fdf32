"""Which classes a test is of: those left out for too few usable clips are counted and named."""

from pathlib import Path

import numpy as np
import pytest
import tiny_cache

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.classes import LeftOut, SplitClasses, as_line, classes_of

# Of six test classes with eight clips each, from row 96 on: test0 keeps one clip, test1 none, test2 two.
FAILED = (*range(96, 103), *range(104, 112), *range(112, 118))


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache.open(tiny_cache.write_cache(tmp_path, failed=FAILED))


@pytest.mark.parametrize(
    ("needed", "left_out", "videos"),
    [(1, {"test1": 0}, 27), (2, {"test0": 1, "test1": 0}, 26), (3, {"test0": 1, "test1": 0, "test2": 2}, 24)],
)
def test_classes_are_those_that_episodes_are_drawn_from(
    cache: FeatureCache, needed: int, left_out: dict[str, int], videos: int
) -> None:
    found = classes_of(cache, "test", needed=needed)
    assert found.left_out == tuple(LeftOut(name, usable, needed) for name, usable in left_out.items())
    assert (found.total, found.used, found.videos) == (6, 6 - len(left_out), videos)
    assert found.counted == f"{6 - len(left_out)} of 6"
    said = {
        name: f"{name} ({usable} clip{'s' * (usable != 1)} usable, {needed} needed)"
        for name, usable in left_out.items()
    }
    assert found.sentence == f"{found.counted} classes; left out: {', '.join(said.values())}"
    drawn = Episodes(cache.labels("test"), way=2, shot=1, queries=max(1, needed - 1), seed=0)
    rows = np.unique(np.concatenate([np.concatenate([one.support, one.query]) for one in drawn.take(300)]))
    if needed > 1:
        assert not set(cache.videos.label[rows].tolist()) & set(left_out)
        assert len(rows) == videos


def test_nothing_is_said_where_none_is_left_out(cache: FeatureCache) -> None:
    found = classes_of(cache, "train", needed=8)
    assert found == SplitClasses(6, (), 48)
    assert (found.counted, found.sentence) == ("6", "")
    assert found.as_record() == {"videos": 48, "classes": 6, "classes_of_split": 6, "left_out": []}


def test_a_list_of_episodes_has_the_classes_that_it_names(cache: FeatureCache) -> None:
    found = classes_of(cache, "test", needed=2, listed=np.array([118, 119, 120, 121]))
    assert [one.name for one in found.left_out] == ["test0", "test1", "test4", "test5"]
    assert "test4 (in no episode of the list)" in found.sentence
    assert found.videos == 10


def test_a_line_of_csv(cache: FeatureCache) -> None:
    record = classes_of(cache, "test", needed=2).as_record()
    assert as_line(record)["left_out"] == "test0; test1"
    assert as_line({"left_out": None, "a": 1}) == {"left_out": "", "a": 1}


def test_a_split_that_is_not_there(cache: FeatureCache) -> None:
    with pytest.raises(InputError, match="no clip belongs to split 'dev'"):
        classes_of(cache, "dev", needed=1)
