"""Fills the table from one store: every row, shot and seed, and a reason where there is no number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.report.table.entries import TableEntry
from ta2n.pipeline.report.table.episodes import TestEpisodes, TestSplit
from ta2n.pipeline.report.table.failures import Failure, attempt
from ta2n.pipeline.report.table.kept import OnNote
from ta2n.pipeline.report.table.rows import TableRow
from ta2n.pipeline.report.table.runs import train_and_test
from ta2n.pipeline.report.table.tested import MethodResult
from ta2n.pipeline.report.table.tuned import TunedResult, TunedRuns, find_tuned, tuned_results
from ta2n.pipeline.training.settings import Settings


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """What to fill.

    Attributes:
        rows: of the table.
        shots: numbers of shots K.
        seeds: of training; the test episodes are the same for all.
        settings: the training run of a row with a number of shots and a seed.
        test: the test episodes.
        runs: folder of the runs: ``<data set>/<method>-<K>shot-seed<n>``.
        tuned: folder of runs that were trained end to end, in whatever order; they say themselves what they are of. The
            stores of their backbones' features are in it too, or beside the other stores.
        device: where the heads run.
        scratch: where what does not fit in memory goes; None is beside each run.
        check: whether each map is compared with its digest when it is first read.
    """

    rows: Sequence[TableRow]
    shots: Sequence[int]
    seeds: Sequence[int]
    settings: Callable[[FeatureCache, TableRow, int, int], Settings]
    test: TestEpisodes
    runs: Path
    tuned: Path
    device: torch.device
    scratch: Scratch | None = None
    check: bool = True


OnRun = Callable[[TableRow, int, int], None]


def fill_from(
    dataset: str, store: Path, plan: TablePlan, *, on_run: OnRun | None = None, on_note: OnNote | None = None
) -> list[TableEntry]:
    """The entries of the store at a path: see :func:`fill`; where it cannot be opened, each with the reason."""
    cache = attempt(partial(FeatureCache.open, store, check=plan.check))
    if isinstance(cache, Failure):
        return without_store(dataset, plan, cache.reason)
    for line in cache.pending():
        if on_note:
            on_note(line)
    return fill(cache, plan, on_run=on_run, on_note=on_note)


def fill(
    cache: FeatureCache, plan: TablePlan, *, on_run: OnRun | None = None, on_note: OnNote | None = None
) -> list[TableEntry]:
    """Trains and tests what was not yet, and collects the results of one store.

    A run that fails, for whatever reason, becomes an entry with that reason; the others go on.

    Args:
        cache: the store.
        plan: what to fill.
        on_run: called before each run with its row, shots and seed.
        on_note: gets lines worth knowing.

    Returns:
        An entry for each number of shots and row.
    """
    tests = TestSplit(cache, plan.test)
    tuned = find_tuned(plan.tuned, cache.path.parent)
    return [_entry(tests, row, shot, plan, tuned, on_run, on_note) for shot in plan.shots for row in plan.rows]


def without_store(dataset: str, plan: TablePlan, reason: str) -> list[TableEntry]:
    """The entries of a data set that is not there: published numbers, and the reason instead of ours."""
    return [
        TableEntry(
            dataset=dataset,
            method=row.method,
            title=row.title,
            shot=shot,
            missing=reason,
            tuned_missing=reason,
            published=row.published.get((dataset, shot)),
        )
        for shot in plan.shots
        for row in plan.rows
    ]


def _entry(
    tests: TestSplit,
    row: TableRow,
    shot: int,
    plan: TablePlan,
    found: TunedRuns,
    on_run: OnRun | None,
    on_note: OnNote | None,
) -> TableEntry:
    dataset = tests.cache.manifest.dataset
    runs = attempt(partial(_runs, tests, row, shot, plan, on_run, on_note))
    tuned = attempt(partial(_tuned, found, dataset, row, shot, plan, on_note))
    return TableEntry(
        dataset=dataset,
        method=row.method,
        title=row.title,
        shot=shot,
        runs=() if isinstance(runs, Failure) else runs,
        missing=runs.reason if isinstance(runs, Failure) else "",
        tuned=() if isinstance(tuned, Failure) else tuned,
        tuned_missing=tuned.reason if isinstance(tuned, Failure) else "",
        published=row.published.get((dataset, shot)),
    )


def _runs(
    tests: TestSplit, row: TableRow, shot: int, plan: TablePlan, on_run: OnRun | None, on_note: OnNote | None
) -> tuple[MethodResult, ...]:
    """One run a seed: all of them, as a mean over those that happened to work would not be what was asked for."""
    runs = []
    for seed in plan.seeds:
        if on_run:
            on_run(row, shot, seed)
        settings = plan.settings(tests.cache, row, shot, seed)
        folder = plan.runs / tests.cache.manifest.dataset / f"{row.method}-{shot}shot-seed{seed}"
        runs.append(train_and_test(tests, settings, folder, device=plan.device, scratch=plan.scratch, on_note=on_note))
    return tuple(runs)


def _tuned(
    found: TunedRuns, dataset: str, row: TableRow, shot: int, plan: TablePlan, on_note: OnNote | None
) -> tuple[TunedResult, ...]:
    return tuned_results(
        found,
        dataset,
        row.method,
        shot,
        test=plan.test,
        device=plan.device,
        scratch=plan.scratch,
        check=plan.check,
        on_note=on_note,
    )
