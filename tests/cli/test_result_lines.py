"""What commands say of their numbers: which classes they are of, which rows failed, in JSON that every reader takes."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_cache
from typer.testing import CliRunner, Result

from ta2n.cache_schema.lock import writing
from ta2n.cli.app import app
from ta2n.cli.console import stdout, table
from ta2n.pipeline.training.loop import train_head

SHORT = ("--way", "3", "--queries", "2", "--epochs", "1", "--episodes", "2", "--val-episodes", "2")
# Of six test classes with eight clips each, from row 96 on: test0 keeps one clip, test1 none.
FAILED = (*range(96, 103), *range(104, 112))
SENTENCE = "4 of 6 classes; left out: test0 (1 clip usable, 2 needed), test1 (0 clips usable, 2 needed)"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def compared(feats: Path, methods: str) -> tuple[str | Path, ...]:
    """A call that sets methods side by side."""
    common = ("train-head", "--cache", feats, "--shot", "1", "--test-episodes", "5", "--out", "runs/compared")
    return (*common, *SHORT, "--method", methods)


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def feats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feats")
    tiny_cache.write_cache(folder, map_shape=(6, 4, 3, 3), signal=0.5, failed=FAILED)
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TA2N_DATA", raising=False)
    return tmp_path


def test_evaluate_names_the_classes_that_it_leaves_out(feats: Path) -> None:
    arguments = ("evaluate", "--cache", feats, "--method", "protonet", "--way", "3", "--test-episodes", "5")
    shown = run(*arguments)
    assert shown.exit_code == 0, shown.output
    assert "toy, test (32 clips of 4 of 6 classes): 3-way 1-shot" in shown.stdout
    assert SENTENCE in shown.stdout.splitlines()
    values = strict(run(*arguments, "--json").stdout)
    assert (values["videos"], values["classes"], values["classes_of_split"]) == (32, 4, 6)
    assert values["left_out"] == [
        {"class": "test0", "usable": 1, "needed": 2},
        {"class": "test1", "usable": 0, "needed": 2},
    ]
    whole = run(*arguments, "--split", "train")
    assert "left out" not in whole.stdout
    assert "toy, train (48 clips): 3-way" in whole.stdout


def test_evaluate_of_a_list_names_the_classes_that_are_not_in_it(feats: Path, tmp_path: Path) -> None:
    arguments = (
        "evaluate",
        "--cache",
        feats,
        "--method",
        "protonet",
        "--episodes-file",
        tmp_path / "list.json",
        "--json",
    )
    drawn = strict(run(*arguments, "--way", "3", "--test-episodes", "1").stdout)
    listed = strict(run(*arguments).stdout)
    assert (drawn["classes"], listed["classes"]) == (4, 3)
    assert listed["results"][0]["fingerprint"] == drawn["results"][0]["fingerprint"]


def test_several_methods_side_by_side_name_them_too(feats: Path, nowhere: Path) -> None:
    arguments = compared(feats, "protonet,tsn++")
    shown = run(*arguments)
    assert shown.exit_code == 0, shown.output
    assert "4 of 6" in shown.stdout
    assert f"1-shot: {SENTENCE}" in shown.stdout.splitlines()
    first = strict(run(*arguments, "--json").stdout)["toy"][0]
    assert (first["classes"], first["classes_of_split"], first["failed"]) == (4, 6, None)
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--csv").stdout)))
    assert [row["left_out"] for row in rows] == ["test0; test1"] * 2


def test_the_table_says_so_in_a_cell_and_a_note(feats: Path, nowhere: Path) -> None:
    made = run("table", "--cache", feats, "--only", "toy,protonet", "--shot", "1", *SHORT[:8], "--test-episodes", "5")
    assert made.exit_code == 0, made.output
    assert "4 of 6 [" in made.stdout
    assert any(line.endswith(SENTENCE) for line in made.stdout.splitlines())
    assert SENTENCE in (nowhere / "runs/table/table.md").read_text()


def test_a_failed_run_stands_beside_the_others(feats: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(cache: Any, settings: Any, folder: Path, **options: Any) -> Any:
        if settings.method == "otam":
            raise MemoryError
        return train_head(cache, settings, folder, **options)

    monkeypatch.setattr("ta2n.pipeline.report.table.runs.train_head", broken)
    arguments = compared(feats, "protonet,otam")
    shown = run(*arguments)
    assert shown.exit_code == 0, shown.output
    assert "otam, 1-shot failed: out of memory (MemoryError)" in shown.stdout.splitlines()
    protonet, otam = strict(run(*arguments, "--json").stdout)["toy"]
    assert protonet.keys() == otam.keys()
    assert (otam["method"], otam["accuracy"], otam["failed"]) == ("otam", None, "out of memory (MemoryError)")
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--csv").stdout)))
    assert [(row["method"], row["accuracy"] == "") for row in rows] == [("protonet", False), ("otam", True)]
    made = run(
        "table", "--cache", feats, "--only", "toy,protonet,otam", "--shot", "1", *SHORT[:8], "--test-episodes", "5"
    )
    assert made.exit_code == 0, made.output
    assert "out of memory (MemoryError)" in made.stdout
    assert "out of memory (MemoryError)" in (nowhere / "runs/table/table.md").read_text()


def test_two_tables_never_write_into_one_folder(feats: Path, nowhere: Path) -> None:
    arguments = ("table", "--cache", feats, "--only", "toy,protonet", "--shot", "1", *SHORT[:8], "--test-episodes", "5")
    with writing(Path("runs/table"), "ta2n table"):
        refused = run(*arguments)
        assert refused.exit_code == 2
        (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
        assert "runs/table: ta2n table (process " in line
        assert not Path("runs/table").exists()
        assert run(*arguments, "--out", "runs/other").exit_code == 0
        assert run(*arguments, "--dry-run").exit_code == 0
    assert run(*arguments).exit_code == 0


def test_one_episode_has_no_interval_and_that_is_null(feats: Path, tmp_path: Path) -> None:
    tested = run("evaluate", "--cache", feats, "--method", "protonet", "--against", "otam", "--way", "3",
                 "--test-episodes", "1", "--json")  # fmt: skip
    assert tested.exit_code == 0, tested.output
    values = strict(tested.stdout)
    assert values["results"][0]["interval"] is None
    assert values["paired_difference"]["interval"] is None
    short = (*SHORT[:8], "--val-episodes", "1")
    trained = run("train-head", "--cache", feats, "--method", "tsn++", *short, "--out", tmp_path / "run", "--json")
    assert trained.exit_code == 0, trained.output
    strict(trained.stdout)
    lines = [strict(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["val_interval"] for line in lines] == [None, None]


def test_a_piped_table_is_as_wide_as_its_content(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = [f"{letter * 90} {letter * 90}" for letter in "abc"]
    title = "a title that is longer than the table " * 20
    stdout().print(table(title.strip(), ["short", *(f"column of {one}" for one in long)], [["x", *long], ["y", *long]]))
    lines = capsys.readouterr().out.splitlines()
    assert title.strip() in lines[0]
    assert sum(all(one in line for one in long) for line in lines) == 3
    assert not any("…" in line for line in lines)
