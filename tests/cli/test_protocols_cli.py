"""Protocols, recipes and lists of episodes as flags."""

import json
from pathlib import Path

import pytest
import tiny_cache
from PIL import Image
from typer.testing import CliRunner, Result

from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.training.checkpoint import load_checkpoint


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def feats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feats")
    tiny_cache.write_cache(folder, map_shape=(6, 4, 7, 7), signal=0.3)
    return folder


def test_flag_before_recipe_before_protocol(feats: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'protocol = "ta2n-code"\n[train]\nway = 3\nepisodes = 2\nepochs = 2\nlr = 0.5\nval_episodes = 3\nqueries = 2\n'
    )
    made = run(
        "train-head", "--cache", feats, "--recipe", recipe, "--method", "sc", "--lr", "0.001", "--out", tmp_path / "a"
    )
    assert made.exit_code == 0, made.output
    assert "protocol ta2n-code" in made.stderr
    assert "ours are chosen on val" in made.stderr
    settings = load_checkpoint(tmp_path / "a").metadata["settings"]
    assert (settings["way"], settings["episodes_per_epoch"], settings["epochs"]) == (3, 2, 2)
    assert (settings["learning_rate"], settings["accumulate"], settings["options"]["dropout"]) == (0.001, 16, 0.5)


def test_a_protocol_decides_what_is_extracted(tmp_path: Path) -> None:
    for label in "abcdef":
        for clip in range(2):
            folder = tmp_path / "clips" / label / str(clip)
            folder.mkdir(parents=True)
            for frame in range(3):
                Image.new("RGB", (320, 240), (40 * frame, 60, 10 * clip)).save(folder / f"{frame}.png")
    common = ("--dataset", tmp_path / "clips", "--backbone", "resnet18", "--weights", "random", "--frames", "2")
    made = run("extract", *common, "--cache", tmp_path / "code", "--protocol", "ta2n-code")
    assert made.exit_code == 0, made.output
    manifest = FeatureCache.open(tmp_path / "code").manifest
    assert manifest.sampling["rule"] == "linspace"
    assert manifest.preprocessing == {"resize": 256, "crop": 224, "flip": False, "mean": [0, 0, 0], "std": [1, 1, 1]}
    other = run("extract", *common, "--cache", tmp_path / "paper", "--resize", "256x341")
    assert other.exit_code == 0, other.output
    manifest = FeatureCache.open(tmp_path / "paper").manifest
    assert (manifest.sampling["rule"], manifest.preprocessing["resize"]) == ("tsn", [256, 341])

    refused = run("extract", *common, "--cache", tmp_path / "code")
    assert refused.exit_code == 2
    assert "sampling.rule: linspace -> tsn" in refused.stderr
    settings = ("--way", "2", "--queries", "1", "--episodes", "1", "--epochs", "1", "--val-episodes", "0")
    trained = run("train-head", "--cache", tmp_path / "code", "--method", "sc", "--out", tmp_path / "run", *settings)
    assert trained.exit_code == 0, trained.output
    mixed = run("evaluate", "--cache", tmp_path / "paper", "--checkpoint", tmp_path / "run", "--queries", "1")
    assert mixed.exit_code == 2
    assert "rule: linspace -> tsn" in mixed.stderr


def test_the_episodes_of_a_file(feats: Path, tmp_path: Path) -> None:
    common = ("evaluate", "--cache", feats, "--method", "protonet", "--json")
    file = tmp_path / "lists" / "episodes.json.gz"
    shape = ("--way", "3", "--test-episodes", "40", "--seed", "4")
    drawn = run(*common, *shape, "--episodes-file", file)
    assert drawn.exit_code == 0, drawn.output
    assert "was not there: wrote 40 episodes to it" in drawn.stderr
    listed = run(*common, "--episodes-file", file)
    assert listed.exit_code == 0, listed.output
    first, second = json.loads(drawn.stdout), json.loads(listed.stdout)
    assert first["results"][0]["accuracy"] == second["results"][0]["accuracy"]
    assert (second["way"], second["shot"], second["episodes"], second["seed"]) == (3, 1, 40, 4)
    fewer = json.loads(run(*common, "--episodes-file", file, "--test-episodes", "10").stdout)
    assert fewer["episodes"] == 10
    for flags in (("--way", "5"), ("--test-episodes", "41"), ("--seed", "0")):
        refused = run(*common, "--episodes-file", file, *flags)
        assert refused.exit_code == 2
        assert "leave it out" in refused.stderr


def test_the_spelling_of_before_is_told(feats: Path) -> None:
    common = ("evaluate", "--cache", feats, "--method", "protonet", "--way", "3", "--json")
    before, now = (run(*common, flag, "10") for flag in ("--episodes", "--test-episodes"))
    assert "note: --episodes is called --test-episodes now" in before.stderr
    assert "is called" not in now.stderr
    one, other = (json.loads(made.stdout)["results"][0]["accuracy"] for made in (before, now))
    assert one == other
    both = run(*common, "--episodes", "10", "--test-episodes", "10")
    assert both.exit_code == 2
    assert "are one option" in both.stderr


def test_an_unknown_protocol(feats: Path) -> None:
    made = run("train-head", "--cache", feats, "--protocol", "mine")
    assert made.exit_code == 2
    assert "choose one of ta2n-paper, ta2n-code, trx" in made.stderr
