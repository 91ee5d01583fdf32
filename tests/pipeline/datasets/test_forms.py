"""One clip in several forms counts once, by a fixed order, in folders and in copies of named data sets."""

import random
from pathlib import Path

import pytest
import shared_data

from ta2n.pipeline.datasets.folder import scan_folder
from ta2n.pipeline.datasets.forms import one_form
from ta2n.pipeline.datasets.scan import scan_copy
from ta2n.pipeline.videos.entries import VIDEO_SUFFIXES

NOTE = "Clips that are there in several forms count once, and these forms are left out"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"-")


def test_the_first_in_the_documented_order_is_used_whatever_the_order_of_the_folder() -> None:
    forms = [*(f"c/x{suffix}" for suffix in VIDEO_SUFFIXES), "c/x"]
    for count in range(1, len(forms) + 1):
        left = forms[-count:]
        mixed = random.Random(count).sample(left, count)
        assert one_form(mixed) == ([left[0]], left[1:])


def test_only_one_stem_in_one_folder_is_one_clip() -> None:
    apart = ["a/x.mp4", "b/x.mp4", "a/y.mp4", "a/X.mp4", "a/x.1.mp4", "x.mp4", "a/x.b"]
    assert one_form(apart) == (apart, [])


@pytest.mark.parametrize("below", ["class/", "train/class/", ""])
def test_a_folder_counts_a_clip_once_with_a_note(tmp_path: Path, below: str) -> None:
    touch(tmp_path, *(f"{below}{name}" for name in ("x.avi", "x.mp4", "x/1.jpg", "y.avi", "y/1.jpg", "z/1.jpg")))
    found = scan_folder(tmp_path)
    assert [clip.id for clip in found.clips] == [f"{below}{name}" for name in ("x.mp4", "y.avi", "z")]
    assert f"{NOTE} (3): {below}x.avi, {below}x, {below}y." in found.notes
    copy = scan_copy(tmp_path)
    assert copy.clips == [f"{below}{name}" for name in ("x.mp4", "y.avi", "z")]
    assert copy.forms == [f"{below}{name}" for name in ("x.avi", "x", "y")]


@shared_data.needs_shared
def test_one_clip_three_times_as_users_have_it() -> None:
    found = scan_folder(shared_data.DATA / "reported" / "09-same-clip-twice")
    assert [clip.id for clip in found.clips] == ["c/x.mp4"]
    assert found.notes == (f"{NOTE} (2): c/x.avi, c/x.",)
