"""What the command asks of system libraries."""

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ta2n.cli.process import prepare_process


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What a C library that only listens is asked."""
    calls: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *given: calls.append(given))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    for name in ("OMP_WAIT_POLICY", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_threads_sleep_and_memory_stays(asked: list[tuple[int, int]]) -> None:
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert dict(asked) == {-3: 1 << 30, -1: 2**31 - 1}


def test_what_the_user_chose_is_left_alone(asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000")
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert not asked


def test_a_library_without_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    prepare_process()


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_the_system_library_takes_the_values() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("not glibc")
    code = "import ctypes; c = ctypes.CDLL(None); print(c.mallopt(-3, 1 << 30), c.mallopt(-1, 2**31 - 1))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["1", "1"]
