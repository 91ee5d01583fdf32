"""Split lists of every known kind, and what they may not say."""

import json
from collections import Counter
from pathlib import Path

import pytest
import shared_data

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.forms import without_suffix
from ta2n.pipeline.datasets.lists import Listed, find_lists, parse_list, read_lists
from ta2n.pipeline.datasets.published import PUBLISHED

UCF101 = PUBLISHED["ucf101"]
SPLITS = ("train", "val", "test")


def write(folder: Path, **lists: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in lists.items():
        (folder / f"{split}list03.txt").write_text(text, encoding="utf-8")
    return folder


def parse(*lines: str) -> list[tuple[str, str, str, str]]:
    return [(one.id, one.label, one.folder, one.name) for one in parse_list(list(lines), "val", source="a list")]


def test_a_line_is_a_class_and_a_video() -> None:
    assert parse("hurling (sport)/-x_000001_000011", "golf/#6Iron!_0") == [
        ("hurling (sport)/-x_000001_000011", "hurling (sport)", "hurling (sport)", "-x_000001_000011"),
        ("golf/#6Iron!_0", "golf", "golf", "#6Iron!_0"),
    ]
    assert parse("HMDB51/golf/a.avi", "golf/b.MP4", "golf/v.1.x") == [
        ("golf/a", "golf", "golf", "a"),
        ("golf/b", "golf", "golf", "b"),
        ("golf/v.1.x", "golf", "golf", "v.1.x"),
    ]


def test_a_class_before_two_slashes_is_the_class_and_the_folder_is_where_it_lies() -> None:
    assert parse("val0//videos/cartwheel/(Rad)_0.avi", "val12//videos/4711.webm") == [
        ("val0/(Rad)_0", "val0", "cartwheel", "(Rad)_0"),
        ("val12/4711", "val12", "videos", "4711"),
    ]


def test_a_number_behind_every_line_is_the_class_where_the_folder_is_none() -> None:
    assert parse("a/1.avi 0", "b/2.avi 1") == [("a/1", "a", "a", "1"), ("b/2", "b", "b", "2")]
    assert parse("videos/1.avi 0", "videos/2.avi 1") == [("0/1", "0", "videos", "1"), ("1/2", "1", "videos", "2")]
    assert parse("1.avi,0", "2.avi,0") == [("0/1", "0", "", "1"), ("0/2", "0", "", "2")]
    assert parse("a/take 1", "a/other")[0] == ("a/take 1", "a", "a", "take 1")


@pytest.mark.parametrize("line", ["video.avi", "//", "a/../../b", "/", "val0//"])
def test_a_line_of_no_known_kind_is_refused(line: str) -> None:
    with pytest.raises(InputError, match="a list: cannot read the line"):
        parse(line)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(InputError, match="a list: the list is empty"):
        parse()


def test_only_known_extensions_are_cut_off() -> None:
    assert [without_suffix(name) for name in ("a.avi", "a.WEBM", "a.b", ".avi", "a")] == ["a", "a", "a.b", ".avi", "a"]


def test_lists_are_found_in_the_folder_or_below_it_under_any_usual_name(tmp_path: Path) -> None:
    own = write(tmp_path / "ucf_ARN", train="a/1", val="b/1", test="c/1")
    assert find_lists(own, UCF101) == find_lists(tmp_path, UCF101) == {s: own / f"{s}list03.txt" for s in SPLITS}
    for name in ("{}_few_shot.txt", "{}.txt", "{}list07.txt", "{}.list"):
        folder = tmp_path / name.format("x") / "ucf101"
        folder.mkdir(parents=True)
        for split in ("train", "test"):
            (folder / name.format(split)).write_text(f"{split}/1")
        assert set(find_lists(folder.parent, UCF101)) == {"train", "test"}


def test_no_list_and_several_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no split lists of ucf101 in .*ucf_ARN.*expected trainlist03\.txt"):
        read_lists(tmp_path, UCF101)
    folder = write(tmp_path, train="a/1", test="c/1")
    (folder / "trainlist01.txt").write_text("a/1")
    with pytest.raises(InputError, match=r"several lists of the split 'train' \(trainlist01\.txt, trainlist03\.txt\)"):
        read_lists(tmp_path, UCF101)
    with pytest.raises(InputError, match="is a file; name the folder"):
        read_lists(tmp_path / "trainlist01.txt", UCF101)


def test_other_lists_are_taken_with_a_note(tmp_path: Path) -> None:
    lists = read_lists(write(tmp_path, train="a/1\na/1\n\na/2 \n", test="\ufeffc/1"), UCF101)
    assert [(one.id, one.split) for one in lists.videos] == [("a/1", "train"), ("a/2", "train"), ("c/1", "test")]
    assert [note.replace(str(tmp_path), "") for note in lists.notes] == [
        "There is no list for the split 'val' in .",
        "/trainlist03.txt is not the published list of ucf101: results compare only with its own kind.",
        "/trainlist03.txt names 1 videos more than once; they count once.",
        "/testlist03.txt is not the published list of ucf101: results compare only with its own kind.",
    ]


def test_class_numbers_that_restart_are_kept_apart(tmp_path: Path) -> None:
    lists = read_lists(write(tmp_path, train="0/1\n1/2\n7/5", val="0/3", test="0/4\n1/6"), PUBLISHED["ssv2-otam"])
    assert [one.id for one in lists.videos] == ["train0/1", "train1/2", "7/5", "val0/3", "test0/4", "test1/6"]
    assert lists.videos[0] == Listed("train0/1", "train0", "train", "0", "1")


def test_a_class_or_a_video_in_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="class 'a' is in the lists of 'train' and 'test'"):
        read_lists(write(tmp_path, train="a/1", test="a/2"), UCF101)
    with pytest.raises(InputError, match=r"names 'a/1', which is in the list of 'train' as well"):
        read_lists(write(tmp_path, test="a/1"), UCF101)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, train="a/1", test="b/1")
    (folder / "trainlist03.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as a list"):
        read_lists(folder, UCF101)


