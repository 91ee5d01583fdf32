"""Folders named after splits: understood under every usual name, refused where they hold clips without classes."""

import re
from pathlib import Path

import pytest
import shared_data

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.datasets.folder import scan_folder


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"-")


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "val", "test"),
        ("Train", "Val", "Test"),
        ("training", "validation", "testing"),
        ("TRAINING", "Valid", "TEST"),
    ],
)
def test_usual_names_of_splits_are_understood(tmp_path: Path, folders: tuple[str, ...]) -> None:
    touch(tmp_path, *(f"{folder}/class {number}/1.avi" for number, folder in enumerate(folders)))
    found = scan_folder(tmp_path)
    assert {clip.id: (clip.label, clip.split) for clip in found.clips} == {
        f"{folder}/class {number}/1.avi": (f"class {number}", split)
        for number, (folder, split) in enumerate(zip(folders, ("train", "val", "test"), strict=True))
    }
    assert found.notes == ()


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.avi", "val/b/1.avi", "validation/c/1.avi")
    with pytest.raises(InputError, match=r"holds val and validation, which both mean the split 'val'; leave one"):
        scan_folder(tmp_path)
    (tmp_path / "validation/c/1.avi").unlink()
    (tmp_path / "validation/c").rmdir()
    assert scan_folder(tmp_path).notes[-1] == "Entries beside the split folders are ignored (1): validation."


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train/1.avi", "val/1.avi", "test/1.avi", "test/2.avi"], "test (2 clips), train (1 clip), val (1 clip)"),
        (["Training/1.avi", "testing/x/1.jpg"], "Training (1 clip), testing (1 clip)"),
        (["train/1.avi"], "train (1 clip)"),
        (["train/1.avi", "test/1.avi", "plane/1.avi"], "test (1 clip), train (1 clip)"),
        (["train/1.jpg", "train/2.jpg", "test/1.jpg"], "test (1 clip), train (1 clip)"),
    ],
)
def test_splits_without_classes_are_refused_with_what_was_found(tmp_path: Path, names: list[str], found: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=re.escape(found)) as caught:
        scan_folder(tmp_path)
    assert "holds clips directly in the folders of splits" in str(caught.value)
    assert "/class/clip" in str(caught.value)


def test_a_class_that_is_called_like_a_split_is_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "training/1.avi", "training/2/1.jpg", "plane/1.avi")
    assert [clip.label for clip in scan_folder(tmp_path).clips] == ["plane", "training", "training"]


@shared_data.needs_shared
def test_splits_without_classes_as_users_have_them() -> None:
    with pytest.raises(InputError, match=r"test \(1 clip\), train \(1 clip\), val \(1 clip\), so that nothing says"):
        scan_folder(shared_data.DATA / "reported" / "03-flat-split-folders-become-classes")
