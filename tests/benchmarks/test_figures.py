"""Figures of the documents, from one file of records."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from figures import COMMANDS, FiguresError, documents, fill, generic_tables, main, rendered, write

ROOT = Path(__file__).resolve().parents[2]
DEMO = {
    "ProtoNet": {"mean": 0.5, "interval": 0.01, "episodes": 9},
    "TA2N": {"mean": 0.75, "interval": 0.02, "episodes": 9},
}
PAGE = "# Ours\n<!-- figures: demo -->\nold\n<!-- end figures -->\nand more\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(PAGE)
    (tmp_path / "docs" / "other.md").write_text("nothing to fill\n")
    return tmp_path


def given(monkeypatch: pytest.MonkeyPatch, tree: Path, name: str, printed: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(printed)))
    assert main(["--root", str(tree), "collect", name, "-"]) == 0


def test_our_documents_say_what_the_records_say() -> None:
    assert write(ROOT, check=True) == []
    shown = [document.name for document in documents(ROOT) if "<!-- figures: demo -->" in document.read_text()]
    assert shown == ["README.md", "results.md"]


def test_what_the_demo_prints_becomes_a_block(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, tree, "demo", DEMO)
    assert main(["--root", str(tree), "write", "--check"]) == 1
    assert capsys.readouterr().out.startswith("README.md: demo differs")
    assert (tree / "README.md").read_text() == PAGE
    assert main(["--root", str(tree), "write"]) == 0
    text = (tree / "README.md").read_text()
    assert "| TA2N | 75.0 ± 2.0 % |\n" in text
    assert "against" not in text
    assert "old" not in text
    assert text.startswith("# Ours\n")
    assert text.endswith("<!-- end figures -->\nand more\n")
    assert main(["--root", str(tree), "write", "--check"]) == 0


def test_other_figures_make_another_block(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, tree, "demo", DEMO)
    write(tree)
    before = (tree / "README.md").read_text()
    given(monkeypatch, tree, "demo", DEMO | {"TA2N": DEMO["TA2N"] | {"mean": 0.7}})
    assert write(tree) == ["README.md: demo"]
    assert (tree / "README.md").read_text() == before.replace("75.0 ± 2.0", "70.0 ± 2.0")


def test_a_record_says_when_and_where_but_names_no_machine(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, tree, "demo", DEMO)
    record = json.loads((tree / "docs" / "figures.json").read_text())["demo"]
    assert record.keys() == {"command", "measured", "machine", "versions", "values"}
    assert record["machine"].keys() == {"cores", "cpu", "amx_bf16"}
    assert {"python", "torch"} <= record["versions"].keys()
    assert record["command"] == "ta2n demo --json"


def test_a_benchmark_says_itself_where_it_ran(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {"cpu": "another", "cores": 96, "system": "Linux", "load": [1, 1, 1], "versions": {"torch": "9.9"}}
    given(monkeypatch, tree, "startup", {"machine": machine, "rows": [{"what": "python", "s": 0.02}]})
    record = json.loads((tree / "docs" / "figures.json").read_text())["startup"]
    assert record["machine"] == {"cores": 96, "cpu": "another", "amx_bf16": None}
    assert record["values"] == {"rows": [{"what": "python", "s": 0.02}]}
    assert "96 cores (another), torch 9.9." in rendered("startup", {"startup": record})


def test_differences_are_shown_where_they_were_written_down() -> None:
    values = DEMO | {"TA2N": DEMO["TA2N"] | {"difference": {"mean": -0.25, "interval": 0.01}}}
    record = {"command": "c", "measured": "d", "machine": {"cores": 1, "cpu": "p", "amx_bf16": True}, "versions": {}}
    text = rendered("demo", {"demo": {**record, "values": values}})
    assert "| ProtoNet | 50.0 ± 1.0 % |  |\n" in text
    assert "| TA2N | 75.0 ± 2.0 % | −25.0 ± 1.0 % |\n" in text


def test_rows_of_other_columns_begin_another_table() -> None:
    first, second = generic_tables(
        {"shape": [16, 8], "rows": [{"a": 1234, "b": 0.12345}, {"c": "x"}, {"a": 1, "b": 2000.4}]}
    )
    assert first == "| a | b |\n| --- | --- |\n| 1,234 | 0.123 |\n| 1 | 2,000 |\n"
    assert second == "| c |\n| --- |\n| x |\n"
    both = generic_tables({"sizes": {"none": 5}, "cold": None, "warm": [{"a": 1}]})
    assert both == ["**sizes**\n\n| none |\n| --- |\n| 5 |\n", "**warm**\n\n| a |\n| --- |\n| 1 |\n"]
    assert generic_tables({"evaluation": {"episodes": 10}}) == ["| episodes |\n| --- |\n| 10 |\n"]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_never_measured_says_so(name: str) -> None:
    assert COMMANDS[name] in rendered(name, {})


def test_unknown_records_and_open_blocks_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FiguresError, match="'nonsense' is not a record"):
        fill(PAGE.replace("demo", "nonsense"), {})
    with pytest.raises(FiguresError, match="has no"):
        fill(PAGE.replace("<!-- end figures -->", ""), {})
    with pytest.raises(FiguresError, match="holds list"):
        given(monkeypatch, tree, "demo", [1])
    monkeypatch.setattr("sys.stdin", io.StringIO("| a table |"))
    with pytest.raises(FiguresError, match="not JSON"):
        main(["--root", str(tree), "collect", "demo", "-"])
