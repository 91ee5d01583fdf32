"""Names are shown as text: never as markup, never as what a terminal obeys."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import ta2n.cli
from ta2n.cli import console

ODD = "fe[bold]ats[/y]\x1b[31m\x07\udcff\u202e"
SHOWN = r"fe[bold]ats[/y]\x1b[31m\x07\xff\u202e"


def test_control_characters_and_odd_bytes_are_shown() -> None:
    assert console.shown(ODD) == SHOWN
    assert console.shown("two\nlines, tab\t, \x9b, \ud800") == "two\nlines, tab\\x09, \\x9b, \\ud800"
    assert console.shown_in_line("two\nlines") == r"two\nlines"
    for plain in ("clip 1.mp4", "Ünïcode 視頻 ×±", "[x]"):
        assert console.shown(plain) == plain


def test_everything_printed_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.say(ODD)
    console.note(ODD)
    console.stdout().print(ODD)
    console.stdout().print(console.table(ODD, [ODD, ODD], [[ODD, ODD]]))
    with console.progress(ODD, 3, ODD) as bar:
        bar(1, ODD)
    out, err = capsys.readouterr()
    assert out.count(SHOWN) == 7
    assert err == f"{SHOWN}\n"
    for text in (out, err):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)


def test_a_bar_takes_no_name_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(console, "stderr", lambda: Console(file=drawn, force_terminal=True, width=200))
    with console.progress("x[/y]\x1b[2J", 3, "clips") as bar:
        bar(1, "a[/b]")
    assert r"x[/y]\x1b[2J" in drawn.getvalue()
    assert "a[/b]" in drawn.getvalue()


def test_a_table_that_is_piped_is_as_wide_as_what_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a-clip-of-a-very-long-name-" * 12
    console.stdout().print(console.table("failed", ["clip", "reason"], [[long, long], ["b", "c"]]))
    lines = capsys.readouterr().out.splitlines()
    assert sum(long in line for line in lines) == 1
    assert "…" not in "".join(lines)
    assert max(map(len, lines)) < 2 * len(long) + 20


def test_json_holds_no_number_without_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": float("inf"), "b": [float("nan"), 1.5], "c": ("x", -float("inf"))})
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [None, 1.5], "c": ["x", None]}


def test_nothing_is_printed_past_the_console() -> None:
    """Every line of a command comes by the one place that shows names as text."""
    folder = Path(str(ta2n.cli.__file__)).parent
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "console.py":
            assert not re.search(r"(?<![\w.])print\(|Console\(|typer\.echo|\bsecho|\brprint", text), file
            writes = re.findall(r"sys\.std(?:out|err)\.write\w*\((.*)\)", text)
            assert all("__version__" in what for what in writes), file
