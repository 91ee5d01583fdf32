"""The lock of a writer: one at a time, named, and gone with its process."""

import subprocess
import sys
from pathlib import Path

import pytest

from ta2n.cache_schema.errors import BusyError
from ta2n.cache_schema.lock import writing

_HOLD = """
import sys, time
from pathlib import Path
from ta2n.cache_schema.lock import writing
with writing(Path(sys.argv[1]), "ta2n extract"):
    print("held", flush=True)
    time.sleep(120)
"""


def _holder(target: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_refused_with_the_holders_name(tmp_path: Path) -> None:
    target = tmp_path / "clips.zarr"
    with _holder(target) as process:
        try:
            named = rf"clips\.zarr: ta2n extract \(process {process.pid} on .* since 20"
            with pytest.raises(BusyError, match=named), writing(target, "ta2n extract"):
                pass
            with writing(tmp_path / "other.zarr", "ta2n extract"):  # another store is nobody's
                pass
        finally:
            process.kill()


def test_the_lock_of_a_killed_writer_is_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "clips.zarr"
    with _holder(target) as process:
        process.kill()
    with writing(target, "ta2n extract"):
        pass


def test_two_threads_or_calls_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with writing(target, "first"), pytest.raises(BusyError, match="first"), writing(target, "second"):
        pass
    with writing(target, "third"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.lock"]


def test_a_waiting_writer_says_for_whom_and_goes_on_when_that_one_ends(tmp_path: Path) -> None:
    target = tmp_path / "clips.zarr"
    said: list[str] = []
    with _holder(target) as process:

        def end_the_other(line: str) -> None:
            said.append(line)
            process.kill()

        with writing(target, "ta2n extract", end_the_other):
            assert said == [line for line in said if f"(process {process.pid} on " in line] != []
    with writing(target, "ta2n extract", said.append):
        assert len(said) == 1  # nobody to wait for
