"""A short sample of the kills, and that a trial which fails is seen to fail."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from _processes import BROKEN, Writes, kill, start, tear
from _sample import run_sample
from _store import differences
from _trials import Trial, run_trials


def test_a_few_commands_that_are_killed_end_as_if_they_had_not_been() -> None:
    found = run_sample("kills.py", "--count", "3", "--seed", "1", "--kinds", "extract,train-head,export")
    assert found.splitlines()[-1].split() == ["in", "all", "3", "3", "0"]


def write_three(folder: Path) -> int:
    for name in ("a", "b", "c"):
        (folder / name).write_text("whole")
    return 0


@pytest.mark.parametrize("act", [kill, tear])
def test_a_process_is_killed_at_the_write_that_was_chosen(tmp_path: Path, act: object) -> None:
    out = tmp_path / "out"
    out.mkdir()
    ended = start(lambda: write_three(out), tmp_path / "log", writes=Writes(out, 2, act)).wait()  # type: ignore[arg-type]
    assert ended.code == -signal.SIGKILL
    found = {file.name: file.read_text() for file in out.iterdir()}
    assert found == {"a": "whole"} | ({"b": "torn" * 100} if act is tear else {})


def test_writes_are_counted_and_output_is_kept(tmp_path: Path) -> None:
    def work() -> int:
        os.write(1, b"said")
        os.write(2, b"first\nlast\n")
        return write_three(tmp_path)

    ended = start(work, tmp_path / "log", writes=Writes(tmp_path / "a")).wait()
    assert (ended.code, ended.stdout, ended.error) == (0, "said", "exit code 0: last")
    assert (tmp_path / "log.writes").read_text() == "1"


def test_a_child_that_breaks_says_why(tmp_path: Path) -> None:
    def work() -> int:
        raise LookupError("no work")

    ended = start(work, tmp_path / "log").wait()
    assert ended.error == f"exit code {BROKEN}: LookupError: no work"


def test_two_folders_are_compared_by_names_and_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "deep" / "same").write_text("same")
        (tmp_path / folder / f".{folder}.lock").touch()
    assert differences(tmp_path / "one", tmp_path / "two") == ""
    (tmp_path / "two" / ".x.partial").touch()
    (tmp_path / "two" / "empty").mkdir()
    (tmp_path / "one" / "gone").touch()
    (tmp_path / "two" / "deep" / "same").write_text("other")
    found = differences(tmp_path / "one", tmp_path / "two")
    assert found == "left over: .x.partial, empty (2); lost: gone (1); other bytes: deep/same (1)"


def test_the_table_counts_and_the_exit_code_tells(capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[float] = []

    def held(rng: np.random.Generator, folder: Path) -> str:
        assert not list(folder.iterdir())
        drawn.append(rng.random())
        return ""

    def prepare(folder: Path, kinds: Sequence[str]) -> Mapping[str, Trial]:
        return {"sound": held, "broken": lambda rng, folder: "it broke"}

    assert run_trials("", ["sound", "broken"], prepare, count=3, given=["--seed", "5"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["sound", "2", "2", "0"],
        ["broken", "1", "0", "1"],
        ["in", "all", "3", "2", "1"],
    ]
    assert lines[4] == "broken, trial 1: it broke"
    assert run_trials("", ["sound", "broken"], prepare, count=1, given=["--seed", "5", "--first", "2"]) == 0
    assert drawn[1] == drawn[2] != drawn[0]
