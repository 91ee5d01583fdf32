"""Several methods on one store and the same episodes: train, test, keep, set side by side."""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.costs import Costs, measure_costs
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.evaluation.metrics import Estimate, estimate, paired_difference
from ta2n.pipeline.evaluation.scratch import Scratch, scratch_folder
from ta2n.pipeline.heads import Head
from ta2n.pipeline.training.checkpoint import load_checkpoint
from ta2n.pipeline.training.loop import train_head
from ta2n.pipeline.training.settings import Settings

BASELINE = "protonet"
_TEST, _COSTS = "test.json", "costs.json"


@dataclass(frozen=True)
class MethodResult:
    """One method with one number of shots.

    Attributes:
        method: its name.
        shot: K.
        accuracies: of each test episode, 0 to 1.
        difference: method − ProtoNet over the same episodes; None where ProtoNet was not asked for, or is this row.
        best_epoch: after which the kept weights were best on the val split; 0 for the untrained head.
        costs: of one training episode.
        test_ms: milliseconds of a test episode, with the work that is done once a video spread over all of them.
        videos: clips of the test split that the episodes are drawn from.
    """

    method: str
    shot: int
    accuracies: NDArray[np.float64] = field(repr=False, compare=False)
    difference: Estimate | None
    best_epoch: int
    costs: Costs
    test_ms: float
    videos: int

    @property
    def accuracy(self) -> Estimate:
        """Mean and interval over the test episodes."""
        return estimate(self.accuracies)


@dataclass(frozen=True, kw_only=True)
class TestEpisodes:
    """The episodes that every method is tested on.

    Attributes:
        episodes: how many.
        queries: of a class.
        seed: of the episodes; their way and shot are the run's.
    """

    __test__ = False  # pytest takes the name for that of a test

    episodes: int
    queries: int
    seed: int = 0


def compare(
    cache: FeatureCache,
    runs: Sequence[Settings],
    folder: Path,
    test: TestEpisodes,
    *,
    device: torch.device,
    scratch: Scratch | None = None,
    on_run: Callable[[Settings], None] | None = None,
) -> list[MethodResult]:
    """Trains and tests every run, each in a folder of its own, and sets them side by side.

    Args:
        cache: the store.
        runs: what to train; methods and shots may be mixed.
        folder: holds ``<method>-<shot>shot`` for each.
        test: the test episodes.
        device: where the heads run.
        scratch: where what does not fit in memory goes; None is beside each run.
        on_run: called before each run.

    Returns:
        A row for each run, in their order.

    Raises:
        InputError: a split cannot give the episodes, or a folder holds a run with other settings.
    """
    rows = []
    for settings in runs:
        if on_run:
            on_run(settings)
        own = folder / f"{settings.method}-{settings.shot}shot"
        rows.append(train_and_test(cache, settings, own, test, device=device, scratch=scratch))
    return set_against_baseline(rows)


def set_against_baseline(rows: Sequence[MethodResult]) -> list[MethodResult]:
    """The rows with their paired difference to ProtoNet's row of as many shots, where there is one."""
    base = {row.shot: row.accuracies for row in rows if row.method == BASELINE}
    return [
        dataclasses.replace(row, difference=paired_difference(row.accuracies, base[row.shot]))
        if row.shot in base and row.method != BASELINE
        else row
        for row in rows
    ]


def train_and_test(
    cache: FeatureCache,
    settings: Settings,
    folder: Path,
    test: TestEpisodes,
    *,
    device: torch.device,
    scratch: Scratch | None = None,
) -> MethodResult:
    """Trains one head, tests it, and measures what it costs.

    A run that was finished before is not trained again, and neither its test nor its costs are measured again.

    Raises:
        InputError: a split cannot give the episodes, or the folder holds a run with other settings.
    """
    train_head(cache, settings, folder, device=device, scratch=scratch)
    return test_head(cache, settings, folder, test, device=device, scratch=scratch)


def test_head(
    cache: FeatureCache,
    settings: Settings,
    folder: Path,
    test: TestEpisodes,
    *,
    device: torch.device,
    scratch: Scratch | None = None,  # noqa: PT028 (no test of pytest's)
) -> MethodResult:
    """Tests the head of a run's folder and measures its costs, where that was not done before.

    Raises:
        InputError: there is no checkpoint, it is of other features, or a split cannot give the episodes.
    """
    checkpoint = load_checkpoint(folder)
    checkpoint.require_features(cache.manifest.features(), source=folder, store=cache.path)
    head = checkpoint.build().to(device)
    loader = MapLoader(cache, frames=settings.frames, device=device)
    scratch = scratch or Scratch(scratch_folder(None, beside=folder))
    about = {**dataclasses.asdict(settings), "features": cache.manifest.hash(), "split": cache.videos.hash()}
    key = about | {"test": dataclasses.asdict(test)}
    tested = _once(folder / _TEST, key, lambda: _test(head, loader, settings, test, scratch))
    costs = _once(folder / _COSTS, about | {"device": str(device)}, lambda: _costs(head, loader, settings))
    return MethodResult(
        settings.method,
        settings.shot,
        np.array(tested["accuracies"]),
        difference=None,
        best_epoch=checkpoint.metadata["progress"]["best_epoch"],
        costs=Costs(**costs),
        test_ms=1000 * tested["seconds"] / test.episodes,
        videos=int((cache.labels("test") >= 0).sum()),
    )


def _test(head: Head, loader: MapLoader, settings: Settings, test: TestEpisodes, scratch: Scratch) -> dict[str, Any]:
    """The accuracy of each test episode, and the seconds that all took."""
    labels = loader.cache.labels("test")
    way, shot = settings.way, settings.shot
    drawn = Episodes(labels, way=way, shot=shot, queries=test.queries, seed=test.seed, name="the test split")
    start = time.perf_counter()
    accuracies = evaluate(head, loader, drawn, test.episodes, scratch=scratch)
    return {"accuracies": accuracies.tolist(), "seconds": time.perf_counter() - start}


def _costs(head: Head, loader: MapLoader, settings: Settings) -> dict[str, Any]:
    """What the first training episode of a run costs."""
    labels = loader.cache.labels("train")
    way, shot, queries = settings.way, settings.shot, settings.queries
    episode = Episodes(labels, way=way, shot=shot, queries=queries, seed=settings.seed)[0]
    support, query = (loader.test(rows) for rows in (episode.support, episode.query))
    answers = torch.from_numpy(episode.query_labels).to(support.device)
    return dataclasses.asdict(measure_costs(head, support, query, answers, shot=shot))


def _once(file: Path, key: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured, from the file of an earlier run of the same key where there is one."""
    text = json.dumps(key, sort_keys=True, default=str)
    if file.is_file():
        stored: dict[str, Any] = json.loads(file.read_text())
        if stored.pop("key") == text:
            return stored
    found = measure()
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"key": text, **found}))
    partial.replace(file)
    return found
