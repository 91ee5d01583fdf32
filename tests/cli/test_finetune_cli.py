"""``ta2n finetune`` as a person types it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_tuning
from typer.testing import CliRunner, Result

from ta2n.cache_schema.lock import writing
from ta2n.cli.app import app
from ta2n.pipeline.commands.tables import FINETUNE
from ta2n.pipeline.config.options import options
from ta2n.pipeline.training.checkpoint import load_checkpoint

SHORT = ("--device", "cpu", "--episodes", "3", "--epochs", "1", "--val-episodes", "4", "--workers", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_tuning.registered():
        yield tiny_tuning.made(tmp_path_factory.mktemp("tuning"))


def finetune(folder: Path, out: Path, *flags: str, start: tuple[str, ...] | None = None) -> Result:
    begin = ("--checkpoint", str(folder / "head")) if start is None else start
    return CliRunner().invoke(
        app, ["finetune", "--cache", str(folder / "feats"), "--out", str(out), *begin, *SHORT, *flags]
    )


def error(result: Result) -> str:
    """The one line that a refused call says."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_run_says_what_it_does_and_where_its_time_went(folder: Path, tmp_path: Path) -> None:
    result = finetune(folder, tmp_path / "run", "--lr-backbone", "2e-4", "--bn", "clip", "--trainable", "all")
    assert result.exit_code == 0, result.output
    assert "learning_rate_backbone=0.0002" in result.stderr
    assert "trainable=all, batch_norm=clip" in result.stderr
    assert "epoch 1: val " in result.stderr
    assert " of training: wait " in result.stdout
    assert f"ta2n extract --checkpoint {tmp_path / 'run'}" in result.stdout
    assert load_checkpoint(tmp_path / "run").backbone().spec.name == "tiny"
    again = finetune(folder, tmp_path / "run", "--lr-backbone", "2e-4", "--bn", "clip", "--trainable", "all", "--json")
    values = json.loads(again.stdout)
    assert (values["episodes"], values["trainable"], values["seconds"], values["waiting"]) == (3, "all", {}, None)
    assert values["val_accuracy"] >= values["val_accuracy_before"]


def test_every_option_is_a_flag_with_its_help_and_default() -> None:
    shown = CliRunner().invoke(app, ["finetune", "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    lines = {match[1]: line for line in shown.stdout.splitlines() if (match := re.search(r"(--[a-z-]+)", line))}
    for one in (one for table in FINETUNE for one in options(table)):
        flag = f"--{one.flag.replace('_', '-')}"
        assert one.help_with_default in " ".join(lines[flag].split()), flag


def test_json_says_the_share_of_waiting(folder: Path, tmp_path: Path) -> None:
    values = json.loads(finetune(folder, tmp_path / "run", "--json").stdout)
    assert 0 <= values["waiting"] <= 1
    assert set(values["seconds"]) == {"wait", "gradients", "update"}


def test_a_dry_run_writes_nothing(folder: Path, tmp_path: Path) -> None:
    result = finetune(folder, tmp_path / "run", "--dry-run")
    assert result.exit_code == 0
    assert "trainable=second" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
    assert "--dry-run has no result" in error(finetune(folder, tmp_path / "run", "--dry-run", "--json"))


def test_a_folder_in_use_is_one_line(folder: Path, tmp_path: Path) -> None:
    with writing(tmp_path / "run", "ta2n finetune"):
        assert "run: ta2n finetune (process" in error(finetune(folder, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "start", "message"),
    [
        ((), (), "give either --checkpoint"),
        (("--root", "nowhere"), None, "nowhere: the clips of"),
        (("--trainable", "layer9"), None, "has no such stage; give all, one of first, second"),
        (("--grad-clips", "50"), None, "--grad-clips 50: an episode has 4 clips"),
        (("--precision", "bfloat16"), None, "choose float32"),
        (("--option", "project=4"), None, "--option makes the head of --method"),
        ((), ("--method", "none"), "there is no method named 'none'"),
    ],
)
def test_what_is_refused_is_one_line(
    folder: Path, tmp_path: Path, flags: tuple[str, ...], start: tuple[str, ...] | None, message: str
) -> None:
    assert message in error(finetune(folder, tmp_path / "run", *flags, start=start))
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_is_gone_ends_the_run_in_one_line(folder: Path, tmp_path: Path) -> None:
    clip = next((folder / "clips" / "train").glob("*/clip0"))
    image = next(clip.iterdir())
    kept = image.read_bytes()
    image.write_bytes(b"torn")
    try:
        said = error(finetune(folder, tmp_path / "run", "--no-augment", "--episodes", "30"))
    finally:
        image.write_bytes(kept)
    assert str(clip) in said
