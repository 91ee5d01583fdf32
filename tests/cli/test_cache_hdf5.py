"""``ta2n cache export`` and ``import``, and an HDF5 file in the place of a store."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny_cache
from typer.testing import CliRunner, Result

from ta2n.cli.app import app


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feats")
    tiny_cache.write_cache(folder, map_shape=(6, 4, 7, 7), signal=0.5, failed=(3,))
    made = run("cache", "export", folder / "toy.zarr", folder / "one" / "toy.h5")
    assert made.exit_code == 0, made.output
    return folder


def test_the_file_trains_and_tests_with_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    found = []
    for name, cache in (("zarr", folder / "toy.zarr"), ("h5", folder / "one" / "toy.h5")):
        settings = ("--way", "3", "--queries", "2", "--episodes", "4", "--epochs", "1", "--val-episodes", "9")
        trained = run("train-head", "--cache", cache, "--method", "sc", "--out", tmp_path / name, "--json", *settings)
        assert trained.exit_code == 0, trained.output
        tested = run("evaluate", "--cache", cache, "--checkpoint", tmp_path / name, "--episodes", "30", "--json")
        assert tested.exit_code == 0, tested.output
        found.append(json.loads(tested.stdout)["results"][0]["accuracy"])
    assert found[0] == found[1]
    assert (tmp_path / "zarr" / "metrics.jsonl").read_bytes() == (tmp_path / "h5" / "metrics.jsonl").read_bytes()


def test_info_and_verify_take_the_file(folder: Path) -> None:
    described = json.loads(run("cache", "info", folder / "one" / "toy.h5", "--json").stdout)
    stored = json.loads(run("cache", "info", folder / "toy.zarr", "--json").stdout)
    assert described["bytes"] > 0
    differing = {name for name in stored if stored[name] != described[name]}
    assert differing == {"path", "bytes"}
    verified = run("cache", "verify", folder / "one")
    assert verified.exit_code == 0
    assert "0 damaged" in verified.stdout


def test_a_damaged_file_is_exit_code_1(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy.h5"
    file.write_bytes((folder / "one" / "toy.h5").read_bytes())
    with h5py.File(file, "r+") as opened:
        opened["features"][5, 0, 0, 0, 0, 0] += 1
    verified = run("cache", "verify", file)
    assert verified.exit_code == 1
    assert "train/train0/5.avi: view 0 is not what was written" in verified.stdout
    assert "export it again" in verified.stderr
    file.write_bytes(file.read_bytes()[:50_000])
    cut = run("evaluate", "--cache", file, "--method", "protonet")
    assert cut.exit_code == 2
    assert len(cut.stderr.strip().splitlines()) == 1
    assert "cannot be opened as an HDF5 file" in cut.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.export import export_hdf5

def kill(clips):
    if clips == 100:
        os.kill(os.getpid(), signal.SIGKILL)

export_hdf5(FeatureCache.open(sys.argv[1]), Path(sys.argv[2]), compression=sys.argv[3], on_clips=kill)
"""


@pytest.mark.parametrize(("form", "least"), [("none", 90), ("lzf", 99)])
def test_a_killed_export_process_is_continued(folder: Path, tmp_path: Path, form: str, least: int) -> None:
    command = [sys.executable, "-c", KILLED, str(folder / "toy.zarr"), str(tmp_path / "toy.h5"), form]
    killed = subprocess.run(command, capture_output=True, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "toy.h5").exists()
    again = run("cache", "export", folder / "toy.zarr", tmp_path / "toy.h5", "--compression", form, "--json")
    assert again.exit_code == 0, again.output
    values = json.loads(again.stdout)
    assert least <= values["kept"] <= 99
    assert values["clips"] == 143
    assert run("cache", "verify", tmp_path / "toy.h5").exit_code == 0


def test_the_same_export_again_is_complete(folder: Path, tmp_path: Path) -> None:
    made = run("cache", "export", folder / "toy.zarr", tmp_path / "toy.h5")
    again = run("cache", "export", folder / "toy.zarr", tmp_path / "toy.h5")
    assert (made.exit_code, again.exit_code) == (0, 0), again.output
    assert f"{tmp_path / 'toy.h5'}: is there already and holds the same: 143 clips" in again.stdout
    as_json = run("cache", "export", folder / "toy.zarr", tmp_path / "toy.h5", "--json")
    assert json.loads(as_json.stdout)["kept"] == 143
    other = run("cache", "export", folder / "toy.zarr", tmp_path / "toy.h5", "--compression", "gzip")
    assert other.exit_code == 2
    assert "is there already and its compression is none, not gzip" in other.stderr


