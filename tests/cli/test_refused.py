"""A refused call is one line and exit code 2, and nothing is written; flags that would do nothing are refused."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny_cache
import torch
from odd_world import entries
from PIL import Image
from typer.testing import CliRunner, Result

from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache

SHAPE = (6, 4, 7, 7)
SHORT = ("--way", "2", "--queries", "1", "--epochs", "1", "--episodes", "2", "--val-episodes", "2")
EXTRACT = ("extract", "--dataset", "clips", "--cache", "new", "--backbone", "resnet18", "--weights", "random")
AGAIN = ("extract", "--dataset", "clips", "--cache", "extracted", "--backbone", "resnet18", "--weights", "random",
         "--frames", "1", "--workers", "1")  # fmt: skip
TRAIN = ("train-head", "--cache", "feats", "--out", "new")
SC = (*TRAIN, "--method", "sc")
EVALUATE = ("evaluate", "--cache", "feats", "--test-episodes", "5")
PROTONET = (*EVALUATE, "--method", "protonet")
TABLE = ("table", "--cache", "feats", "--out", "new", "--only", "toy,protonet")
CHECK = ("dataset", "check", "clips")
IMPORT = ("cache", "import", "toy.h5", "new")
FOREIGN = ("cache", "import", "foreign.h5", "new", "--features", "feats", "--labels", "y")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def write_files(root: Path) -> None:
    """Clips, stores, a run, and files that are not what they should be."""
    generator = np.random.default_rng(0)
    for label in ("jump", "run", "sit"):
        for clip in range(2):
            folder = root / "clips" / label / str(clip)
            folder.mkdir(parents=True)
            Image.fromarray(generator.integers(0, 255, (24, 32, 3), np.uint8)).save(folder / "0.jpg")
    tiny_cache.write_cache(root / "feats", map_shape=SHAPE, signal=0.3)
    (root / "file.txt").write_text("hello")
    (root / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    (root / "deep2.json").write_text('{"train": ' + "[" * 100_000 + "]" * 100_000 + "}")
    (root / "splits.json").write_text('{"train": ["jump"], "val": ["run"], "test": ["sitt"]}')
    torch.save(torch.nn.Linear(2, 2), root / "module.pth")
    with h5py.File(root / "foreign.h5", "w") as file:
        file["feats"] = np.zeros((6, 4, 3), np.float32)
        file["y"] = np.arange(6)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_files(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for made in (
            run(*AGAIN),
            run(*SC, *SHORT[:-2], "--val-episodes", "0"),
            run("cache", "export", "feats/toy.zarr", "toy.h5"),
        ):
            assert made.exit_code == 0, made.output
        (root / "new").rename(root / "run")
    return root


REFUSED = [
    # Numbers and names out of their range.
    ((*EXTRACT, "--deadline", "0"), "deadline is 0.0, expected more than 0"),
    ((*EXTRACT, "--deadline", "-1"), "deadline is -1.0"),
    ((*EXTRACT, "--deadline", "nan"), "deadline is nan"),
    ((*EXTRACT, "--compression", "x"), "compression 'x' is not known"),
    ((*EXTRACT, "--resize", "9" * 5000 + "x1"), "is not known; give HEIGHTxWIDTH"),
    ((*EXTRACT, "--resize", "10x10"), "is smaller than the crop"),
    ((*EXTRACT, "--rule", "x"), "frame rule 'x' is not known"),
    ((*EXTRACT, "--backbone", "vgg"), "backbone 'vgg' is not known"),
    ((*EXTRACT, "--weights", "module.pth"), "module.pth: holds a pickled module"),
    ((*EXTRACT, "--weights", "file.txt"), "file.txt: torch cannot read it"),
    ((*EXTRACT, "--workers", "1000000000"), "--workers"),
    ((*EXTRACT, "--device", "cpu:7"), "device cpu:7: there is one CPU"),
    ((*SC, *SHORT, "--lr", "inf"), "learning rate is inf"),
    ((*SC, *SHORT, "--lr", "nan"), "learning rate is nan"),
    ((*SC, *SHORT, "--device", "cpu:7"), "device cpu:7"),
    ((*SC, "--protocol", "abc"), "protocol 'abc' is not known"),
    ((*TABLE, "--lr", "nan"), "learning rate is nan"),
    ((*TABLE, "--seed", "0,0"), "--seed 0,0: expected different numbers"),
    ((*TABLE, "--seed", "-1"), "--seed -1: expected different numbers of at least 0"),
    ((*TABLE, "--shot", "1,x"), "--shot has 'x'"),
    (("demo", "--out", "new", "--device", "cpu:7"), "device cpu:7"),
    # What is followed by nothing.
    ((*EXTRACT, "--protocol", ""), "--protocol is followed by nothing"),
    ((*SC, "--shot", ""), "--shot is followed by nothing"),
    ((*SC, "--out="), "--out is followed by nothing"),
    (("cache", "info", ""), "info is followed by nothing"),
    # Words that no command has.
    (("extract",), "Missing option '--dataset'"),
    (("extrakt",), "No such command 'extrakt'"),
    ((*SC, "--shots", "1"), "No such option"),
    ((*SC, "--way", "many"), "Invalid value for '--way'"),
    ((*PROTONET, "--seed", "-1"), "Invalid value for '--seed'"),
    # Options of heads.
    *[
        ((*SC, *SHORT, "--option", f"{name}=3"), f"--option {name}: ")
        for name in ("channels", "seed", "frames", "size")
    ],
    *[((*PROTONET, "--option", f"{name}=3"), f"--option {name}: ") for name in ("channels", "seed", "frames", "name")],
    ((*SC, *SHORT, "--option", "perturbation=abc"), "perturbation=abc: expected a number, such as 0.2"),
    ((*SC, *SHORT, "--option", "perturbation=1e999"), "perturbation=inf: expected a number"),
    ((*SC, *SHORT, "--option", "init=5"), "init=5: expected a word"),
    ((*SC, *SHORT, "--option", "tc=5"), "tc=5: expected true or false"),
    ((*SC, *SHORT, "--option", "project=x"), "project=x: expected a whole number"),
    ((*SC, *SHORT, "--option", "init=" + "[" * 100_000), " ... "),
    ((*SC, *SHORT, "--option", "colour=1"), "has no option colour"),
    ((*SC, *SHORT, "--option", "dropout=0", "--option", "dropout=1"), "dropout is given twice"),
    ((*SC, *SHORT, "--option", "project=4", "--project", "5"), "say the same"),
    ((*TRAIN, *SHORT, "--method", "trx", "--option", "cardinalities=abc"), "expected a list of whole numbers"),
    # Flags that would do nothing.
    ((*EXTRACT, "--flip"), "--flip mirrors random views, and there are none"),
    ((*EXTRACT, "--root", "clips"), "--root goes with one of ucf101"),
    ((*EXTRACT, "--split-file", "splits.json"), "1 of its classes have no clip ('sitt'); take them out; is 'sitt'"),
    ((*EXTRACT, "--dry-run", "--json"), "--dry-run has no result that --json could print"),
    ((*AGAIN, "--compression", "zstd"), "was made with none, and keeps it; leave --compression out"),
    ((*AGAIN, "--shard-size", "2"), "was made with 6, and keeps it; leave --shard-size out"),
    ((*SC, *SHORT, "--test-episodes", "5"), "--test-episodes is for several methods or shots"),
    ((*TRAIN, *SHORT, "--method", "sc,protonet", "--cache-in", "ram"), "--cache-in is for one method"),
    ((*SC, *SHORT, "--shot", "1,2", "--cache-in", "disk"), "--cache-in is for one method"),
    ((*SC, *SHORT, "--cache-in", "tape"), "--cache-in 'tape' is not known"),
    ((*TRAIN, *SHORT, "--method", "protonet", "--dropout", "0.1"), "--dropout: protonet has no dropout"),
    ((*TRAIN, *SHORT, "--method", "protonet,otam", "--dropout", "0.1"), "protonet, otam has no dropout"),
    ((*SC, *SHORT[:-2], "--val-episodes", "0", "--patience", "3"), "--val-episodes 0 measures none"),
    ((*SC, *SHORT, "--split-file", "splits.json"), "3 of its classes have no clip"),
    ((*SC, *SHORT, "--csv"), "--csv prints the table of several"),
    ((*SC, *SHORT, "--dry-run", "--json"), "--dry-run has no result"),
    ((*SC, *SHORT, "--dataset", "nothing", "--cache", "feats/toy.zarr"), "is of data set 'toy', not 'nothing'"),
    ((*SC, *SHORT, "--dataset", "nothing"), "no store of data set 'nothing' there; found: toy"),
    ((*EVALUATE, "--checkpoint", "run", "--option", "tc=false"), "--option and --project make the head of --method"),
    ((*EVALUATE, "--checkpoint", "run", "--project", "3"), "--option and --project make the head of --method"),
    ((*EVALUATE, "--checkpoint", "run", "--method", "sc"), "give either --checkpoint RUN or --method NAME"),
    ((*TABLE, "--dry-run", "--json"), "--dry-run has no result"),
    (("cache", "info", "toy.h5", "--dataset", "nothing"), "is of data set 'toy', not 'nothing'"),
    ((*IMPORT, "--seed", "1"), "--seed splits the classes of a file that says no splits"),
    ((*IMPORT, "--ids", "x"), "--ids goes with --features and --labels"),
    ((*FOREIGN, "--compression", "zstd"), "--compression is for files that ta2n exported"),
    ((*FOREIGN, "--axes", "VTC", "--split-file", "splits.json"), "3 of its classes have no clip"),
    ((*CHECK, "--workers", "2"), "--workers is for --decode COUNT"),
    ((*CHECK, "--root", "clips"), "--root goes with one of ucf101"),
    # Files where folders are expected, and folders where files are.
    ((*EXTRACT, "--cache", "file.txt"), "--cache file.txt"),
    ((*EXTRACT, "--cache", "file.txt/new"), "is no folder"),
    ((*EXTRACT, "--cache", "new.h5"), "has the name of an HDF5 file"),
    ((*EXTRACT, "--cache", "toy.h5"), "has the name of an HDF5 file"),
    ((*EXTRACT, "--split-file", "deep.json"), "deep.json: cannot be read as JSON"),
    ((*EXTRACT, "--split-file", "clips"), "clips: cannot be read as JSON"),
    ((*EXTRACT, "--recipe", "clips"), "clips: not a TOML file"),
    (("extract", "--dataset", "file.txt", "--cache", "new"), "file.txt: is a file"),
    ((*SC, *SHORT, "--out", "file.txt"), "--out file.txt: is no folder"),
    ((*SC, *SHORT, "--out", "file.txt/new"), "is no folder"),
    ((*SC, *SHORT, "--cache", "file.txt"), "file.txt: is a file"),
    ((*SC, *SHORT, "--split-file", "deep2.json"), "deep2.json: cannot be read as JSON"),
    ((*PROTONET, "--episodes-file", "clips"), "--episodes-file clips: is a folder"),
    ((*PROTONET, "--episodes-file", "file.txt/new.json"), "is no folder"),
    ((*TABLE, "--cache", "file.txt", "--dry-run"), "file.txt: is a file"),
    ((*TABLE, "--out", "file.txt"), "--out file.txt: is no folder"),
    (("demo", "--out", "file.txt"), "--out file.txt: is no folder"),
    (("cache", "info", "file.txt"), "file.txt: is a file"),
    (("cache", "verify", "clips"), "no feature store there"),
    (("cache", "export", "feats", "new.txt"), "end it in .h5 or .hdf5"),
    (("cache", "export", "feats", "toy.h5", "--compression", "gzip"), "is there already"),
    (("cache", "export", "feats", "file.txt/new.h5"), "is no folder"),
    (("cache", "export", "feats", "new/x.h5", "--compression", "zip"), "--compression 'zip' is not known"),
    (("cache", "export", "feats", "/proc/x.h5"), "/proc"),
    (("cache", "import", "file.txt", "new"), "cannot be opened as an HDF5 file"),
    (("cache", "import", "foreign.h5", "new"), "other files come in by"),
    ((*IMPORT[:-1], "file.txt"), "--cache file.txt"),
    ((*IMPORT, "--compression", "zip"), "--compression 'zip' is not known"),
    (("cache", "import", "foreign.h5", "file.txt", *FOREIGN[4:]), "--cache file.txt"),
    ((*CHECK, "--report", "clips"), "--report clips: is a folder"),
    ((*CHECK, "--report", "file.txt/new"), "is no folder"),
    # A store in a store.
    ((*EXTRACT, "--cache", "feats/toy.zarr/features"), "lies in the store"),
    ((*EXTRACT, "--cache", "new/other.zarr"), "the store of clips is called clips.zarr; give the folder, new"),
    ((*IMPORT[:-1], "feats/toy.zarr/new"), "lies in the store"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=range(len(REFUSED)))
def test_a_refused_call_is_one_line_and_writes_nothing(
    world: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    before = entries(world)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert [line for line in errors if line.startswith("error: ")] == errors[-1:], result.stderr
    assert message in errors[-1]
    assert entries(world) == before


def test_a_store_of_other_features_is_refused_before_anything_is_written(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    before = entries(world)
    for extra in (("--frames", "2"), ("--seed", "3"), ("--frames", "2", "--dry-run")):
        refused = run(*AGAIN, *extra)
        assert refused.exit_code == 2
        assert "holds other features than this run would add" in refused.stderr
        assert "sampling." in refused.stderr
    assert entries(world) == before


def test_a_store_in_the_place_of_its_folder_is_continued(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    before = entries(world / "extracted" / "clips.zarr")
    again = run("extract", "--dataset", "clips", "--cache", "extracted/clips.zarr", *AGAIN[5:], "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["before"] == 6
    assert entries(world / "extracted" / "clips.zarr") == before


@pytest.mark.parametrize("cache", ["new", "new/clips.zarr"])
def test_a_new_store_is_made_in_a_folder_or_under_its_own_name(
    world: Path, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = run("extract", "--dataset", str(world / "clips"), "--cache", cache, *AGAIN[5:])
    assert made.exit_code == 0, made.output
    assert FeatureCache.open(tmp_path / "new" / "clips.zarr").done.all()
    assert sorted(path.name for path in (tmp_path / "new").iterdir() if path.suffix == ".zarr") == ["clips.zarr"]


def test_patience_that_is_never_used_up_is_said(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    said = run(*SC, *SHORT, "--patience", "1", "--dry-run")
    assert said.exit_code == 0, said.output
    assert "note: --patience 1 is never used up in --epochs 1" in said.stderr
    assert "never used up" not in run(*SC, *SHORT, "--dry-run").stderr
