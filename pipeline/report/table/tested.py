"""The test of one trained head, and what it costs: measured once, and kept in the folder of its run."""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ta2n
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.config.stored import defaults
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.classes import SplitClasses
from ta2n.pipeline.evaluation.costs import Costs, measure_costs
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.evaluation.metrics import Estimate, estimate
from ta2n.pipeline.evaluation.scratch import Scratch, scratch_folder
from ta2n.pipeline.heads import Head, build_head
from ta2n.pipeline.report.table.episodes import TestEpisodes, TestSplit
from ta2n.pipeline.report.table.kept import OnNote, clips_digest, file_digest, measured_once
from ta2n.pipeline.training.checkpoint import BEST, load_checkpoint
from ta2n.pipeline.training.settings import Settings

_TEST, _COSTS = "test.json", "costs.json"


@dataclass(frozen=True)
class MethodResult:
    """One method with one number of shots.

    Attributes:
        method: its name.
        shot: K.
        accuracies: of each test episode, 0 to 1.
        fingerprint: of the test episodes.
        difference: method − ProtoNet over the same episodes; None where ProtoNet was not asked for, or is this row.
        best_epoch: after which the kept weights were best on the val split; 0 for the untrained head.
        costs: of one training episode.
        test_ms: milliseconds of a test episode, with the work that is done once a video spread over all of them.
        classes: of the test split: those that the episodes are of, and those left out.
    """

    method: str
    shot: int
    accuracies: NDArray[np.float64] = field(repr=False, compare=False)
    fingerprint: str
    difference: Estimate | None
    best_epoch: int
    costs: Costs
    test_ms: float
    classes: SplitClasses

    @property
    def accuracy(self) -> Estimate:
        """Mean and interval over the test episodes."""
        return estimate(self.accuracies)


def result_of(
    tests: TestSplit,
    settings: Settings,
    folder: Path,
    *,
    device: torch.device,
    scratch: Scratch | None = None,
    on_note: OnNote | None = None,
) -> MethodResult:
    """Tests the head of a run and measures its costs, where that was not done before with everything the same.

    Args:
        tests: the store and its test episodes.
        settings: of the run.
        folder: of the run.
        device: where the head runs.
        scratch: where what does not fit in memory goes; None is beside the run.
        on_note: gets a line where something is measured again, with the reason.

    Raises:
        FileNotFoundError: there is no checkpoint.
        InputError: it is of other features, or a split cannot give the episodes.
        BusyError: another process writes in the folder.
    """
    cache, test = tests.cache, tests.test
    # Before it is read: where it is replaced in between, what is kept fits neither.
    weights = file_digest(folder / BEST)
    checkpoint = load_checkpoint(folder)
    checkpoint.require_features(cache.manifest.features(), source=folder, store=cache.path)
    head = checkpoint.build().to(device)
    loader = MapLoader(cache, frames=settings.frames, device=device)
    scratch = scratch or Scratch(scratch_folder(None, beside=folder), on_note)
    episodes = tests.episodes(settings.way, settings.shot)
    tested = measured_once(
        folder / _TEST,
        _test_key(tests, settings, weights, device),
        lambda: _test(head, loader, episodes.drawn, test.episodes, scratch),
        usual=defaults(TestEpisodes),
        on_note=on_note,
    )
    costs = measured_once(
        folder / _COSTS,
        _costs_key(tests, settings, weights, device),
        lambda: _costs(head, loader, settings),
        usual=defaults(Settings),
        on_note=on_note,
    )
    return MethodResult(
        settings.method,
        settings.shot,
        np.array(tested["accuracies"]),
        episodes.fingerprint,
        difference=None,
        best_epoch=checkpoint.metadata["progress"]["best_epoch"],
        costs=Costs(**costs),
        test_ms=1000 * tested["seconds"] / test.episodes,
        classes=episodes.classes,
    )


def untrained_accuracies(
    tests: TestSplit,
    settings: Settings,
    folder: Path,
    method: str,
    *,
    device: torch.device,
    scratch: Scratch | None = None,
    on_note: OnNote | None = None,
) -> NDArray[np.float64]:
    """What a method that needs no training makes of the test episodes of a run, measured once.

    Args:
        tests: the store and its test episodes.
        settings: of the run: its way, shot and frames.
        folder: of the run, where the result is kept.
        method: name of the head.
        device: where the head runs.
        scratch: where what does not fit in memory goes; None is beside the run.
        on_note: gets a line where it is measured again, with the reason.

    Returns:
        The accuracy of each episode, 0 to 1.
    """
    channels, _, size, _ = tests.cache.map_shape
    head = build_head(method, channels=channels, frames=settings.frames, size=size).to(device).eval()
    scratch = scratch or Scratch(scratch_folder(None, beside=folder), on_note)
    tested = measured_once(
        folder / f"untrained-{method}.json",
        _test_key(tests, settings, f"untrained {method}", device),
        lambda: _test(
            head,
            MapLoader(tests.cache, frames=settings.frames, device=device),
            tests.episodes(settings.way, settings.shot).drawn,
            tests.test.episodes,
            scratch,
        ),
        usual=defaults(TestEpisodes),
        on_note=on_note,
    )
    return np.array(tested["accuracies"])


def _test_key(tests: TestSplit, settings: Settings, weights: str, device: torch.device) -> dict[str, Any]:
    """Everything that decides the test of a run."""
    return {
        **_common_key(tests, settings, weights, device),
        **dataclasses.asdict(tests.test),
        "test clips": clips_digest(tests.cache, "test"),
        "test episodes": tests.episodes(settings.way, settings.shot).fingerprint,
    }


def _costs_key(tests: TestSplit, settings: Settings, weights: str, device: torch.device) -> dict[str, Any]:
    """Everything that decides the costs of a run."""
    return {
        **_common_key(tests, settings, weights, device),
        "queries": settings.queries,
        "seed": settings.seed,
        "train clips": clips_digest(tests.cache, "train"),
    }


def _common_key(tests: TestSplit, settings: Settings, weights: str, device: torch.device) -> dict[str, Any]:
    # How the head was trained stands in its checkpoint, and so is in the digest of that.
    return {
        "checkpoint": weights,
        "features": tests.cache.manifest.hash(),
        "ta2n": ta2n.__version__,
        "device": str(device),
        "way": settings.way,
        "shot": settings.shot,
        "frames": settings.frames,
    }


def _test(head: Head, loader: MapLoader, drawn: Episodes, count: int, scratch: Scratch) -> dict[str, Any]:
    """The accuracy of each test episode, and the seconds that all took."""
    start = time.perf_counter()
    accuracies = evaluate(head, loader, drawn, count, scratch=scratch)
    return {"accuracies": accuracies.tolist(), "seconds": time.perf_counter() - start}


def _costs(head: Head, loader: MapLoader, settings: Settings) -> dict[str, Any]:
    """What the first training episode of a run costs."""
    labels = loader.cache.labels("train")
    way, shot, queries = settings.way, settings.shot, settings.queries
    episode = Episodes(labels, way=way, shot=shot, queries=queries, seed=settings.seed)[0]
    support, query = (loader.test(rows) for rows in (episode.support, episode.query))
    answers = torch.from_numpy(episode.query_labels).to(support.device)
    return dataclasses.asdict(measure_costs(head, support, query, answers, shot=shot))
