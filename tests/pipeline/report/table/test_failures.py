"""A run that fails for any reason is a row with that reason; the others are what they would be without it."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_cache
import torch

from ta2n.cache_schema.errors import BusyError, InputError, WorkerError
from ta2n.cache_schema.lock import writing
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.report.table import runs as runs_module
from ta2n.pipeline.report.table import tested
from ta2n.pipeline.report.table.episodes import TestEpisodes
from ta2n.pipeline.report.table.failures import Failure, attempt, reason_of
from ta2n.pipeline.report.table.fill import TablePlan, fill, fill_from
from ta2n.pipeline.report.table.rows import TableRow
from ta2n.pipeline.report.table.runs import FailedRun, compare
from ta2n.pipeline.training.settings import Settings

CPU = torch.device("cpu")
TEST = TestEpisodes(episodes=8, queries=1)
METHODS = ("protonet", "otam", "tsn++")


def _allocator(*_: object) -> None:
    torch.empty(1 << 60)


def _raise(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


FAILURES: dict[str, tuple[Callable[..., None], str]] = {
    "memory": (_raise(MemoryError()), "out of memory (MemoryError)"),
    "torch's allocator": (_allocator, "out of memory ("),
    "a GPU's memory": (
        _raise(torch.OutOfMemoryError("CUDA out of memory.\nTried")),
        "out of memory (CUDA out of memory. T",
    ),
    "a full disk": (_raise(OSError(errno.ENOSPC, "No space left on device", "f")), "the disk is full"),
    "bad input": (_raise(InputError("training diverged")), "training diverged"),
    "a killed worker": (_raise(WorkerError("the decoder was killed")), "the decoder was killed"),
    "another writer": (_raise(BusyError("x: is written")), "x: is written"),
    "a bug": (_raise(KeyError("a\nb")), "unexpected KeyError: "),
    "torch's own": (_raise(RuntimeError("size mismatch")), "unexpected RuntimeError: size mismatch"),
    "no end": (_raise(RecursionError("too deep")), "unexpected RecursionError"),
}


def settings_of(method: str, shot: int = 1, seed: int = 0) -> Settings:
    return Settings(
        method=method, way=3, shot=shot, queries=2, frames=4, epochs=1, episodes_per_epoch=2, val_episodes=2, seed=seed
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache.write_cache(tmp_path_factory.mktemp("feats"), map_shape=(6, 4, 3, 3))


@pytest.fixture
def cache(store: Path) -> FeatureCache:
    return FeatureCache.open(store)


def plan(folder: Path) -> TablePlan:
    return TablePlan(
        rows=[TableRow(method, method.upper(), {}, {}, folder) for method in METHODS],
        shots=[1],
        seeds=[0, 1],
        settings=lambda _, row, shot, seed: settings_of(row.method, shot, seed),
        test=TEST,
        runs=folder / "runs",
        tuned=folder / "tuned",
        device=CPU,
    )


def break_otam(monkeypatch: pytest.MonkeyPatch, stage: str, fail: Callable[..., None]) -> None:
    """Lets OTAM fail where it is trained, tested or measured."""
    module: Any = runs_module if stage == "train_head" else tested
    done = getattr(module, stage)

    def broken(*arguments: Any, **options: Any) -> Any:
        names = [getattr(one, "method", type(one).__name__.lower()) for one in arguments[:2]]
        if "otam" in names:
            fail()
        return done(*arguments, **options)

    monkeypatch.setattr(module, stage, broken)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_row_has_its_reason_and_the_others_go_on(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fail, reason = FAILURES[name]
    break_otam(monkeypatch, "train_head", fail)
    protonet, otam, tsn = fill(cache, plan(tmp_path))
    assert otam.runs == ()
    assert reason in otam.missing
    assert "\n" not in otam.missing
    assert len(protonet.runs) == len(tsn.runs) == 2
    rows = compare(cache, [settings_of(method) for method in METHODS], tmp_path / "compared", TEST, device=CPU)
    assert rows[1] == FailedRun("otam", 1, otam.missing)
    assert not isinstance(rows[2], FailedRun)
    assert rows[2].difference is not None
    assert rows[2].accuracies.tolist() == tsn.runs[0].accuracies.tolist()


@pytest.mark.parametrize("stage", ["train_head", "evaluate", "measure_costs"])
def test_wherever_it_fails(cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    break_otam(monkeypatch, stage, _raise(MemoryError()))
    entries = fill(cache, plan(tmp_path))
    assert [bool(entry.runs) for entry in entries] == [True, False, True]
    monkeypatch.undo()
    # What could not be done is done by the next call, and nothing else.
    again = fill(cache, plan(tmp_path))
    assert all(len(entry.runs) == 2 for entry in again)
    assert again[2].runs == entries[2].runs


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), BrokenPipeError()])
def test_what_is_meant_to_end_the_program_ends_it(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    break_otam(monkeypatch, "train_head", _raise(error))
    with pytest.raises(type(error)):
        fill(cache, plan(tmp_path))
    with pytest.raises(type(error)):
        compare(cache, [settings_of("otam")], tmp_path / "compared", TEST, device=CPU)


def test_a_store_that_cannot_be_opened_is_a_reason_for_each_of_its_rows(store: Path, tmp_path: Path) -> None:
    entries = fill_from("lost", tmp_path / "lost.zarr", plan(tmp_path))
    assert [entry.method for entry in entries] == list(METHODS)
    assert all("no feature store there" in entry.missing for entry in entries)
    assert all(entry.runs for entry in fill_from("toy", store, plan(tmp_path)))


def test_all_failed_is_an_error_of_the_first(cache: FeatureCache, tmp_path: Path) -> None:
    # 8 clips of a class: 8 shots and 2 queries cannot be drawn.
    with pytest.raises(InputError, match=r"at least 8 \+ 1 = 9 usable clips"):
        compare(cache, [settings_of(method, 8) for method in METHODS], tmp_path, TEST, device=CPU)
    rows = compare(cache, [settings_of("otam", 8), settings_of("otam")], tmp_path, TEST, device=CPU)
    assert [isinstance(row, FailedRun) for row in rows] == [True, False]


def test_episodes_that_cannot_be_drawn_cost_no_training(cache: FeatureCache, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the test split cannot give"):
        compare(cache, [settings_of("tsn++", 8)], tmp_path / "runs", TEST, device=CPU)
    assert not (tmp_path / "runs" / "tsn++-8shot").exists()


def test_two_comparisons_never_write_into_one_folder(cache: FeatureCache, tmp_path: Path) -> None:
    with writing(tmp_path / "runs", "ta2n train-head"), pytest.raises(BusyError, match="ta2n train-head"):
        compare(cache, [settings_of("otam")], tmp_path / "runs", TEST, device=CPU)
    assert not (tmp_path / "runs").exists()


def test_a_failed_call_lets_go_of_what_it_held() -> None:
    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1
            self.itself = self  # a circle, as a graph of gradients may be

        def __del__(self) -> None:
            Held.alive -= 1

    def fail() -> None:
        held = Held()
        raise MemoryError(repr(held.alive))

    assert attempt(fail) == Failure("out of memory (1)")
    assert Held.alive == 0
    assert attempt(lambda: 3) == 3


def test_a_reason_is_one_line_of_bounded_length() -> None:
    long = RuntimeError("\n".join(["C++ trace"] * 500))
    assert len(reason_of(long)) <= 400
    assert "\n" not in reason_of(long)
