"""Episodes as a file: the same ones back, whatever order the store's rows are in; nothing changed unseen."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.episodes.files import EpisodeList, load_episodes, save_episodes

LABELS = np.repeat(np.arange(6), 7)
IDS = [f"class {label}/clip é {row}" for row, label in enumerate(LABELS.tolist())]
CLASSES = [str(label) for label in LABELS]


def save(file: Path, *, count: int = 9, way: int = 3, shot: int = 2, queries: int = 3, seed: int = 0) -> Episodes:
    drawn = Episodes(LABELS, way=way, shot=shot, queries=queries, seed=seed)
    save_episodes(file, drawn, count, dataset="toy", split="test", ids=IDS, labels=CLASSES)
    return drawn


def load(file: Path, ids: list[str] = IDS, labels: np.ndarray = LABELS) -> EpisodeList:
    return load_episodes(file, ids=ids, labels=labels.tolist(), classes=CLASSES, split="test")


@given(
    way=st.integers(2, 6),
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
    found = load(file)
    assert (found.way, found.shot, found.queries, found.seed) == (way, shot, queries, seed)
    assert (found.dataset, found.split, len(found.episodes)) == ("toy", "test", 9)
    for one, again in zip(drawn.take(9), found.take(9), strict=True):
        for name in ("support", "query", "query_labels", "classes"):
            assert np.array_equal(getattr(one, name), getattr(again, name))


def test_rows_in_another_order_are_found_by_their_ids(tmp_path: Path) -> None:
    drawn = save(tmp_path / "list.json")
    order = np.random.default_rng(1).permutation(len(IDS))
    ids, classes = [IDS[row] for row in order], [CLASSES[row] for row in order]
    labels = LABELS[order].tolist()
    found = load_episodes(tmp_path / "list.json", ids=ids, labels=labels, classes=classes, split="test")
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
        load(file)


def test_clips_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    save(file, count=50)
    with pytest.raises(InputError, match=r"1 of its \d+ clips are not in the store \(class 0/clip é 0\)"):
        load(file, ids=["other", *IDS[1:]])
    labels = LABELS.copy()
    labels[[4, 5]] = -1
    with pytest.raises(InputError, match=r"2 of its \d+ clips failed"):
        load(file, labels=labels)


def test_more_than_there_are(tmp_path: Path) -> None:
    save(tmp_path / "list.json")
    found = load(tmp_path / "list.json")
    assert len(list(found.take(4, start=5))) == 4
    with pytest.raises(InputError, match="up to 10 asked for, the list has 9"):
        found.take(5, start=5)


PACKED = gzip.compress(b'{"format": 1}' * 99, mtime=0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"[]",
        b"3",
        b"null",
        b'"format"',
        b'{"format": "other"}',
        gzip.compress(b"{", mtime=0)[:-4],
        PACKED[:20] + b"\xff\xff\xff" + PACKED[23:],
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_list(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "list.json").write_bytes(data)
    with pytest.raises(InputError, match="not a list of episodes"):
        load(tmp_path / "list.json")
    with pytest.raises(MissingError, match="no such list"):
        load(tmp_path / "no.json")


Values = dict[str, Any]


def written(file: Path, change: Callable[[Values], object]) -> Path:
    """A list as another tool may write it: changed, and signed as a whole."""
    save(file)
    values = json.loads(file.read_text())
    change(values)
    fields = ("format", "dataset", "split", "way", "shot", "queries", "seed", "classes", "clips", "episodes")
    text = json.dumps([values[name] for name in fields], ensure_ascii=False, separators=(",", ":"))
    values["sha256"] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    file.write_text(json.dumps(values))
    return file


def put(*path: Any) -> Callable[[Values], None]:
    """Sets the last of ``path`` at the place that those before it name."""

    def change(values: Values) -> None:
        where: Any = values
        for step in path[:-2]:
            where = where[step]
        where[path[-2]] = path[-1]

    return change


def exchange(episode: int, part: int, one: int, other: int) -> Callable[[Values], None]:
    """Exchanges two clips of an episode's support (0) or query (1)."""

    def change(values: Values) -> None:
        clips = values["episodes"][episode][part]
        clips[one], clips[other] = clips[other], clips[one]

    return change


def copied(episode: int, of: tuple[int, int], onto: tuple[int, int]) -> Callable[[Values], None]:
    """Puts one clip of an episode in the place of another."""

    def change(values: Values) -> None:
        clips = values["episodes"][episode]
        clips[onto[0]][onto[1]] = clips[of[0]][of[1]]

    return change


def one_class_twice(values: Values) -> None:
    """Episode 4 gets the clips of its first class in the place of its second one's, other ones of the class."""
    support, query = values["episodes"][4]
    own = values["classes"][support[0]]
    free = [at for at, name in enumerate(values["classes"]) if name == own and at not in (*support, *query)]
    support[2:4], query[3] = free[:2], query[1]
    values["queries"], values["episodes"] = 1, [[part[0], part[1][::3]] for part in values["episodes"]]


