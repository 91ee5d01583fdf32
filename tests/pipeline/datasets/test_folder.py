"""Folders as data sets: the layouts, everything odd in a note, and clear refusals."""

import os
from pathlib import Path

import pytest
import shared_data

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.folder import scan_folder


def touch(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def table(root: Path) -> list[tuple[str, str, str]]:
    return [(clip.id, clip.label, clip.split) for clip in scan_folder(root).clips]


def test_class_folders_hold_videos_and_folders_of_frames_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "run/v10.avi", "run/v2.MP4", "jump/c1/1.jpg", "jump/c1/2.jpg", "jump/c2/a.PNG")
    dataset = scan_folder(tmp_path)
    assert [(c.id, c.label, c.split) for c in dataset.clips] == [
        ("jump/c1", "jump", ""),
        ("jump/c2", "jump", ""),
        ("run/v2.MP4", "run", ""),
        ("run/v10.avi", "run", ""),
    ]
    assert dataset.clips[2].path == tmp_path / "run/v2.MP4"
    assert dataset.name == tmp_path.name
    assert dataset.notes == ()


def test_split_folders_give_the_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.mkv", "val/b/x/1.jpg", "test/c/1.webm", "test/c/2.mov")
    assert table(tmp_path) == [
        ("test/c/1.webm", "c", "test"),
        ("test/c/2.mov", "c", "test"),
        ("train/a/1.mkv", "a", "train"),
        ("val/b/x", "b", "val"),
    ]
    assert scan_folder(tmp_path).notes == ()


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.avi", "train/2/1.jpg", "plane/1.avi")
    assert [label for _, label, _ in table(tmp_path)] == ["plane", "train", "train"]


