"""What training reads: the maps of an episode or a batch, as functions of its number alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.training.objectives import BaseClassifier
from ta2n.pipeline.training.settings import Settings

# Maps as the head takes them, and the class of each clip that is to be told.
Read = tuple[tuple[Tensor, ...], NDArray[np.int64]]


def episode_reader(loader: MapLoader, settings: Settings, episodes: Episodes) -> Callable[[int], Read]:
    """Reads the support and the query maps of an episode by its number."""

    def read(number: int) -> Read:
        generator = _generator(settings, number)
        episode = episodes[number]
        support = loader.train(episode.support, generator)
        return (support, loader.train(episode.query, generator)), episode.query_labels

    return read


def batch_reader(loader: MapLoader, settings: Settings, classifier: BaseClassifier) -> Callable[[int], Read]:
    """Reads a batch of as many clips as an episode has, by its number."""

    def read(number: int) -> Read:
        generator = _generator(settings, number)
        rows = classifier.draw(settings.way * (settings.shot + settings.queries), generator)
        return (loader.train(rows, generator),), classifier.labels(rows)

    return read


def _generator(settings: Settings, number: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, number, 1])


@contextmanager
def seeded(seed: int, number: int, *, device: torch.device) -> Iterator[None]:
    """Makes torch's random draws inside the block a function of (seed, number), and leaves the global state alone."""
    value = np.random.SeedSequence([seed, number]).generate_state(2, np.uint64)[0]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(value))
        yield


def episodes_of(cache: FeatureCache, settings: Settings, split: str) -> Episodes:
    """The episodes of a split that a run trains or selects on."""
    return Episodes(
        cache.labels(split),
        way=settings.way,
        shot=settings.shot,
        queries=settings.queries,
        seed=settings.seed,
        name=f"the {split} split",
    )