def test_back_into_a_store(folder: Path, tmp_path: Path) -> None:
    made = run("cache", "import", folder / "one" / "toy.h5", tmp_path)
    assert made.exit_code == 0, made.output
    assert f"(0 from before) in {tmp_path / 'toy.zarr'}" in made.stdout
    assert "1 clips failed" in made.stdout


def test_a_file_of_another_tool(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(9), 6)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = (labels[:, None, None] == np.arange(9)).repeat(2, 1) + 0.1 * rng.standard_normal((54, 2, 9))
        file["y"] = labels
    flags = ("--features", "x", "--labels", "y")
    made = run("cache", "import", tmp_path / "other.h5", tmp_path / "feats", *flags, "--name", "mine")
    assert made.exit_code == 0, made.output
    assert "split by seed 0" in made.stderr
    numbers = ("--way", "3", "--episodes", "20", "--json")
    tested = run("evaluate", "--cache", tmp_path / "feats", "--method", "protonet", *numbers)
    assert tested.exit_code == 0, tested.output
    assert json.loads(tested.stdout)["results"][0]["accuracy"] > 0.95


def test_a_folder_and_a_pattern_of_another_tool(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "each.h5", "w") as file:
        for number in range(27):
            values = np.eye(9)[number % 9] + 0.1 * rng.standard_normal((4 + number % 2, 9))
            file[f"v{number}/feats"], file[f"v{number}/label"] = values, number % 9
            (tmp_path / "npy" / f"class {number % 9}").mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "npy" / f"class {number % 9}" / f"v{number}.npy", values)
    pattern = ("--features", "{id}/feats", "--labels", "{id}/label")
    both: list[tuple[str, tuple[str, ...]]] = [("each.h5", pattern), ("npy", ())]
    for name, flags in both:
        made = run("cache", "import", tmp_path / name, tmp_path / "feats", *flags, "--frames", "2")
        assert made.exit_code == 0, made.output
        store = tmp_path / "feats" / f"{Path(name).stem}.zarr"
        tested = run("evaluate", "--cache", store, "--method", "protonet", *SMALL)
        assert tested.exit_code == 0, tested.output
        assert json.loads(tested.stdout)["results"][0]["accuracy"] > 0.95


SMALL = ("--way", "3", "--episodes", "20", "--json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "FEATS", "toy.txt"), "end it in .h5 or .hdf5"),
        (("import", "FILE", "out", "--ids", "ids"), "--ids goes with --features and --labels"),
        (("import", "FILE", "out", "--features", "x"), "needs both"),
        (("import", "FILE", "out", "--features", "x", "--labels", "y", "--compression", "zstd"), "uncompressed"),
        (("import", "FILE", "out", "--features", "x", "--labels", "y"), "no data set 'x'; it has "),
        (("import", "nothing.h5", "out"), "no such file"),
        (("import", "nothing.h5", "out", "--features", "x", "--labels", "y"), "no such file, and no such folder"),
        (("import", "FILE", "out", "--axes", "VCT"), "--axes goes with --features and --labels"),
        (("import", "FILE", "out", "--frames", "3"), "--frames goes with --features and --labels"),
        (
            ("import", "OTHER", "out", "--features", "x", "--labels", "y", "--name", "../z"),
            "'../z' is no name of a store",
        ),
        (("import", "OTHER", "out", "--features", "x", "--labels", "y", "--name", ""), "--name is followed by nothing"),
        (("import", "OTHER", "out", "--features", "x", "--labels", "y", "--axes", "VT"), "--axes VT: does not name"),
        (("import", "OTHER", "out", "--features", "x", "--labels", "y"), "say which by --axes"),
    ],
)
def test_bad_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"], file["y"] = np.ones((9, 4, 2)), np.arange(9) % 3
    names = {"FEATS": str(folder / "toy.zarr"), "FILE": str(folder / "one" / "toy.h5"), "OTHER": "other.h5"}
    made = run("cache", *(names.get(argument, argument) for argument in arguments))
    assert made.exit_code == 2
    assert message in made.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["other.h5"]
    assert not (tmp_path.parent / "z.zarr").exists()
