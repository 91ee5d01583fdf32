"""The settings of a run, and what a CPU does where nobody says how many channels a head shall learn on."""

from pathlib import Path
from typing import Any

import pytest
import tiny_cache
import torch
from typer.testing import CliRunner, Result

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.commands.settings import run_settings
from ta2n.pipeline.config.protocols import PROTOCOLS
from ta2n.pipeline.training.checkpoint import load_checkpoint
from ta2n.pipeline.training.settings import Settings

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PAPER = PROTOCOLS["ta2n-paper"]
WIDE = 260
SHORT: dict[str, Any] = {"way": 2, "queries": 1, "epochs": 1, "episodes": 1, "val_episodes": 0}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    videos = tiny_cache.table(classes_per_split=2, clips_per_class=3)
    return tiny_cache.write_cache(tmp_path_factory.mktemp("wide"), videos=videos, map_shape=(WIDE, 4, 7, 7))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    videos = tiny_cache.table(classes_per_split=2, clips_per_class=3)
    return tiny_cache.write_cache(tmp_path_factory.mktemp("narrow"), videos=videos, map_shape=(256, 2, 7, 7))


def resolved(
    store: Path,
    method: str,
    *,
    device: torch.device = CPU,
    recipe: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **given: Any,
) -> tuple[Settings, list[str]]:
    cache = FeatureCache.open(store)
    return run_settings(cache, method, PAPER, given, recipe or {}, device=device, head_options=options)


@pytest.mark.parametrize("method", ["ta2n", "sc", "trx", "tsn++"])
def test_a_cpu_trains_heads_that_learn_on_a_projection(wide: Path, method: str) -> None:
    settings, notes = resolved(wide, method)
    assert settings.options["project"] == 256
    assert len(notes) == 1
    assert f"--project 0 trains on all {WIDE} channels" in notes[0]


def test_where_it_is_not(wide: Path, narrow: Path) -> None:
    for settings, notes in (
        resolved(wide, "ta2n", device=GPU),
        resolved(wide, "ta2n", project=0),
        resolved(wide, "ta2n", recipe={"project": 0}),
        resolved(wide, "protonet"),
        resolved(wide, "otam"),
        resolved(narrow, "ta2n"),
    ):
        assert "project" not in settings.options
        assert notes == []


def test_what_is_said_is_heard(wide: Path) -> None:
    assert resolved(wide, "ta2n", project=16)[0].options["project"] == 16
    assert resolved(wide, "ta2n", recipe={"project": 32})[0].options["project"] == 32
    assert resolved(wide, "ta2n", project=16, recipe={"project": 32})[0].options["project"] == 16
    assert resolved(wide, "ta2n", project=0, recipe={"project": 32})[0].options.get("project") is None
    assert resolved(wide, "ta2n", options={"project": 8})[0].options["project"] == 8
    assert resolved(wide, "protonet", project=16)[0].options["project"] == 16
    assert resolved(wide, "ta2n", project=16, device=GPU) == resolved(wide, "ta2n", project=16)


def test_a_head_that_cannot_be_built_is_left_to_training(wide: Path, tmp_path: Path) -> None:
    assert resolved(wide, "ta2n", frames=2)[0].options.get("project") is None
    with pytest.raises(InputError, match="TTM pools time and space"):
        ta2n.train_head(wide, "ta2n", frames=2, out=tmp_path, device="cpu", **SHORT)


def test_dropout_is_for_heads_that_have_it(narrow: Path) -> None:
    assert resolved(narrow, "ta2n", dropout=0.25)[0].options["dropout"] == 0.25
    assert resolved(narrow, "ta2n")[0].options["dropout"] == PAPER.dropout
    settings, notes = resolved(narrow, "protonet", dropout=0.25)
    assert settings.options == {}
    assert notes == ["note: protonet has no dropout; --dropout is not used"]
    assert resolved(narrow, "protonet")[1] == []


def test_the_store_and_the_method_decide_the_rest(narrow: Path) -> None:
    settings, _ = resolved(narrow, "tsn++", shot=3, recipe={"lr": 0.5, "episodes": 7}, epochs=2)
    assert (settings.frames, settings.objective, settings.shot) == (2, "base", 3)
    assert (settings.learning_rate, settings.episodes_per_epoch, settings.epochs) == (0.5, 7, 2)


def trained(store: Path, out: Path, *flags: str) -> Result:
    short = [text for name, value in SHORT.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    arguments = ["train-head", "--cache", str(store), "--device", "cpu", "--method", "sc", "--out", str(out)]
    made = CliRunner().invoke(app, [*arguments, *short, *flags])
    assert made.exit_code == 0, made.output
    return made


def test_the_projection_is_told_and_kept_in_the_checkpoint(wide: Path, tmp_path: Path) -> None:
    made = trained(wide, tmp_path / "a")
    assert made.stderr.count("--project 0 trains on all") == 1
    about = load_checkpoint(tmp_path / "a").metadata
    assert about["settings"]["options"]["project"] == about["head"]["project"] == 256
    ta2n.train_head(wide, "sc", out=tmp_path / "b", device="cpu", **SHORT)
    assert (tmp_path / "a" / "best.safetensors").read_bytes() == (tmp_path / "b" / "best.safetensors").read_bytes()


def test_project_0_trains_on_all_channels(wide: Path, tmp_path: Path) -> None:
    made = trained(wide, tmp_path / "a", "--project", "0")
    assert "--project 0" not in made.stderr
    about = load_checkpoint(tmp_path / "a").metadata
    assert "project" not in about["head"]
    assert about["head"]["channels"] == WIDE


def test_the_untrained_method_is_measured_as_it_is(wide: Path) -> None:
    notes: list[str] = []
    shape: dict[str, Any] = {"way": 2, "test_episodes": 5, "device": "cpu"}
    plain = ta2n.evaluate(wide, method="sc", on_note=notes.append, **shape)
    assert notes == []
    zero = ta2n.evaluate(wide, method="sc", project=0, **shape)
    assert (plain.scores[0].accuracies == zero.scores[0].accuracies).all()


def test_a_table_has_the_same_default_and_says_so(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--way", "2", "--queries", "1", "--epochs", "1", "--episodes", "1", "--test-episodes", "3"]
    arguments = ["table", "--cache", str(wide), "--only", "toy,sc,protonet", "--shot", "1", "--device", "cpu"]
    made = CliRunner().invoke(app, [*arguments, *flags])
    assert made.exit_code == 0, made.output
    assert made.stderr.count("--project 0 trains on all") == 1
    assert "are trained on a projection to 256 channels" in (tmp_path / "runs" / "table" / "table.md").read_text()
