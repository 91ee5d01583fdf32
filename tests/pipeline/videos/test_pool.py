"""The decoding processes: order, bounded look-ahead, and that no clip can hang, crash or outlive the run."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_decoders import obey

from ta2n.cache_schema.errors import InputError, WorkerError
from ta2n.pipeline.videos.decode import DecodedClip, DecodeJob, FailedClip
from ta2n.pipeline.videos.pool import DecodePool

SUPPORT = Path(__file__).resolve().parents[2] / "support"


def job(clip_id: str) -> DecodeJob:
    return DecodeJob(clip_id, Path("clip.avi"), "tsn", 1, 1, 0, None)


def reasons(pool: DecodePool, *clip_ids: str) -> list[str]:
    """The reason of each clip, "" for a decoded one."""
    answers = list(pool.map(job(clip_id) for clip_id in clip_ids))
    assert [answer.clip_id for answer in answers] == list(clip_ids)
    return [answer.reason if isinstance(answer, FailedClip) else "" for answer in answers]


def test_clips_come_back_in_order_and_a_bad_one_costs_itself_only() -> None:
    with DecodePool(workers=2, decode=obey) as pool:
        assert reasons(pool, "a", "exit", "b", "abort", "c", "raise", "print", "d") == [
            "",
            "clip.avi: the decoding process ended with exit code 3.",
            "",
            "clip.avi: the decoding process was killed by signal SIGKILL.",
            "",
            "clip.avi: unexpected RuntimeError while decoding: surprise",
            "",
            "",
        ]


def test_a_clip_that_hangs_is_given_up_at_the_deadline() -> None:
    with DecodePool(workers=1, deadline_seconds=0.5, decode=obey) as pool:
        more = "`ta2n extract --retry-failed --deadline SECONDS` gives it more"
        assert reasons(pool, "a", "hang", "b") == ["", f"clip.avi: not decoded within 0.5 s; {more}.", ""]


@pytest.mark.parametrize("seconds", [float("inf"), 1e300])
def test_a_deadline_beyond_what_a_thread_can_wait_is_none(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    with DecodePool(workers=1, deadline_seconds=seconds, decode=obey) as pool:
        assert reasons(pool, "a", "b") == ["", ""]
    assert raised == []


def test_a_process_that_died_while_idle_costs_no_clip() -> None:
    with DecodePool(workers=1, decode=obey) as pool:
        (first,) = reasons(pool, "pid")
        os.kill(int(first), signal.SIGKILL)
        os.waitid(os.P_PID, int(first), os.WEXITED | os.WNOWAIT)
        assert reasons(pool, "a") == [""]


def test_a_process_is_replaced_after_its_share_of_clips() -> None:
    with DecodePool(workers=1, clips_per_process=2, decode=obey) as pool:
        pids = reasons(pool, *["pid"] * 5)
    assert [pids.index(pid) for pid in pids] == [0, 0, 2, 2, 4]


def test_jobs_are_taken_no_further_ahead_than_the_look_ahead() -> None:
    taken: list[str] = []

    def jobs() -> Iterator[DecodeJob]:
        for i in range(20):
            taken.append(str(i))
            yield job(str(i))

    with DecodePool(workers=2, decode=obey) as pool:
        for given, answer in enumerate(pool.map(jobs())):
            assert answer.clip_id == str(given)
            assert len(taken) == min(given + pool.look_ahead, 20)


def test_processes_import_no_torch() -> None:
    with DecodePool(workers=1, decode=obey) as pool:
        modules = set(reasons(pool, "modules")[0].split())
    assert {"numpy", "decord", "ta2n.pipeline.videos.decode"} <= modules
    assert not modules & {"torch", "torchvision", "zarr", "pipeline"}


def test_no_process_is_left_when_the_consumer_stops_early(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with DecodePool(workers=2, decode=obey) as pool:
        answers = pool.map(job(clip_id) for clip_id in ["pid", f"report:{pipe}", "hang", "hang", "hang"])
        first = next(answers)
        assert isinstance(first, FailedClip)
        reports = pipe.open("rb", buffering=0)  # opens when the child does
        assert reports.read(1) == b"x"
    assert reports.read(1) == b""  # the hanging process is gone
    reports.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(first.reason), 0)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent_even_in_a_hanging_decode(tmp_path: Path, signal_number: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script = textwrap.dedent(f"""
        import signal, sys
        sys.path.append({str(SUPPORT)!r})
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
        from pathlib import Path
        from fake_decoders import obey
        from ta2n.pipeline.videos.decode import DecodeJob
        from ta2n.pipeline.videos.pool import DecodePool
        with DecodePool(workers=1, decode=obey, deadline_seconds=3600) as pool:
            list(pool.map([DecodeJob("report:{pipe}", Path("clip.avi"), "tsn", 1, 1, 0, None)]))
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    with pipe.open("rb", buffering=0) as reports:  # opens when the child does
        assert reports.read(1) == b"x"
        parent.send_signal(signal_number)
        assert reports.read(1) == b""  # the last writer is gone
    assert parent.wait() == -signal_number


def test_a_process_that_cannot_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(job: DecodeJob) -> DecodedClip:
        raise NotImplementedError

    module = types.ModuleType("only_in_the_parent")
    module.decode = decode  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_in_the_parent", module)
    decode.__module__, decode.__qualname__ = "only_in_the_parent", "decode"
    with (
        DecodePool(workers=2, decode=decode) as pool,
        pytest.raises(WorkerError, match=r"cannot start: ModuleNotFoundError: No module named 'only_in_the_parent'"),
    ):
        list(pool.map([job("a"), job("b"), job("c")]))


def test_an_interpreter_that_fails_at_once_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with (
        DecodePool(workers=1, decode=obey) as pool,
        pytest.raises(WorkerError, match="cannot start: it ended with exit code 1"),
    ):
        list(pool.map([job("a")]))


def test_a_closed_pool_can_be_closed_again() -> None:
    pool = DecodePool(workers=1, decode=obey)
    assert reasons(pool, "a") == [""]
    pool.close()
    pool.close()


@pytest.mark.parametrize(("workers", "deadline_seconds"), [(0, 30.0), (1, 0.0)])
def test_numbers_that_make_no_sense_are_refused(workers: int, deadline_seconds: float) -> None:
    with pytest.raises(InputError, match=r"workers >= 1, a deadline > 0 s"):
        DecodePool(workers=workers, deadline_seconds=deadline_seconds, decode=obey)