def test_a_folder_of_clips_without_classes_is_one_class_and_says_so(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    touch(root, "b.mp4", "a/1.jpg", "docs/readme.txt")
    assert table(root) == [("a", "mine", ""), ("b.mp4", "mine", "")]
    assert scan_folder(root).notes == (
        "The clips lie in no class folders; all get the class 'mine'.",
        "Files that are neither videos nor frames of a clip are ignored (1): docs/readme.txt.",
        "Folders without clips are ignored (1): docs.",
    )


def test_nothing_but_hidden_files_is_left_out_in_silence(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.avi", "a/notes.txt", "a/x.jpg", "a/clip/1.jpg", "a/clip/info.json", ".DS_Store", "a/.x.avi")
    touch(tmp_path, "list.csv", "loose.mp4", "frames/1.jpg", "b/note.md", "a/deep/er/1.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a/none").mkdir()
    dataset = scan_folder(tmp_path)
    assert [clip.id for clip in dataset.clips] == ["a/1.avi", "a/clip"]
    assert sorted(dataset.notes) == [
        "Class folders hold no clips and are ignored (2): b, empty.",
        "Clips beside the class folders are ignored, as they have no class (2): loose.mp4, frames.",
        "Files that are neither videos nor frames of a clip are ignored (5): "
        "list.csv, a/notes.txt, a/x.jpg and 2 more.",
        "Folders inside a class hold videos or more folders, not frames, and are ignored (1): a/deep.",
        "Folders without frames are ignored (1): a/none.",
    ]


def test_odd_things_in_split_folders_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.avi", "train/loose.avi", "test/a/1.avi", "test/b/1.avi", "extra/c/1.avi", "top.avi")
    assert sorted(scan_folder(tmp_path).notes) == [
        "Classes are in more than one split, which no few-shot evaluation allows (1): a.",
        "Clips in a split folder, but in no class folder, are ignored (1): train/loose.avi.",
        "Entries beside the split folders are ignored (2): top.avi, extra.",
        "There is no clip for the split 'val'.",
    ]


def test_awkward_names_keep_their_spelling(tmp_path: Path) -> None:
    touch(tmp_path, "-rf/-v.avi", "two words/a b.mp4", "süß 動画/ß.webm")
    expected = ["-rf/-v.avi", "süß 動画/ß.webm", "two words/a b.mp4"]
    assert [clip.id for clip in scan_folder(tmp_path).clips] == expected


def test_links_are_followed_and_broken_ones_told(tmp_path: Path) -> None:
    touch(tmp_path, "store/real.avi", "store/frames/1.jpg")
    root = tmp_path / "set"
    (root / "a").mkdir(parents=True)
    (root / "a/video.avi").symlink_to(tmp_path / "store/real.avi")
    (root / "a/frames").symlink_to(tmp_path / "store/frames")
    (root / "a/gone.avi").symlink_to(tmp_path / "nowhere.avi")
    (root / "a/loop").symlink_to(root)
    assert [clip.id for clip in scan_folder(root).clips] == ["a/frames", "a/video.avi"]
    assert any("a/gone.avi" in note for note in scan_folder(root).notes)


def odd_entries(folder: Path) -> None:
    """One of everything that is neither a file nor a folder, under the names of clips and frames."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "ring").symlink_to("ring")
    (folder / "gone.avi").symlink_to("nowhere.avi")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "pipe.mp4")
    os.mkfifo(folder / "pipe.png")


ODD = ["gone.avi", "gone.jpg", "loop.mp4", "pipe.mp4", "pipe.png", "ring"]


@pytest.mark.parametrize("below", ["", "a", "train", "train/a", "a/frames"])
def test_what_is_no_file_costs_itself_only_and_is_named(tmp_path: Path, below: str) -> None:
    split = "train/" if below.startswith("train") else ""
    touch(tmp_path, *(f"{split}a/{number}.avi" for number in range(6)), f"{split}a/frames/1.jpg", f"{split}b/1.avi")
    clips = [clip.id for clip in scan_folder(tmp_path).clips]
    odd_entries(tmp_path / below)
    found = scan_folder(tmp_path)
    assert [clip.id for clip in found.clips] == clips
    named = [f"{below}/{name}" if below else name for name in ODD[:3]]
    assert f"Links that lead nowhere, pipes and devices are ignored (6): {', '.join(named)} and 3 more." in found.notes


@pytest.mark.parametrize("below", ["b", "a/frames", "train", "train/a"])
def test_a_folder_that_cannot_be_listed_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    split = "train/" if below.startswith("train") else ""
    touch(
        tmp_path, f"{split}a/1.avi", f"{split}a/frames/1.jpg", f"{split}b/1.avi", "test/c/1.avi" if split else "c/1.avi"
    )
    clips = [clip.id for clip in scan_folder(tmp_path).clips if not clip.id.startswith(below)]
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if folder == tmp_path / below:
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = scan_folder(tmp_path)
    assert [clip.id for clip in found.clips] == clips
    assert f"Folders cannot be listed and are ignored: Permission denied (1): {below}." in found.notes


def test_a_name_that_is_no_utf8_is_left_out_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/good.avi")
    try:
        (tmp_path / "a" / os.fsdecode(b"bad\xff.avi")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system holds only UTF-8 names")
    dataset = scan_folder(tmp_path)
    assert [clip.id for clip in dataset.clips] == ["a/good.avi"]
    assert dataset.notes == (
        r"Clips whose names are not valid UTF-8 are left out; rename them (1): 'a/bad\udcff.avi'.",
    )


def test_a_missing_folder_a_file_and_a_folder_without_clips_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "video.avi", "none/readme.txt")
    with pytest.raises(MissingError, match=r"gone: there is no such folder"):
        scan_folder(tmp_path / "gone")
    with pytest.raises(InputError, match=r"video\.avi: is a file; name the folder that holds it"):
        scan_folder(tmp_path / "video.avi")
    with pytest.raises(InputError, match=r"none: holds no clips; expected folder/class/clip"):
        scan_folder(tmp_path / "none")


@shared_data.needs_shared
def test_the_reference_folders_have_the_clips_that_their_description_says() -> None:
    ssv2 = scan_folder(shared_data.DATA / "ssv2_mini")
    assert len(ssv2.clips) == 149
    assert {split: len({c.label for c in ssv2.clips if c.split == split}) for split in ("train", "val", "test")} == {
        "train": 5,
        "val": 5,
        "test": 5,
    }
    ucf101 = scan_folder(shared_data.DATA / "ucf101_mini")
    assert (len(ucf101.clips), len({clip.label for clip in ucf101.clips})) == (95, 8)
    assert ssv2.notes == ucf101.notes == ()
