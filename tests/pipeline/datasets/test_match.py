"""Lists against what lies on disk: every rule by hand, and no guess where two clips could be meant."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.lists import Listed
from ta2n.pipeline.datasets.match import Matches, alike, match
from ta2n.pipeline.datasets.published import PUBLISHED
from ta2n.pipeline.datasets.scan import DEEPEST, ENOUGH_IMAGES, scan_copy

UCF101, SSV2, KINETICS = (PUBLISHED[name] for name in ("ucf101", "ssv2-otam", "kinetics-cmn"))


def listed(*ids: str, split: str = "train") -> list[Listed]:
    return [Listed(one, one.split("/")[0], split, *one.split("/")) for one in ids]


def found(matches: Matches) -> list[tuple[str, str]]:
    return sorted(matches.found.items())


@pytest.mark.parametrize(
    "path",
    [
        "Run/v_1.avi",
        "UCF-101/Run/v_1.avi",
        "train/Run/v_1.avi",
        "Run/v_1",
        "x/y/Run/v_1.MP4",
        "v_1.avi",
        "train/v_1.avi",
    ],
)
def test_a_video_is_found_in_every_layout(path: str) -> None:
    matches = match(listed("Run/v_1", "Run/v_2"), [path], UCF101)
    assert found(matches) == [("Run/v_1", path)]
    assert sum(matches.rules.values()) == 1


@pytest.mark.parametrize("path", ["run/v_1.avi", "RUN!/v_1.avi", "Run/V_1.avi", "Run/v-1.avi", "r_u_n/v 1"])
def test_class_and_name_may_be_spelled_otherwise(path: str) -> None:
    assert found(match(listed("Run/v_1", "Sit/v_2"), [path], UCF101)) == [("Run/v_1", path)]


def test_a_name_alone_does_not_move_a_clip_from_one_class_to_another() -> None:
    matches = match(listed("Run/v_1", "Sit/v_2"), ["Sit/v_1.avi", "sit/v_1.avi", "Other/v_2.avi"], UCF101)
    assert found(matches) == [("Sit/v_2", "Other/v_2.avi")]
    assert matches.extra == ["Sit/v_1.avi", "sit/v_1.avi"]
    assert matches.rules == {"name alone": 1}


def test_a_name_that_two_videos_have_says_nothing_alone() -> None:
    matches = match(listed("Run/1", "Sit/1", "Sit/2"), ["all/1.avi", "all/2.avi"], UCF101)
    assert found(matches) == [("Sit/2", "all/2.avi")]
    assert matches.extra == ["all/1.avi"]


def test_two_clips_that_match_equally_well_are_not_used() -> None:
    matches = match(listed("Run/1", "Run/2"), ["Run/1.avi", "Run/1.mp4", "a/Run/2.avi", "b/Run/2.avi"], UCF101)
    assert found(matches) == []
    assert matches.doubtful == {"Run/1": ["Run/1.avi", "Run/1.mp4"], "Run/2": ["a/Run/2.avi", "b/Run/2.avi"]}


def test_the_better_name_wins_and_the_other_is_a_copy() -> None:
    matches = match(listed("Run/1"), ["old/Run/1.avi", "Run/1.avi", "run/1.avi", "1.avi", "Run/3.avi"], UCF101)
    assert found(matches) == [("Run/1", "Run/1.avi")]
    assert matches.rules == {"path": 1}
    assert sorted(matches.copies) == ["1.avi", "old/Run/1.avi", "run/1.avi"]
    assert matches.extra == ["Run/3.avi"]


def test_a_copy_of_one_video_is_not_taken_for_another_that_is_spelled_alike() -> None:
    """HMDB51 has 11 pairs such as `boom_snap_clap!` and `boom_snap_clap`."""
    matches = match(listed("clap/boom!_1", "clap/boom_1"), ["clap/boom_1.avi", "clap/BOOM 1.avi"], UCF101)
    assert found(matches) == [("clap/boom_1", "clap/boom_1.avi")]
    assert matches.extra == ["clap/BOOM 1.avi"]


@pytest.mark.parametrize("path", ["7.webm", "000007.webm", "12/7.mp4", "000007", "a/b/7.avi", "train24/7.webm"])
def test_a_number_is_a_video_of_something_something_wherever_it_is(path: str) -> None:
    matches = match(listed("train3/7", "train3/8"), [path, "9.webm"], SSV2)
    assert found(matches) == [("train3/7", path)]
    assert matches.extra == ["9.webm"]


def test_a_number_twice_is_a_doubt_unless_one_is_written_as_in_the_list() -> None:
    assert match(listed("train3/7"), ["7.webm", "7.mp4"], SSV2).doubtful == {"train3/7": ["7.webm", "7.mp4"]}
    assert found(match(listed("train3/7"), ["07.webm", "7.mp4"], SSV2)) == [("train3/7", "7.mp4")]


@pytest.mark.parametrize(
    "path",
    [
        "air drumming/-VtLx_1_c-s_000012_000022.mp4",
        "air_drumming/-VtLx_1_c-s_000012_000022.mp4",
        "air drumming/-VtLx_1_c-s.mp4",
        "train/air_drumming/-VtLx_1_c-s.mkv",
        "-VtLx_1_c-s_000012_000022.mp4",
        "videos/-VtLx_1_c-s.mp4",
    ],
)
def test_a_clip_of_kinetics_may_lack_the_time_and_the_spaces(path: str) -> None:
    videos = listed("air drumming/-VtLx_1_c-s_000012_000022", "busking/x_000001_000011")
    assert found(match(videos, [path], KINETICS)) == [(videos[0].id, path)]


def test_another_time_of_the_same_source_is_another_clip() -> None:
    videos = listed("busking/x_000001_000011")
    assert match(videos, ["busking/x_000002_000012.mp4"], KINETICS).extra == ["busking/x_000002_000012.mp4"]
    exact = match(videos, ["busking/x.mp4", "busking/x_000001_000011.mp4"], KINETICS)
    assert found(exact) == [("busking/x_000001_000011", "busking/x_000001_000011.mp4")]
    assert found(match(listed("busking/x"), ["busking/x_000001_000011.mp4"], KINETICS)) == [
        ("busking/x", "busking/x_000001_000011.mp4")
    ]
    assert found(match(videos, ["busking/x.mp4"], UCF101)) == []


def test_a_list_without_folders_matches_by_name() -> None:
    videos = [Listed("0/v_1", "0", "train", "", "v_1"), Listed("0/v_2", "0", "train", "", "v_2")]
    assert found(match(videos, ["v_1.avi", "Run/v_2.avi"], UCF101)) == [("0/v_1", "v_1.avi"), ("0/v_2", "Run/v_2.avi")]


def test_alike_is_letters_and_digits() -> None:
    assert alike("Hurling_(Sport) 2") == alike("hurling sport-2") == "hurlingsport2"


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), max_size=20), st.randoms(use_true_random=False))
def test_every_clip_and_video_has_one_fate_whatever_the_order(
    chosen: set[tuple[str, int]], shuffle: random.Random
) -> None:
    videos = listed(*(f"{label}/{number}" for label in "ab" for number in range(0, 30, 2)))
    clips = [f"{label}/{number}.avi" for label, number in chosen] + ["a/0.mp4", "all/2.avi", "A/4.avi"]
    matches = match(videos, sorted(clips), UCF101)
    used = [*matches.found.values(), *matches.copies, *matches.extra]
    used += [path for paths in matches.doubtful.values() for path in paths]
    assert sorted(used) == sorted(clips)
    assert not matches.found.keys() & matches.doubtful.keys()
    assert sum(matches.rules.values()) == len(matches.found)
    shuffle.shuffle(clips)
    shuffle.shuffle(videos)
    again = match(videos, clips, UCF101)
    assert again.found == matches.found
    assert again.doubtful.keys() == matches.doubtful.keys()


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_a_scan_finds_videos_and_folders_of_frames_and_passes_over_the_rest(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "x/-b.WEBM", "x/y/#c & d!;.mp4", "x/frames/1.jpg", "x/frames/2.jpg", "x/notes.txt")
    touch(tmp_path, ".hidden/a.avi", "x/.a.avi", "mixed/1.avi", "mixed/cover.jpg", "thumbs.png", "dots.avi/1.png")
    (tmp_path / "x" / "none").mkdir()
    copy = scan_copy(tmp_path)
    assert copy.clips == ["a.avi", "dots.avi", "mixed/1.avi", "x/-b.WEBM", "x/frames", "x/y/#c & d!;.mp4"]
    assert copy.empty == ["x/none"]
    assert copy.unlisted == []
    assert copy.others == 3


def test_a_scan_does_not_list_all_frames_and_ends_in_a_loop_of_links(tmp_path: Path) -> None:
    touch(tmp_path, *(f"clip/{number}.jpg" for number in range(ENOUGH_IMAGES + 5)))
    (tmp_path / "again").symlink_to(tmp_path)
    copy = scan_copy(tmp_path)
    assert sorted(copy.clips, key=len) == [f"{'again/' * deep}clip" for deep in range(DEEPEST)]


def test_a_name_that_is_no_utf8_is_left_out_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "süß/ß.avi")
    try:
        (tmp_path / os.fsdecode(b"bad\xff.avi")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system holds only UTF-8 names")
    copy = scan_copy(tmp_path)
    assert copy.clips == ["süß/ß.avi"]
    assert copy.unnameable == [r"bad\udcff.avi"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi")
    with pytest.raises(InputError, match="is a file; name the folder"):
        scan_copy(tmp_path / "a.avi")
    with pytest.raises(MissingError, match="there is no such folder"):
        scan_copy(tmp_path / "b")
