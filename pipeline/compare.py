"""Several methods on one store and the same episodes: train, test, keep, set side by side."""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.checkpoint import load_checkpoint
from ta2n.pipeline.costs import Costs, measure_costs
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluate import evaluate
from ta2n.pipeline.heads import Head
from ta2n.pipeline.loader import MapLoader
from ta2n.pipeline.metrics import Estimate, estimate, paired_difference
from ta2n.pipeline.settings import Settings
from ta2n.pipeline.train import train_head

BASELINE = "protonet"
_TEST, _COSTS = "test.json", "costs.json"


@dataclass(frozen=True)
class Row:
    """One method with one number of shots.

    Attributes:
        method: its name.
        shot: K.
        accuracy: on the test split.
        difference: method − ProtoNet over the same episodes; None where ProtoNet was not asked for, or is this row.
        best_epoch: after which the kept weights were best on the val split; 0 for the untrained head.
        costs: of one training episode.
        test_ms: milliseconds of a test episode, with the work that is done once a video spread over all of them.
        videos: clips of the test split that the episodes are drawn from.
    """

    method: str
    shot: int
    accuracy: Estimate
    difference: Estimate | None
    best_epoch: int
    costs: Costs
    test_ms: float
    videos: int


@dataclass(frozen=True)
class _Test:
    accuracies: NDArray[np.float64]
    seconds: float


def compare(
    cache: FeatureCache,
    runs: Sequence[Settings],
    folder: Path,
    *,
    episodes: int,
    queries: int,
    seed: int,
    device: torch.device,
    on_run: Callable[[Settings], None] | None = None,
) -> list[Row]:
    """Trains and tests every run, each in a folder of its own, and sets them side by side.

    A run that was finished before is not trained again, and neither its test nor its costs are measured again.

    Args:
        cache: the store.
        runs: what to train; methods and shots may be mixed.
        folder: holds ``<method>-<shot>shot`` for each.
        episodes: test episodes of each.
        queries: test queries of a class.
        seed: of the test episodes.
        device: where the heads run.
        on_run: called before each run.

    Returns:
        A row for each run, in their order.

    Raises:
        InputError: a split cannot give the episodes, or a folder holds a run with other settings.
    """
    tests: list[_Test] = []
    rows: list[Row] = []
    labels = cache.labels("test")
    for settings in runs:
        if on_run:
            on_run(settings)
        own = folder / f"{settings.method}-{settings.shot}shot"
        result = train_head(cache, settings, own, device=device)
        head = load_checkpoint(own).build().to(device)
        loader = MapLoader(cache, frames=settings.frames, device=device)
        about = {**dataclasses.asdict(settings), "features": cache.manifest.hash(), "split": cache.videos.hash()}
        drawn = Episodes(
            labels, way=settings.way, shot=settings.shot, queries=queries, seed=seed, name="the test split"
        )
        tests.append(_tested(own / _TEST, {**about, "test": [episodes, queries, seed]}, head, loader, drawn, episodes))
        rows.append(
            Row(
                settings.method,
                settings.shot,
                estimate(tests[-1].accuracies),
                difference=None,
                best_epoch=result.progress.best_epoch,
                costs=_costs(own / _COSTS, about, head, loader, cache, settings),
                test_ms=1000 * tests[-1].seconds / episodes,
                videos=int((labels >= 0).sum()),
            )
        )
    base = {row.shot: test.accuracies for row, test in zip(rows, tests, strict=True) if row.method == BASELINE}
    return [_set_against(row, test, base.get(row.shot)) for row, test in zip(rows, tests, strict=True)]


def _set_against(row: Row, test: _Test, base: NDArray[np.float64] | None) -> Row:
    if base is None or row.method == BASELINE:
        return row
    return dataclasses.replace(row, difference=paired_difference(test.accuracies, base))


def _tested(file: Path, key: dict[str, Any], head: Head, loader: MapLoader, drawn: Episodes, count: int) -> _Test:
    """The accuracy of each test episode, and the time that all took."""

    def measure() -> dict[str, Any]:
        start = time.perf_counter()
        accuracies = evaluate(head, loader, drawn, count)
        return {"accuracies": accuracies.tolist(), "seconds": time.perf_counter() - start}

    found = _once(file, key, measure)
    return _Test(np.array(found["accuracies"]), found["seconds"])


def _costs(
    file: Path, key: dict[str, Any], head: Head, loader: MapLoader, cache: FeatureCache, settings: Settings
) -> Costs:
    """What the first training episode of the run costs."""

    def measure() -> dict[str, Any]:
        way, shot, queries = settings.way, settings.shot, settings.queries
        episode = Episodes(cache.labels("train"), way=way, shot=shot, queries=queries, seed=settings.seed)[0]
        support, query = (loader.test(rows) for rows in (episode.support, episode.query))
        labels = torch.from_numpy(episode.query_labels).to(support.device)
        return dataclasses.asdict(measure_costs(head, support, query, labels, shot=shot))

    return Costs(**_once(file, key | {"device": str(loader.device)}, measure))


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
