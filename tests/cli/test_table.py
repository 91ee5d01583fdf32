"""``ta2n table``: from stores to files, resumed, planned, and honest about what is not there."""

import json
from pathlib import Path

import pytest
import tiny_cache
import typer
from typer.testing import CliRunner, Result

from ta2n.cli.app import app
from ta2n.cli.sources import extract_found
from ta2n.pipeline.datasets.sources import Sources

SHORT = ("--way", "3", "--queries", "2", "--epochs", "1", "--episodes", "4", "--test-episodes", "20")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no data set named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TA2N_DATA", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def feats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feats")
    tiny_cache.write_cache(folder, map_shape=(6, 4, 7, 7), signal=0.5)
    return folder


def test_a_table_of_a_store_of_ones_own(feats: Path, nowhere: Path) -> None:
    arguments = ("table", "--cache", feats, "--only", "toy,tsn++,protonet", "--shot", "1,3", "--seed", "0,1", *SHORT)
    made = run(*arguments)
    assert made.exit_code == 0, made.output
    assert "toy, 3-way 1-shot" in made.stdout
    assert "toy, 3-way 3-shot" in made.stdout
    assert "TSN++, 3-shot, seed 1 (8 of 8)" in made.stderr
    table = nowhere / "runs" / "table"
    assert {file.name for file in table.glob("table.*")} == {f"table.{e}" for e in ("md", "tex", "html", "csv", "json")}
    values = json.loads(run(*arguments, "--json").stdout)["results"]
    assert values == json.loads((table / "table.json").read_text())["results"]
    assert [(row["method"], row["shot"], row["seeds"]) for row in values] == [
        ("protonet", 1, 2), ("tsn++", 1, 2), ("protonet", 3, 2), ("tsn++", 3, 2),
    ]  # fmt: skip
    assert values[0]["against_protonet"] is None
    assert values[1]["against_protonet"] is not None


def test_what_cannot_be_done_has_its_reason_and_the_rest_goes_on(feats: Path, nowhere: Path) -> None:
    # 8 clips of a class: 7 shots and 2 training queries do not go, 1 shot does.
    made = run("table", "--cache", feats, "--only", "toy,protonet", "--shot", "7,1", "--json", *SHORT)
    assert made.exit_code == 0, made.output
    seven, one = json.loads(made.stdout)["results"]
    assert seven["accuracy"] is None
    assert "9" in seven["missing"]
    assert one["missing"] is None
    alone = run("table", "--cache", feats, "--only", "toy,protonet", "--shot", "1", "--json", *SHORT)
    assert one["accuracy"] == json.loads(alone.stdout)["results"][0]["accuracy"]


def test_the_papers_data_sets_that_are_not_there_say_so(feats: Path, nowhere: Path) -> None:
    made = run("table", "--cache", feats, "--only", "toy,ucf101,ta2n,protonet", "--shot", "1", "--json", *SHORT)
    assert made.exit_code == 0, made.output
    rows = {(row["dataset"], row["method"]): row for row in json.loads(made.stdout)["results"]}
    assert rows["ucf101", "ta2n"]["accuracy"] is None
    assert rows["ucf101", "ta2n"]["missing"].startswith(f"no features in {feats}; where are the clips")
    assert rows["ucf101", "ta2n"]["published"] == pytest.approx(0.819)
    assert rows["toy", "ta2n"]["accuracy"] is not None
    assert rows["toy", "ta2n"]["published"] is None


def test_the_plan_of_a_table(feats: Path, nowhere: Path) -> None:
    made = run("table", "--cache", feats, "--dry-run", *SHORT)
    assert made.exit_code == 0, made.output
    assert "runs to do, at most" in made.stdout
    assert "hmdb51" in made.stdout
    assert not (nowhere / "runs").exists()


def test_without_any_data_the_demos_clips_and_the_way_to_the_real_table(nowhere: Path) -> None:
    made = run("table", "--dry-run")
    assert made.exit_code == 0, made.output
    assert "400 clips to render" in made.stdout
    for command in ("ta2n dataset check ucf101", "ta2n extract --dataset ucf101", "ta2n table --cache feats"):
        assert command in made.stderr
    assert not any(nowhere.iterdir())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device", "hmdb51.zarr"), "the disk is full; free some space"),
        (typer.Exit(1), "no clip could be used"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_data_set_that_cannot_be_extracted_is_a_reason_and_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def extract(*, dataset: str, **_: object) -> None:
        if dataset == "hmdb51":
            raise error

    monkeypatch.setattr("ta2n.cli.extract.extract", extract)
    videos = tiny_cache.table(1, 1)
    found = Sources(found={"hmdb51": videos, "ucf101": videos})
    extract_found(found, tmp_path, None, None, "cpu")
    assert found.stores == {"ucf101": tmp_path / "ucf101.zarr"}
    assert reason in found.missing["hmdb51"]
    assert not found.found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "ucf102"), "neither a method of the recipes nor a data set"),
        (("--shot", "one"), "expected whole numbers"),
        (("--recipes", "nothing"), "holds no recipe"),
    ],
)
def test_bad_input(nowhere: Path, arguments: tuple[str, ...], message: str) -> None:
    made = run("table", *arguments)
    assert made.exit_code == 2
    assert message in made.stderr


def test_the_spellings_of_before_are_told(feats: Path, nowhere: Path) -> None:
    common = ("table", "--cache", feats, "--only", "toy,protonet", *SHORT, "--json")
    before = run(*common, "--shots", "2", "--seeds", "3")
    assert before.exit_code == 0, before.output
    assert "--shots is called --shot now" in before.stderr
    assert "--seeds is called --seed now" in before.stderr
    now = run(*common, "--shot", "2", "--seed", "3")
    assert "is called" not in now.stderr
    assert json.loads(now.stdout)["results"] == json.loads(before.stdout)["results"]
    both = run(*common, "--shot", "2", "--shots", "2")
    assert both.exit_code == 2
    assert "--shot and --shots are one option" in both.stderr