@shared_data.needs_shared
@pytest.mark.parametrize(
    ("name", "classes", "videos"),
    [
        ("ucf101", (70, 10, 21), (9154, 1421, 2745)),
        ("hmdb51", (31, 10, 10), (4280, 1194, 1292)),
        ("ssv2-otam", (64, 12, 24), (77500, 1926, 2857)),
        ("ssv2-cmn", (64, 12, 24), (6400, 1200, 2400)),
        ("kinetics-cmn", (64, 12, 24), (6387, 1200, 2397)),
    ],
)
def test_the_published_lists(name: str, classes: tuple[int, ...], videos: tuple[int, ...]) -> None:
    lists = read_lists(shared_data.SHARED / "splits", PUBLISHED[name])
    assert lists.notes == ()
    assert Counter(one.split for one in lists.videos) == dict(zip(SPLITS, videos, strict=True))
    labels = {(one.split, one.label) for one in lists.videos}
    assert Counter(split for split, _ in labels) == dict(zip(SPLITS, classes, strict=True))
    assert len({one.id for one in lists.videos}) == sum(videos)


@shared_data.needs_shared
@pytest.mark.parametrize(("name", "file"), [("ssv2-otam", "classInd.json"), ("ssv2-cmn", "classInd_cmn.json")])
def test_the_folders_of_something_something_are_its_class_numbers(name: str, file: str) -> None:
    """`test18` is class 18 of the test list: other than 18 of train, so labels need no index file to stay apart."""
    dataset = PUBLISHED[name]
    index = json.loads((shared_data.SHARED / "splits" / dataset.lists / file).read_text())
    for video in read_lists(shared_data.SHARED / "splits", dataset).videos:
        assert video.label == f"{video.split}{index[video.name]}"
