"""A disk that takes no more: one line with the file and what to do, and the same command goes on afterwards.

The limit of a file's size stands for the disk: it is met at the same places, and needs no disk of its own.
"""

import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
from PIL import Image
from typer.testing import CliRunner, Result

from ta2n.cli.app import app

SHAPE = (16, 4, 7, 7)
SHORT = ("--way", "2", "--queries", "1", "--epochs", "1", "--episodes", "2", "--val-episodes", "2")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@contextlib.contextmanager
def largest_file(count: int) -> Iterator[None]:
    """No file can be written beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("full")
    tiny_cache.write_cache(root / "feats", map_shape=SHAPE, signal=0.3)
    generator = np.random.default_rng(0)
    for label in "abc":
        folder = root / "clips" / label / "clip"
        folder.mkdir(parents=True)
        Image.fromarray(generator.integers(0, 255, (24, 32, 3), np.uint8)).save(folder / "0.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert run("cache", "export", "feats", "toy.h5").exit_code == 0
    return root


WRITING = {
    "extract": (
        "extract", "--dataset", "{world}/clips", "--cache", "feats", "--backbone", "resnet18", "--weights", "random",
        "--frames", "1", "--workers", "1",
    ),
    "train": ("train-head", "--cache", "{world}/feats", "--method", "sc", "--out", "run", *SHORT),
    "trainings": (
        "train-head", "--cache", "{world}/feats", "--method", "sc", "--shot", "1,2", "--test-episodes", "2", "--out",
        "runs", *SHORT,
    ),
    "export": ("cache", "export", "{world}/feats", "x.h5"),
    "export gzip": ("cache", "export", "{world}/feats", "x.h5", "--compression", "gzip"),
    "export lzf": ("cache", "export", "{world}/feats", "x.h5", "--compression", "lzf"),
    "import": ("cache", "import", "{world}/toy.h5", "feats"),
    "list": (
        "evaluate", "--cache", "{world}/feats", "--method", "protonet", "--test-episodes", "300", "--episodes-file",
        "list.json",
    ),
    "report": ("dataset", "check", "{world}/clips", "--way", "2", "--shot", "1", "--report", "report.json"),
}  # fmt: skip
# What a file may hold before the disk is full: a little, and as much as gets a command to its end but for one file.
BYTES = {"train": 1500, "trainings": 1500, "report": 300}
WRITTEN = {
    "extract": "feats/clips.zarr", "train": "run", "trainings": "runs", "import": "feats/toy.zarr", "list": "list.json",
    "report": "report.json",
}  # fmt: skip


@pytest.mark.parametrize("what", WRITING)
def test_it_is_one_line_and_the_command_continues(
    world: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [text.format(world=world) for text in WRITING[what]]
    with largest_file(BYTES.get(what, 9000)):
        full = run(*arguments)
    assert full.exit_code == 2, full.output
    errors = [line for line in full.stderr.splitlines() if line.startswith(("error: ", "unexpected "))]
    assert len(errors) == 1
    assert errors[0] == full.stderr.splitlines()[-1]
    assert errors[0].startswith("error: ")
    assert WRITTEN.get(what, "x.h5") in errors[0]
    assert "raise `ulimit -f`, and run the same command again: it continues" in errors[0]
    again = run(*arguments)
    assert again.exit_code in ((0, 1) if what == "report" else (0,)), again.output
    if what in ("extract", "import"):
        assert " 0 damaged" in run("cache", "verify", "feats").stdout
    if what.startswith("export"):
        assert " 0 damaged" in run("cache", "verify", "x.h5").stdout


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_process_ends_by_itself(world: Path, tmp_path: Path, compression: str) -> None:
    """HDF5 breaks a process as it ends, where a file could not be closed."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, -1))\n"
        "from ta2n.cli import main; main()"
    )  # fmt: skip
    arguments = ["cache", "export", str(world / "feats"), str(tmp_path / "x.h5"), "--compression", compression]
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "x.h5: the file would be larger" in ended.stderr
