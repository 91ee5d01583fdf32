"""The doctor on copies of all five data sets: whole, and with missing, renamed, doubled and broken members."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import shared_data
from dataset_trees import listed, plant, usual_path, without_time

from ta2n.pipeline.datasets.check import Check, check_clips, check_copy
from ta2n.pipeline.datasets.forms import without_suffix
from ta2n.pipeline.datasets.lists import Listed
from ta2n.pipeline.datasets.published import PUBLISHED, NamedDataset
from ta2n.pipeline.datasets.scan import scan_copy


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that goes away at once: the trees have up to 82,283 files."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def check(name: str, root: Path, videos: tuple[Listed, ...] | None = None, *, shot: int = 5) -> Check:
    return check_copy(videos or listed(name), scan_copy(root), PUBLISHED[name], way=5, shot=shot, queries=1)


@shared_data.needs_shared
@pytest.mark.parametrize("name", ["ucf101", "hmdb51", "ssv2-cmn", "ssv2-otam", "kinetics-cmn"])
def test_a_copy_with_missing_renamed_doubled_and_broken_members(name: str, root: Path) -> None:
    videos = listed(name)
    paths = [usual_path(name, video) for video in videos]
    missing, renamed, doubled, broken = (set(range(start, len(paths), 50)) for start in (0, 1, 2, 3))
    elsewhere = missing | renamed | broken
    plant(root, (path for place, path in enumerate(paths) if place not in elsewhere))
    plant(root, (other_name(name, paths[place]) for place in renamed))
    plant(root, (f"{paths[place].rpartition('.')[0]}.mkv" for place in doubled))
    plant(root, (paths[place] for place in broken), b"")
    plant(root, ["readme.txt", "extra/no video of any list.avi"])
    found = check(name, root)
    assert set(found.missing) == {videos[place].id for place in missing}
    assert found.duplicates == {}
    assert {without_suffix(path) for path in found.copies} == {without_suffix(paths[place]) for place in doubled}
    assert set(found.unreadable) == {videos[place].id for place in broken}
    assert all(reason.endswith("the file is empty") for reason in found.unreadable.values())
    assert len(found.found) == len(videos) - len(missing | broken)
    assert {videos[place].id for place in renamed | doubled} <= found.found.keys()
    assert found.extra == ("extra/no video of any list.avi",)
    assert sum(found.rules.values()) == len(found.found) + len(broken)
    assert [split.split for split in found.splits] == ["train", "val", "test"]
    assert all(split.possible and split.enough == split.classes for split in found.splits)
    for split in found.splits:
        inside = [one for one in found.classes if one.split == split.split]
        assert (len(inside), sum(one.found for one in inside)) == (split.classes, split.found)
        assert split.listed == split.found + split.missing + split.duplicate + split.unreadable


def other_name(name: str, path: str) -> str:
    """A name that people give the same clip."""
    if name.startswith("ssv2"):
        return f"{path.partition('.')[0].zfill(8)}.mp4"
    if name == "kinetics-cmn":
        return without_time(path)
    folder, _, file = path.partition("/")
    return f"{folder.upper()}/{file}" if name == "ucf101" else f"all clips/{file}"


@shared_data.needs_shared
@pytest.mark.parametrize("layout", ["{split}/{folder}/{name}.mp4", "flat/{name}.mp4", "{folder}/{name}.mp4"])
def test_kinetics_without_times_in_every_layout(layout: str, root: Path) -> None:
    videos = listed("kinetics-cmn")
    place = [layout.format(split=video.split, folder=video.folder, name=video.name) for video in videos]
    plant(root, map(without_time, place))
    found = check("kinetics-cmn", root)
    assert (len(found.found), found.missing, found.extra) == (len(videos), (), ())
    assert any("/-" in path for path in found.found.values())


@shared_data.needs_shared
def test_frame_folders_of_something_something_one_empty_and_one_forbidden(root: Path) -> None:
    videos = listed("ssv2-cmn")[:40]
    plant(root, (f"frames/{video.name.zfill(6)}/{frame:05}.jpg" for video in videos[2:] for frame in range(3)))
    (root / "frames" / videos[0].name).mkdir()
    (root / "frames" / videos[1].name).mkdir(mode=0o000)
    found = check("ssv2-cmn", root, videos)
    forbidden = videos[1].id in found.unreadable and "cannot be listed" in found.unreadable[videos[1].id]
    assert forbidden or os.geteuid() == 0
    assert found.unreadable[videos[0].id] == f"frames/{videos[0].name}: the folder is empty"
    assert (len(found.found), len(found.unreadable), found.missing) == (38, 2, ())


UCF101: NamedDataset = PUBLISHED["ucf101"]
VIDEOS = tuple(
    Listed(f"{label}/v_{number}", label, split, label, f"v_{number}")
    for split, labels in (("train", "ABC"), ("test", "DE"))
    for label in labels
    for number in range(10)
)


def test_episodes_need_enough_clips_of_enough_classes(root: Path) -> None:
    plant(root, (f"{one.folder}/{one.name}.avi" for one in VIDEOS if one.label not in "CE" or one.name < "v_3"))
    for shot, queries, train, test in ((1, 2, 3, 2), (2, 2, 2, 1), (5, 5, 2, 1), (5, 6, 0, 0)):
        found = check_copy(VIDEOS, scan_copy(root), UCF101, way=2, shot=shot, queries=queries)
        assert [(split.enough, split.possible) for split in found.splits] == [(train, train >= 2), (test, test >= 2)]


def test_names_that_almost_match_are_named(root: Path) -> None:
    videos = [
        Listed(f"golf/Swing_{name}_golf_f_cm", "golf", "train", "golf", f"Swing_{name}_golf_f_cm") for name in "ab"
    ]
    plant(root, ["golf/Swing_a_golf_f_cn.avi", "golf/other.avi", "archery/Swing_b_golf_f_cm.avi"])
    found = check_copy(videos, scan_copy(root), UCF101, way=2, shot=1, queries=1)
    assert found.missing == ("golf/Swing_a_golf_f_cm",)
    assert found.almost == {"golf/Swing_a_golf_f_cm": "golf/Swing_a_golf_f_cn.avi"}
    assert found.classes[0].extra == 2


def test_a_link_that_leads_nowhere_is_unreadable(root: Path) -> None:
    (root / "A").mkdir()
    (root / "A/v_0.avi").symlink_to(root / "gone.avi")
    found = check_copy(VIDEOS, scan_copy(root), UCF101, way=2, shot=1, queries=1)
    assert found.unreadable == {"A/v_0": "A/v_0.avi: no such file or directory"}
    assert len(found.missing) == len(VIDEOS) - 1


def test_links_to_themselves_and_pipes_cost_themselves_only(root: Path) -> None:
    plant(root, (f"A/v_{number}.avi" for number in range(3, 10)))
    (root / "A/v_0.avi").symlink_to("v_0.avi")
    (root / "A/v_1").symlink_to("v_1")
    os.mkfifo(root / "A/v_2.avi")
    (root / "ring").symlink_to("ring")
    found = check_copy(VIDEOS, scan_copy(root), UCF101, way=2, shot=1, queries=1)
    assert found.unreadable == {
        "A/v_0": "A/v_0.avi: too many levels of symbolic links",
        "A/v_2": "A/v_2.avi: is no file but a pipe, socket or device",
    }
    assert sorted(found.found) == [f"A/v_{number}" for number in range(3, 10)]
    assert "A/v_1" in found.missing


def test_a_folder_that_is_its_own_list(root: Path) -> None:
    plant(root, ["a/1.avi", "a/2.avi"])
    plant(root, ["b/1.avi"], b"")
    paths = {"a/1.avi": "a/1.avi", "a/2.avi": "a/2.avi", "b/1.avi": "b/1.avi"}
    videos = [Listed(path, path[0], "", path[0], path) for path in paths]
    found = check_clips(videos, paths, root, way=2, shot=1, queries=1)
    assert found.unreadable == {"b/1.avi": "b/1.avi: the file is empty"}
    assert [(split.split, split.listed, split.found, split.possible) for split in found.splits] == [("", 3, 2, False)]
