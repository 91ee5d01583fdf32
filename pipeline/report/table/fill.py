"""Fills the table from one store: every row, shot and seed, and a reason where there is no number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ta2n.cache_schema.errors import InputError, Ta2nError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.report.table.entries import TableEntry
from ta2n.pipeline.report.table.rows import TableRow
from ta2n.pipeline.report.table.runs import MethodResult, TestEpisodes, test_head, train_and_test
from ta2n.pipeline.training.checkpoint import BEST, load_checkpoint
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
        tuned: folder of what was trained end to end: ``<data set>/<method>-<K>shot`` holds a checkpoint and the store
            of that backbone's features.
        device: where the heads run.
        scratch: where what does not fit in memory goes; None is beside each run.
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


OnRun = Callable[[TableRow, int, int], None]


def fill(cache: FeatureCache, plan: TablePlan, *, on_run: OnRun | None = None) -> list[TableEntry]:
    """Trains and tests what was not yet, and collects the results of one store.

    A run that cannot be done becomes a result with its reason; the others go on.

    Args:
        cache: the store.
        plan: what to fill.
        on_run: called before each run with its row, shots and seed.

    Returns:
        A result for each number of shots and row.
    """
    name = cache.manifest.dataset
    return [_result(cache, name, row, shot, plan, on_run) for shot in plan.shots for row in plan.rows]


def without_store(dataset: str, plan: TablePlan, reason: str) -> list[TableEntry]:
    """The results of a data set that is not there: published numbers, and the reason in place of ours."""
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


def _result(
    cache: FeatureCache, dataset: str, row: TableRow, shot: int, plan: TablePlan, on_run: OnRun | None
) -> TableEntry:
    runs: list[MethodResult] = []
    missing = ""
    for seed in plan.seeds:
        if on_run:
            on_run(row, shot, seed)
        folder = plan.runs / dataset / f"{row.method}-{shot}shot-seed{seed}"
        try:
            settings = plan.settings(cache, row, shot, seed)
            runs.append(train_and_test(cache, settings, folder, plan.test, device=plan.device, scratch=plan.scratch))
        except Ta2nError as error:
            # A mean over the seeds that happened to work would not be what was asked for.
            runs, missing = [], str(error)
            break
    tuned, tuned_missing = _tuned(plan.tuned / dataset / f"{row.method}-{shot}shot", row, shot, plan)
    return TableEntry(
        dataset=dataset,
        method=row.method,
        title=row.title,
        shot=shot,
        runs=tuple(runs),
        missing=missing,
        tuned=tuned,
        tuned_missing=tuned_missing,
        published=row.published.get((dataset, shot)),
    )


def _tuned(folder: Path, row: TableRow, shot: int, plan: TablePlan) -> tuple[MethodResult | None, str]:
    """The test of what was trained end to end, or why there is none."""
    if not (folder / BEST).is_file():
        return None, f"no fine-tuned checkpoint in {plan.tuned}"
    try:
        checkpoint = load_checkpoint(folder)
        name = checkpoint.metadata["head"]["name"]
        if name != row.method:
            raise InputError(f"{folder}: its checkpoint is of {name}, expected {row.method}")
        settings = Settings(**checkpoint.metadata["settings"])
        if settings.shot != shot:
            raise InputError(f"{folder}: its checkpoint was trained with {settings.shot} shots, expected {shot}")
        return test_head(
            FeatureCache.open(folder), settings, folder, plan.test, device=plan.device, scratch=plan.scratch
        ), ""
    except Ta2nError as error:
        return None, str(error)
