"""Several methods on one store and the same episodes: train, test, set side by side."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.lock import writing
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.metrics import paired_difference
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.report.table.episodes import TestEpisodes, TestSplit
from ta2n.pipeline.report.table.failures import Failure, attempt
from ta2n.pipeline.report.table.kept import OnNote
from ta2n.pipeline.report.table.tested import MethodResult, result_of
from ta2n.pipeline.training.loop import train_head
from ta2n.pipeline.training.settings import Settings

BASELINE = "protonet"


@dataclass(frozen=True)
class FailedRun:
    """A method with a number of shots that could not be trained or tested.

    Attributes:
        method: its name.
        shot: K.
        reason: why not, in one line.
    """

    method: str
    shot: int
    reason: str


ComparedRow = MethodResult | FailedRun


def compare(
    cache: FeatureCache,
    runs: Sequence[Settings],
    folder: Path,
    test: TestEpisodes,
    *,
    device: torch.device,
    scratch: Scratch | None = None,
    on_run: Callable[[Settings], None] | None = None,
    on_note: OnNote | None = None,
) -> list[ComparedRow]:
    """Trains and tests every run, each in a folder of its own, and sets them side by side.

    Args:
        cache: the store.
        runs: what to train; methods and shots may be mixed.
        folder: holds ``<method>-<shot>shot`` for each.
        test: the test episodes.
        device: where the heads run.
        scratch: where what does not fit in memory goes; None is beside each run.
        on_run: called before each run.
        on_note: gets lines worth knowing.

    Returns:
        A row for each run, in their order; one that failed does not end the others.

    Raises:
        InputError: all of them failed.
        BusyError: another process writes in the folder.
    """
    tests = TestSplit(cache, test)
    rows: list[ComparedRow] = []
    with writing(folder, "ta2n train-head"):
        for settings in runs:
            if on_run:
                on_run(settings)
            own = folder / f"{settings.method}-{settings.shot}shot"
            run = partial(train_and_test, tests, settings, own, device=device, scratch=scratch, on_note=on_note)
            found = attempt(run)
            if isinstance(found, Failure):
                rows.append(FailedRun(settings.method, settings.shot, found.reason))
            else:
                rows.append(found)
    failures = [row for row in rows if isinstance(row, FailedRun)]
    if rows and len(failures) == len(rows):
        raise InputError(failures[0].reason)
    return set_against_baseline(rows)


def set_against_baseline(rows: Sequence[ComparedRow]) -> list[ComparedRow]:
    """The rows with their paired difference to ProtoNet's row of as many shots, where there is one.

    Raises:
        InputError: two rows of as many shots were tested on different episodes.
    """
    base = {row.shot: row for row in rows if isinstance(row, MethodResult) and row.method == BASELINE}
    return [
        dataclasses.replace(row, difference=paired_difference(row, base[row.shot]))
        if isinstance(row, MethodResult) and row.shot in base and row.method != BASELINE
        else row
        for row in rows
    ]


def train_and_test(
    tests: TestSplit,
    settings: Settings,
    folder: Path,
    *,
    device: torch.device,
    scratch: Scratch | None = None,
    on_note: OnNote | None = None,
) -> MethodResult:
    """Trains one head, tests it, and measures what it costs.

    A run that was finished before is not trained again, and neither its test nor its costs are measured again where
    everything that decided them is the same.

    Raises:
        InputError: a split cannot give the episodes, or the folder holds a run with other settings.
        BusyError: another process writes in the folder.
    """
    tests.episodes(settings.way, settings.shot)  # before hours of training, if they cannot be drawn
    train_head(tests.cache, settings, folder, device=device, scratch=scratch, on_note=on_note)
    return result_of(tests, settings, folder, device=device, scratch=scratch, on_note=on_note)
