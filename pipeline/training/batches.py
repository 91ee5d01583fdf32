"""What training reads is a function of (seed, number) alone: the draws of an item, and the episodes of a split."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.training.settings import Settings


def generator_of(settings: Settings, number: int) -> np.random.Generator:
    """What draws the views and clips of an item."""
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
