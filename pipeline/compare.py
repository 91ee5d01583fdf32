"""Several methods on one store and the same episodes: train, test, keep, tabulate."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.checkpoint import load_checkpoint
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluate import evaluate
from ta2n.pipeline.heads import Head
from ta2n.pipeline.loader import MapLoader
from ta2n.pipeline.metrics import Estimate, estimate, paired_difference
from ta2n.pipeline.settings import Settings
from ta2n.pipeline.train import train_head

BASELINE = "protonet"
_RESULT = "test.json"


@dataclass(frozen=True)
class Row:
    """One method with one number of shots.

    Attributes:
        method: its name.
        shot: K.
        accuracy: on the test split.
        difference: method − ProtoNet over the same episodes; None where ProtoNet was not asked for, or is this row.
        parameters: numbers that training may change.
        best_epoch: after which the kept weights were best on the val split; 0 for the untrained head.
    """

    method: str
    shot: int
    accuracy: Estimate
    difference: Estimate | None
    parameters: int
    best_epoch: int


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

    A run that was finished before is not trained again, and its test is not repeated either.

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
    found: dict[tuple[str, int], NDArray[np.float64]] = {}
    about: list[tuple[Settings, int, int]] = []
    for settings in runs:
        if on_run:
            on_run(settings)
        own = folder / f"{settings.method}-{settings.shot}shot"
        result = train_head(cache, settings, own, device=device)
        head = load_checkpoint(own).build().to(device)
        drawn = Episodes(
            cache.labels("test"),
            way=settings.way,
            shot=settings.shot,
            queries=queries,
            seed=seed,
            name="the test split",
        )
        loader = MapLoader(cache, frames=settings.frames, device=device)
        key = {**dataclasses.asdict(settings), "test": [episodes, queries, seed], "features": cache.manifest.hash()}
        found[settings.method, settings.shot] = _tested(own / _RESULT, key, head, loader, drawn, episodes)
        about.append((settings, sum(p.numel() for p in head.parameters()), result.progress.best_epoch))
    return [
        Row(
            settings.method,
            settings.shot,
            estimate(found[settings.method, settings.shot]),
            _difference(found, settings),
            parameters,
            best_epoch,
        )
        for settings, parameters, best_epoch in about
    ]


def _tested(
    file: Path, key: dict[str, object], head: Head, loader: MapLoader, drawn: Episodes, count: int
) -> NDArray[np.float64]:
    """The accuracy of each test episode, from the file of an earlier run of the same key where there is one."""
    text = json.dumps(key, sort_keys=True, default=str)
    if file.is_file():
        stored = json.loads(file.read_text())
        if stored["key"] == text:
            return np.array(stored["accuracies"])
    accuracies = evaluate(head, loader, drawn, count)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"key": text, "accuracies": accuracies.tolist()}))
    partial.replace(file)
    return accuracies


def _difference(found: dict[tuple[str, int], NDArray[np.float64]], settings: Settings) -> Estimate | None:
    base = found.get((BASELINE, settings.shot))
    if base is None or settings.method == BASELINE:
        return None
    return paired_difference(found[settings.method, settings.shot], base)
