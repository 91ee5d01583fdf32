"""What the commands do, from Python: the same files and the same numbers as from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ta2n
from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.commands.reporting import Step

TINY: dict[str, Any] = {"backbone": "resnet18", "weights": "random", "frames": 4, "workers": 1}
SHORT: dict[str, Any] = {"way": 2, "queries": 1, "epochs": 2, "episodes": 3, "val_episodes": 4, "project": 8}


def command(*arguments: str | Path) -> str:
    made = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert made.exit_code == 0, made.output
    return made.stdout


def line(values: dict[str, Any]) -> list[str]:
    """The flags that say the same."""
    return [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of two clips each, told apart by their colour."""
    root = tmp_path_factory.mktemp("data") / "clips"
    for number in range(6):
        for clip in range(2):
            folder = root / f"class{number}" / str(clip)
            folder.mkdir(parents=True)
            for frame in range(3):
                colour = (40 * number, 255 - 30 * number, 60 * frame + clip)
                Image.new("RGB", (40, 30), colour).save(folder / f"{frame}.png")
    return root


@pytest.fixture(scope="module")
def feats(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feats")
    ta2n.extract(clips, folder, **TINY)
    return folder


def test_extract_makes_the_store_that_the_command_makes(clips: Path, feats: Path, tmp_path: Path) -> None:
    command("extract", "--dataset", clips, "--cache", tmp_path, *line(TINY))
    one, other = FeatureCache.open(feats), FeatureCache.open(tmp_path)
    assert one.manifest == other.manifest
    rows = np.arange(12)
    assert (one.read(rows) == other.read(rows)).all()


def test_extract_says_what_it_does(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes: list[str] = []
    steps: list[Step] = []
    summary = ta2n.extract(str(clips), str(tmp_path), on_note=notes.append, on_progress=steps.append, **TINY)
    assert (summary.done, summary.failed, summary.store) == (12, [], tmp_path / "clips.zarr")
    assert any("split by seed 0" in note for note in notes)
    assert any(note.startswith("protocol ta2n-paper: backbone=resnet18, weights=random, frames=4") for note in notes)
    assert [(step.what, step.done, step.total) for step in steps] == [("extracting", n, 12) for n in range(1, 13)]
    again = ta2n.extract(clips, tmp_path, **TINY)
    assert (again.done, again.before) == (0, 12)
    assert capsys.readouterr() == ("", "")


def test_train_then_evaluate_are_the_commands(feats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes: list[str] = []
    steps: list[Step] = []
    run = ta2n.train_head(
        feats, "ta2n", shot=1, out=tmp_path / "python", on_note=notes.append, on_progress=steps.append, **SHORT
    )
    assert notes[-1].startswith("epoch 2: val ")
    assert (steps[-1].done, steps[-1].total, steps[-1].unit) == (6, 6, "episodes")
    test: dict[str, Any] = {"test_episodes": 20, "seed": 3, "queries": 1}
    found = ta2n.evaluate(feats, checkpoint=run.folder, against="protonet", **test)
    assert capsys.readouterr() == ("", "")

    command("train-head", "--cache", feats, "--method", "ta2n", "--out", tmp_path / "typed", *line(SHORT))
    for name in ("best.safetensors", "last.safetensors", "metrics.jsonl"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "typed" / name).read_bytes()
    typed = command(
        "evaluate", "--cache", feats, "--checkpoint", tmp_path / "typed", "--against", "protonet", "--json", *line(test)
    )
    values = json.loads(typed)
    assert (found.settings.way, found.settings.shot, found.settings.episodes) == (2, 1, 20)
    assert (values["way"], values["shot"], values["episodes"]) == (2, 1, 20)
    assert [one.accuracy.mean for one in found.scores] == [one["accuracy"] for one in values["results"]]
    assert found.accuracy == found.scores[0].accuracy
    assert found.difference is not None
    assert found.difference.mean == values["paired_difference"]["mean"]


def test_evaluate_of_a_method_alone(feats: Path) -> None:
    steps: list[Step] = []
    found = ta2n.evaluate(feats, method="protonet", way=2, test_episodes=9, on_progress=steps.append)
    assert (found.dataset, found.split, found.protocol, found.difference) == ("clips", "test", "ta2n-paper", None)
    assert found.scores[0].accuracies.shape == (9,)
    assert {step.what for step in steps} == {"evaluating protonet"}
    with pytest.raises(InputError, match="give either"):
        ta2n.evaluate(feats)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda feats: ta2n.train_head(feats, way=1), InputError, "way is 1, expected 2 to 10000"),
        (lambda feats: ta2n.train_head(feats, shot=0), InputError, "shot is 0, expected 1 to 10000"),
        (lambda feats: ta2n.train_head(feats, epoch=1), InputError, "no option 'epoch'; did you mean 'epochs'"),
        (lambda feats: ta2n.train_head(feats, "abc"), InputError, "no method named 'abc'"),
        (lambda feats: ta2n.train_head(feats, device="abacus"), InputError, "device 'abacus' is not a device"),
        (lambda feats: ta2n.train_head(feats / "none"), MissingError, "no feature store there"),
        (lambda feats: ta2n.evaluate(feats, method="protonet", queries=0), InputError, "queries is 0"),
        (lambda feats: ta2n.evaluate(feats, method="protonet", memory=float("inf")), InputError, "memory is inf"),
        (lambda feats: ta2n.evaluate(feats, method="protonet", memory=float("nan")), InputError, "memory is nan"),
        (lambda feats: ta2n.evaluate(feats, method="protonet", memory=1e300), InputError, "expected 0 to 1000000 GB"),
        (lambda feats: ta2n.evaluate(feats, method="protonet", memory=-1), InputError, "memory is -1"),
        (lambda feats: ta2n.evaluate(feats, method="protonet", seed=2**64), InputError, "seed is 18446744073709551616"),
        (lambda feats: ta2n.extract(feats / "none", feats), MissingError, "no such folder"),
        (lambda feats: ta2n.extract(feats, feats, views=0), InputError, "views is 0, expected 1 to 1000"),
        (lambda feats: ta2n.extract(feats, feats, shard_size=0), InputError, "shard size is 0, expected at least 1"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    feats: Path, call: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call(feats)
    assert "\n" not in str(caught.value)
