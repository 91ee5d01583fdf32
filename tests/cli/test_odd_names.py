"""Folders and clips with names that a terminal obeys, that read as markup, or that are not UTF-8."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
from PIL import Image
from typer.testing import CliRunner, Result

from ta2n.cli.app import app

EXTRACT = ("--backbone", "resnet18", "--weights", "random", "--frames", "1", "--workers", "1")
SHORT = ("--way", "2", "--queries", "1", "--epochs", "1", "--episodes", "1", "--val-episodes", "0", "--method", "sc")
NAMES = ["fe[bold]ats [x", "\x1b[31mred\nbell\x07\u202e 視", "caf\udce9"]


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    # A copy of a data set that gives no episode is 1.
    assert result.exit_code in ((0, 1, 2) if arguments[0] == "dataset" else (0, 2)), result.output
    assert "unexpected" not in result.stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", result.output), result.output
    if result.exit_code == 2:
        assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1
    return result


def is_utf8(name: str) -> bool:
    return "\udce9" not in name


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    generator = np.random.default_rng(0)
    for label in ("jump", "run", "sit"):
        for clip in range(2):
            folder = root / label / f"clip {clip}"
            folder.mkdir(parents=True)
            Image.fromarray(generator.integers(0, 255, (24, 32, 3), np.uint8)).save(folder / "0.jpg")
    return root


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_of_stores_and_of_a_run(tmp_path: Path, name: str) -> None:
    feats = tmp_path / name
    tiny_cache.write_cache(tmp_path, map_shape=(6, 4, 7, 7))
    feats.mkdir()
    shutil.move(tmp_path / "toy.zarr", feats)
    shown = run("cache", "info", feats)
    assert shown.exit_code == 0, shown.output
    assert run("cache", "verify", feats).exit_code == 0
    trained = run("train-head", "--cache", feats, "--out", feats / "run", *SHORT)
    if is_utf8(name):
        tested = run("evaluate", "--cache", feats, "--checkpoint", feats / "run", "--way", "2", "--test-episodes", "3")
        assert tested.exit_code == 0, tested.output
    else:
        assert "is not UTF-8, and checkpoints could not be read from there" in trained.stderr
        assert not (feats / "run").exists()
    assert run("cache", "export", feats, feats / "x.h5").exit_code == 0
    assert run("cache", "info", feats / "x.h5").exit_code == 0
    assert run("cache", "import", feats / "x.h5", feats / "more").exit_code == 0
    run("table", "--cache", feats, "--only", "toy,protonet", "--dry-run")
    run("evaluate", "--cache", feats / "none", "--checkpoint", feats / "run")
    run("evaluate", "--cache", feats, "--checkpoint", feats / "none")


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_of_stores_of_an_extraction(clips: Path, tmp_path: Path, name: str) -> None:
    made = run("extract", "--dataset", clips, "--cache", tmp_path / name, *EXTRACT)
    assert made.exit_code == 0, made.output
    assert run("cache", "verify", tmp_path / name).stdout.startswith("6 clips checked, 0 damaged")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["the folder", "above it", "a class", "a clip"])
def test_a_data_set(clips: Path, tmp_path: Path, name: str, place: str) -> None:
    root = {"the folder": tmp_path / name, "above it": tmp_path / name / "clips"}.get(place, tmp_path / "clips")
    shutil.copytree(clips, root)
    if place == "a class":
        (root / "sit").rename(root / name)
    if place == "a clip":
        (root / "sit" / "clip 1").rename(root / "sit" / name)
        next((root / "sit" / name).iterdir()).write_bytes(b"torn")
    made = run("extract", "--dataset", root, "--cache", tmp_path / "feats", *EXTRACT)
    run("dataset", "check", root, "--way", "2", "--shot", "1", "--report", tmp_path / "report.json")
    # A clip that is not UTF-8 is left out with a note; a place that is not is refused, as its store could not say it.
    if is_utf8(name) or place in ("a class", "a clip"):
        assert made.exit_code == 0, made.output
        run("cache", "info", tmp_path / "feats")
        assert run("cache", "verify", tmp_path / "feats").exit_code == 0
    else:
        assert made.exit_code == 2
        assert r"caf\xe9" in made.stderr
        assert "is not UTF-8" in made.stderr
        assert not (tmp_path / "feats").exists()


def test_more_failures_than_are_shown(tmp_path: Path) -> None:
    """The line that counts the others names the store."""
    for clip in range(25):
        folder = tmp_path / "clips" / "abc"[clip % 3] / f"[b]{clip}"
        folder.mkdir(parents=True)
        (folder / "0.jpg").write_bytes(b"torn")
    (tmp_path / "clips" / "a" / "good").mkdir()
    Image.new("RGB", (32, 24)).save(tmp_path / "clips" / "a" / "good" / "0.jpg")
    made = run("extract", "--dataset", tmp_path / "clips", "--cache", tmp_path / "x[" / "y]" / "feats", *EXTRACT)
    assert made.exit_code == 0, made.output
    assert f"and 5 more: `ta2n cache info {tmp_path}/x[/y]/feats/clips.zarr` lists all" in made.stdout
    assert "a/[b]0" in made.stdout


def test_a_name_is_never_broken_by_its_bytes(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    assert r"\xff\xfe: no feature store there" in run("cache", "info", odd).stderr
