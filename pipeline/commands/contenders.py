"""The heads that an evaluation compares: a checkpoint's, or a method as it is before training."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.commands.reporting import OnNote, OnProgress, Step, tell
from ta2n.pipeline.commands.settings import require_options
from ta2n.pipeline.commands.stores import default_frames
from ta2n.pipeline.episodes import EpisodeSequence
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.evaluation.metrics import Estimate, estimate
from ta2n.pipeline.heads import Head, build_head
from ta2n.pipeline.training.checkpoint import load_checkpoint


@dataclass(frozen=True)
class Contender:
    """One head to be evaluated.

    Attributes:
        name: for a person.
        head: in evaluation mode.
        frames: T that it takes.
        trained_with: settings of its training; empty where it was not trained.
    """

    name: str
    head: Head
    frames: int
    trained_with: Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """What one head reached.

    Attributes:
        name: of the head, for a person.
        accuracies: (E,) of each episode, 0 to 1.
        seconds: that all episodes took.
    """

    name: str
    accuracies: NDArray[np.float64]
    seconds: float

    @property
    def accuracy(self) -> Estimate:
        """Mean and 95 % interval over the episodes."""
        return estimate(self.accuracies)


def from_checkpoint(path: Path, cache: FeatureCache, *, on_note: OnNote | None = None) -> Contender:
    """The head of a checkpoint.

    Args:
        path: a checkpoint file, or the folder of a run.
        cache: the store that it shall be evaluated on.
        on_note: gets lines worth knowing: another data set, other splits.

    Raises:
        MissingError: there is no checkpoint.
        InputError: it was trained on other features than the store holds.
    """
    stored = load_checkpoint(path)
    about = stored.metadata
    stored.require_features(cache.manifest.features(), source=path, store=cache.path)
    if about["dataset"] != cache.manifest.dataset:
        tell([f"note: {path} was trained on {about['dataset']}, and is tested on {cache.manifest.dataset}"], on_note)
    elif about["split_hash"] != cache.videos.hash():
        doubt = "did it train on a test class?"
        tell([f"note: {path} was trained with other splits than {cache.path} has now; {doubt}"], on_note)
    return Contender(f"{about['head']['name']} ({path})", stored.build(), about["head"]["frames"], about["settings"])


def from_method(
    name: str,
    cache: FeatureCache,
    *,
    project: int | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Contender:
    """A method as it is before training.

    Args:
        name: of the head.
        cache: the store that it shall be evaluated on.
        project: channels of a random projection in front of it; None or 0 for none.
        options: further options of the head, by name.
        seed: of its initial weights.

    Raises:
        InputError: the method or an option does not exist.
    """
    require_options(name, options or {})
    frames = default_frames(cache)
    channels, _, size, _ = cache.map_shape
    arguments = {"project": project} if project else {}
    head = build_head(name, channels=channels, frames=frames, size=size, seed=seed, **{**arguments, **(options or {})})
    untrained = any(parameter.requires_grad for parameter in head.parameters())
    return Contender(f"{name} (untrained)" if untrained else name, head, frames, {})


def measure(
    one: Contender,
    cache: FeatureCache,
    drawn: EpisodeSequence,
    count: int,
    *,
    device: torch.device,
    memory: float | None = None,
    on_progress: OnProgress | None = None,
) -> Score:
    """Evaluates a head on the first ``count`` episodes.

    Args:
        one: the head.
        cache: the store.
        drawn: the episodes.
        count: how many of them.
        device: where the head runs.
        memory: GB for what is computed once per video; None is half of what is free.
        on_progress: gets how far it is.
    """

    def show(done: int) -> None:
        if on_progress:
            on_progress(Step(f"evaluating {one.name}", done, count, "episodes"))

    loader = MapLoader(cache, frames=one.frames, device=device)
    limit = None if memory is None else int(memory * 1e9)
    start = time.monotonic()
    accuracies = evaluate(one.head.to(device), loader, drawn, count, memory_bytes=limit, on_episodes=show)
    return Score(one.name, accuracies, time.monotonic() - start)
