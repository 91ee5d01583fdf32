"""A name or a folder to rows and notes, for Python as for the command line."""

from pathlib import Path

import pytest
import shared_data
from dataset_trees import plant

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets import resolve
from ta2n.pipeline.datasets.resolve import may_flip


def test_a_folder_gives_rows_and_says_how_its_classes_were_split(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, [f"clips/{label}/{number}.mp4" for label in "abc" for number in range(2)])
    found = resolve(tmp_path / "clips", seed=4)
    assert found.name == "clips"
    assert found.videos.root == str(tmp_path / "clips")
    assert sorted(set(found.videos.split.tolist())) == ["test", "train", "val"]
    assert found.notes == (
        "note: the folder names no splits: its classes were split by seed 4; --split-file decides otherwise",
    )
    assert resolve(str(tmp_path / "clips"), seed=4).videos.hash() == found.videos.hash()
    assert capfd.readouterr() == ("", "")


@shared_data.needs_shared
def test_a_named_data_set_has_a_row_for_every_listed_video(tmp_path: Path) -> None:
    plant(tmp_path, ["ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"])
    splits = shared_data.SHARED / "splits" / "ucf_ARN"
    found = resolve("ucf101", root=tmp_path / "ucf101", splits=splits)
    assert (found.name, len(found.videos)) == ("ucf101", 13320)
    assert found.notes[0].startswith("ucf101: 1 of 13320 listed videos found in")
    assert "13319 listed videos are not there" in found.notes[1]


def test_a_class_in_two_splits_is_refused_until_a_split_file_decides(tmp_path: Path) -> None:
    plant(
        tmp_path,
        [f"clips/{split}/{label}/{split}.mp4" for split, label in (("train", "a"), ("test", "a"), ("val", "b"))],
    )
    with pytest.raises(InputError, match=r"class 'a' is in the split 'test' .clip 'test/a/test.mp4'. and in 'train'"):
        resolve(tmp_path / "clips")
    (tmp_path / "s.json").write_text('{"train": ["b"], "test": ["a"]}')
    found = resolve(tmp_path / "clips", split_file=tmp_path / "s.json")
    assert sorted(zip(found.videos.label.tolist(), found.videos.split.tolist(), strict=True)) == [
        ("a", "test"),
        ("a", "test"),
        ("b", "train"),
    ]


def test_what_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder, and no data set of this name"):
        resolve(tmp_path / "nowhere")
    with pytest.raises(InputError, match="--root goes with one of ucf101"):
        resolve(tmp_path, root=tmp_path)


def test_mirrors_only_where_left_and_right_are_no_labels() -> None:
    assert may_flip("clips", None) == (True, ())
    assert may_flip("clips", False) == (False, ())
    allowed, notes = may_flip("ssv2-otam", None)
    assert not allowed
    assert "tell left from right" in notes[0]
    with pytest.raises(InputError, match="differ in left and right only"):
        may_flip("ssv2-otam", True)
