"""Episodes as a file: the same ones back, whatever order the store's rows are in; nothing changed unseen."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.episodes.files import load_episodes, save_episodes

LABELS = np.repeat(np.arange(6), 7)
IDS = [f"class {label}/clip é {row}" for row, label in enumerate(LABELS.tolist())]


def save(file: Path, *, count: int = 9, way: int = 3, shot: int = 2, queries: int = 3, seed: int = 0) -> Episodes:
    drawn = Episodes(LABELS, way=way, shot=shot, queries=queries, seed=seed)
    save_episodes(file, drawn, count, dataset="toy", split="test", ids=IDS, labels=[str(label) for label in LABELS])
    return drawn


@given(
    way=st.integers(1, 6),
    shot=st.integers(1, 4),
    queries=st.integers(1, 3),
    seed=st.integers(0, 9),
    packed=st.booleans(),
)
@settings(max_examples=20)
def test_the_same_episodes_come_back(
    tmp_path_factory: pytest.TempPathFactory, way: int, shot: int, queries: int, seed: int, packed: bool
) -> None:
    file = tmp_path_factory.mktemp("e") / ("list.json.gz" if packed else "list.json")
    drawn = save(file, way=way, shot=shot, queries=queries, seed=seed)
    found = load_episodes(file, ids=IDS, labels=LABELS.tolist())
    assert (found.way, found.shot, found.queries, found.seed) == (way, shot, queries, seed)
    assert (found.dataset, found.split, len(found.episodes)) == ("toy", "test", 9)
    for one, again in zip(drawn.take(9), found.take(9), strict=True):
        for name in ("support", "query", "query_labels", "classes"):
            assert np.array_equal(getattr(one, name), getattr(again, name))


def test_rows_in_another_order_are_found_by_their_ids(tmp_path: Path) -> None:
    drawn = save(tmp_path / "list.json")
    order = np.random.default_rng(1).permutation(len(IDS))
    found = load_episodes(tmp_path / "list.json", ids=[IDS[row] for row in order], labels=LABELS[order].tolist())
    for one, again in zip(drawn.take(9), found.take(9), strict=True):
        assert np.array_equal(one.support, order[again.support])
        assert np.array_equal(one.classes, again.classes)


def test_the_same_episodes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        save(tmp_path / name)
    save(tmp_path / "c.json.gz", seed=1)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    assert (tmp_path / "a.json.gz").read_bytes() != (tmp_path / "c.json.gz").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_what_was_changed_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    save(file)
    values = json.loads(file.read_text())
    values["episodes"][3][0][0] = values["episodes"][3][0][1]
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match="was changed after it was written"):
        load_episodes(file, ids=IDS, labels=LABELS.tolist())


def test_clips_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    save(file, count=50)
    with pytest.raises(InputError, match=r"1 of its \d+ clips are not in the store \(class 0/clip é 0\)"):
        load_episodes(file, ids=["other", *IDS[1:]], labels=LABELS.tolist())
    labels = LABELS.copy()
    labels[[4, 5]] = -1
    with pytest.raises(InputError, match=r"2 of its \d+ clips failed"):
        load_episodes(file, ids=IDS, labels=labels.tolist())


def test_more_than_there_are(tmp_path: Path) -> None:
    save(tmp_path / "list.json")
    found = load_episodes(tmp_path / "list.json", ids=IDS, labels=LABELS.tolist())
    assert len(list(found.take(4, start=5))) == 4
    with pytest.raises(InputError, match="up to 10 asked for, the list has 9"):
        found.take(5, start=5)


@pytest.mark.parametrize("data", [b"", b"text", b"[]", b'{"format": "other"}', gzip.compress(b"{")[:-4]])
def test_what_is_no_list(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "list.json").write_bytes(data)
    with pytest.raises(InputError, match="not a list of episodes"):
        load_episodes(tmp_path / "list.json", ids=IDS, labels=LABELS.tolist())
    with pytest.raises(MissingError, match="no such list"):
        load_episodes(tmp_path / "no.json", ids=IDS, labels=LABELS.tolist())