def clip_twice_in_clips(values: Values) -> None:
    values["clips"][3] = values["clips"][5]


FAULTS: dict[str, tuple[Callable[[Values], object], str]] = {
    "way 1": (put("way", 1), "its way is 1, expected 2 to"),
    "way 0": (put("way", 0), "its way is 0"),
    "way a text": (put("way", "3"), "its way is '3'"),
    "way true": (put("way", True), "its way is True"),
    "way a fraction": (put("way", 3.0), "its way is 3.0"),
    "way huge": (put("way", 10**30), "its way is 1000"),
    "way another": (put("way", 4), r"episode 0 has 6 and 9 clips, expected \(8, 12\)"),
    "shot 0": (put("shot", 0), "its shot is 0"),
    "queries 0": (put("queries", 0), "its queries is 0"),
    "queries null": (put("queries", None), "its queries is None"),
    "seed negative": (put("seed", -1), "its seed is -1"),
    "seed huge": (put("seed", 2**64), "its seed is 18446744073709551616"),
    "split another": (put("split", "val"), "are of the split 'val', and 'test' is asked for"),
    "split a number": (put("split", 3), "its split is 3, expected a name"),
    "dataset null": (put("dataset", None), "its dataset is None"),
    "clips a table": (put("clips", {}), "its clips are no list of names"),
    "clips numbers": (put("clips", 0, 7), "its clips are no list of names"),
    "clip twice": (clip_twice_in_clips, "names the clip 'class ./clip é .*' twice"),
    "classes short": (
        lambda values: values["classes"].pop(),
        r"names \d+ classes, expected one for each of its \d+ clips",
    ),
    "classes exchanged": (lambda values: values["classes"].reverse(), "is of class '.' in the store|it is of '.' in"),
    "classes other": (put("classes", 4, "swim"), "is of class 'swim', and it is of '.' in the store"),
    "classes null": (put("classes", 4, None), "its classes are no list of names"),
    "episodes a number": (put("episodes", 9), "its episodes are 9, expected a list"),
    "episodes none": (put("episodes", []), "its episodes are a list of 0"),
    "episode a number": (put("episodes", 5, 3), r"episode 5 is 3, expected \[support, query\]"),
    "episode of three parts": (lambda values: values["episodes"][6].append([]), "episode 6 is a list of 3"),
    "episode of texts": (put("episodes", 6, ["ab", "cd"]), "episode 6 is a list of 2"),
    "episode short": (lambda values: values["episodes"][7][1].pop(), "episode 7 has 6 and 8 clips"),
    "place negative": (put("episodes", 2, 0, 1, -1), "episode 2 names the place -1"),
    "place beyond": (put("episodes", 2, 1, 8, 999), "episode 2 names the place 999"),
    "place huge": (put("episodes", 2, 1, 8, 10**40), "episode 2 names the place 1000"),
    "place a text": (put("episodes", 2, 1, 8, "3"), "episode 2 names the place '3'"),
    "place null": (put("episodes", 2, 1, 8, None), "episode 2 names the place None"),
    "place true": (put("episodes", 2, 1, 8, True), "episode 2 names the place True"),
    "place a fraction": (put("episodes", 2, 1, 8, 1.0), r"episode 2 names the place 1\.0"),
    "place a list": (put("episodes", 2, 1, 8, [1]), "episode 2 names the place a list of 1"),
    "query among its support": (copied(3, (0, 0), (1, 2)), "episode 3 has the clip '.*' as a query and in its support"),
    "support twice": (copied(3, (0, 0), (0, 1)), "episode 3 has the clip '.*' twice"),
    "query twice": (copied(3, (1, 0), (1, 1)), "episode 3 has the clip '.*' twice"),
    "support in another order": (exchange(8, 0, 1, 2), "episode 8 has the support clip '.*' of class '.' where one of"),
    "labels of the queries": (exchange(8, 1, 2, 3), "episode 8 has the query '.*' of class '.' where one of"),
    "class twice": (one_class_twice, "episode 4 has the class '.' twice, expected 3 classes"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_what_others_wrote_is_refused_with_its_file_episode_and_value(tmp_path: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    file = written(tmp_path / "list.json", change)
    with pytest.raises(InputError, match=message) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_what_others_wrote_is_taken_where_nothing_is_wrong(tmp_path: Path) -> None:
    found = load(written(tmp_path / "list.json", lambda values: values["episodes"].reverse()))
    assert len(found.episodes) == 9
    assert found.rows.tolist() == sorted({row for one in found.episodes for row in (*one.support, *one.query)})


def test_a_text_that_is_no_unicode(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a list of episodes"):
        load(written(tmp_path / "list.json", put("dataset", "\ud800")))


def test_more_episodes_than_a_file_holds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1000001 episodes are too many for a file; give at most 1000000"):
        save(tmp_path / "list.json", count=1_000_001)
    assert list(tmp_path.iterdir()) == []
