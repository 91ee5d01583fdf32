"""Which images of a folder are frames: one series, by natural order, by a pattern where there are several."""

import os
from pathlib import Path

import pytest
import shared_data

from ta2n.cache_schema.errors import DecodeError
from ta2n.pipeline.videos.series import list_frames, series


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"-")
    return folder


def names(folder: Path, pattern: str | None = None) -> list[str]:
    return [file.name for file in list_frames(folder, pattern)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["1.jpg", "02.jpg", "10.JPG"], {"[0-9]*": 3}),
        (["img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "flow_x_2.jpg"], {"img_*": 2, "flow_x_*": 2}),
        (["frame1_left.png", "frame2_left.png"], {"frame*_left": 2}),
        (["1_rgb.png", "2_rgb.png", "1_depth.png", "2_depth.png"], {"[0-9]*_rgb": 2, "[0-9]*_depth": 2}),
        (["cam1_01.png", "cam1_02.png", "cam2_01.png"], {"cam1_*": 2, "cam2_*": 1}),
        (["v_g01_c02_1.jpg", "v_g01_c02_2.jpg"], {"v_g01_c02_*": 2}),
        (["v_1_640x360.jpg", "v_2_640x360.jpg"], {"v_*_640x360": 2}),
        (["1.jpg", "2.jpg", "1.png", "2.png"], {"[0-9]*.jpg": 2, "[0-9]*.png": 2}),
        (["1.jpg", "2.png"], {"[0-9]*": 2}),
        (["img_1.jpg", "cover.jpg"], {"img_*": 1, "cover": 1}),
    ],
)
def test_series_are_told_apart_by_all_but_the_number_that_counts(files: list[str], expected: dict[str, int]) -> None:
    assert dict(series(files)) == expected


def test_several_series_are_refused_by_name_and_a_pattern_takes_one(tmp_path: Path) -> None:
    touch(
        tmp_path, *(f"{name}_{number:05}.jpg" for name in ("img", "flow_x", "depth", "mask") for number in (1, 2, 10))
    )
    with pytest.raises(DecodeError) as caught:
        list_frames(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds several series of frames: depth_* (3), flow_x_* (3), img_* (3), mask_* (3); leave one, "
        "the RGB frames, in it, or name it as in --frame-pattern 'img_*'."
    )
    for name in ("img", "flow_x", "depth", "mask"):
        assert names(tmp_path, f"{name}_*") == [f"{name}_00001.jpg", f"{name}_00002.jpg", f"{name}_00010.jpg"]
    with pytest.raises(DecodeError, match=r"several series of frames: depth_\* \(3\), flow_x_\* \(3\), img_\*"):
        list_frames(tmp_path, "*")
    with pytest.raises(DecodeError, match=r"none of its frames is called rgb_\*; it holds depth_\* \(3\), flow_x_\*"):
        list_frames(tmp_path, "rgb_*")


def test_every_series_can_be_taken_by_the_pattern_that_names_it(tmp_path: Path) -> None:
    touch(tmp_path, "1_rgb.png", "2_rgb.png", "1_depth.png", "cam1_1.jpg", "cam2_1.jpg", "cam2_2.jpg")
    for pattern, count in series([file.name for file in tmp_path.iterdir()]).items():
        assert len(names(tmp_path, pattern)) >= count


def test_only_files_are_frames_and_nothing_else_is_waited_for(tmp_path: Path) -> None:
    touch(tmp_path, "00001.png", "00003.png")
    os.mkfifo(tmp_path / "00002.png")
    (tmp_path / "00004.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "00005.png").symlink_to("00005.png")
    (tmp_path / "00006.png").mkdir()
    assert names(tmp_path) == ["00001.png", "00003.png"]


@shared_data.needs_shared
def test_flow_beside_frames_as_users_have_it() -> None:
    folder = shared_data.DATA / "reported" / "02-rawframes-flow-mixed" / "class" / "v1"
    with pytest.raises(DecodeError, match=r"flow_x_\* \(5\), flow_y_\* \(1\), img_\* \(6\); leave one"):
        list_frames(folder)
    assert names(folder, "img_*") == [f"img_{number:05}.jpg" for number in range(1, 7)]
