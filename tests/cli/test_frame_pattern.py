"""`--frame-pattern`: which images are frames, as part of what a store is; and what data sets cannot be."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from ta2n.cache_schema.errors import InputError
from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.datasets import resolve

EXTRACT = ("--backbone", "resnet18", "--weights", "random", "--frames", "2", "--workers", "1")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two classes of a clip each, with frames and two flow images beside them."""
    for label in ("run", "sit"):
        folder = tmp_path / "clips" / label / "v1"
        folder.mkdir(parents=True)
        for series, count in {"img": 4, "flow_x": 3, "flow_y": 3}.items():
            for number in range(count):
                Image.new("RGB", (32, 24), (60 * number, 9, 9)).save(folder / f"{series}_{number:05}.jpg")
    return tmp_path / "clips"


def test_a_pattern_says_which_images_are_frames(clips: Path, tmp_path: Path) -> None:
    refused = run("extract", "--dataset", clips, "--cache", tmp_path / "all", *EXTRACT, "--json")
    assert refused.exit_code == 1
    reasons = {one["reason"] for one in json.loads(refused.stdout)["failed"]}
    assert len(reasons) == 1
    assert "flow_x_* (3), flow_y_* (3), img_* (4); leave one" in reasons.pop()
    extract = ("extract", "--dataset", clips, "--cache", tmp_path / "rgb", *EXTRACT, "--json", "--frame-pattern")
    done = run(*extract, "img_*")
    assert json.loads(done.stdout)["done"] == 2, done.output
    cache = FeatureCache.open(tmp_path / "rgb")
    assert cache.manifest.sampling["frame_pattern"] == "img_*"
    assert json.loads(run(*extract, "img_*").stdout)["before"] == 2
    other = run(*extract, "flow_x_*")
    assert other.exit_code == 2
    assert "sampling.frame_pattern: img_* -> flow_x_*" in other.stderr.replace("\n", " ")
    without = run(*extract[:-1])
    assert without.exit_code == 2
    assert "sampling.frame_pattern: img_* -> None" in without.stderr.replace("\n", " ")


@pytest.mark.parametrize("pattern", ["./img_*", "a/img_*"])
def test_a_pattern_that_no_file_name_can_match_is_refused(clips: Path, tmp_path: Path, pattern: str) -> None:
    shown = run("extract", "--dataset", clips, "--cache", tmp_path / "f", *EXTRACT, "--frame-pattern", pattern)
    assert shown.exit_code == 2
    assert "expected a pattern for file names like 'img_*'" in shown.stderr.replace("\n", " ")
    assert not (tmp_path / "f").exists()


def test_the_check_decodes_by_the_pattern(clips: Path) -> None:
    check = ("dataset", "check", clips, "--way", "2", "--shot", "1", "--json")
    alone = json.loads(run(*check, "--decode", "2").stdout)["decoded"]
    assert {one["result"] for one in alone} == {"failed"}
    named = json.loads(run(*check, "--decode", "2", "--frame-pattern", "img_*").stdout)["decoded"]
    assert [one["detail"] for one in named] == ["4 frames by images, not compared"] * 2
    refused = run(*check, "--frame-pattern", "img_*")
    assert refused.exit_code == 2
    assert "--frame-pattern goes with --decode" in refused.stderr


@pytest.mark.parametrize("deadline", ["0", "-1", "nan"])
def test_a_deadline_that_is_none_is_refused_before_anything_is_written(
    clips: Path, tmp_path: Path, deadline: str
) -> None:
    shown = run("extract", "--dataset", clips, "--cache", tmp_path / "f", *EXTRACT, "--deadline", deadline)
    assert shown.exit_code == 2
    assert "deadline" in shown.stderr
    assert not (tmp_path / "f").exists()


def test_names_that_are_no_utf8_are_left_out_and_a_root_of_that_kind_is_refused(clips: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"bad\xff")
    try:
        shutil.copytree(clips / "run" / "v1", clips / "run" / odd)
    except OSError:
        pytest.skip("this file system holds only UTF-8 names")
    asked = (*EXTRACT, "--frame-pattern", "img_*")
    shown = run("extract", "--dataset", clips, "--cache", tmp_path / "feats", *asked)
    assert shown.exit_code == 0, shown.output
    assert r"names are not valid UTF-8 are left out; rename them (1): 'run/bad\udcff'" in shown.stderr
    assert FeatureCache.open(tmp_path / "feats").videos.id.tolist() == ["run/v1", "sit/v1"]
    for root in (tmp_path / odd, tmp_path / odd / "inner"):
        shutil.copytree(clips, root, dirs_exist_ok=True)
        with pytest.raises(InputError, match="this path is not UTF-8, so no store can name it"):
            resolve(root)
    (tmp_path / "link").symlink_to(tmp_path / odd)
    with pytest.raises(InputError, match="this path is not UTF-8"):
        resolve(tmp_path / "link")
