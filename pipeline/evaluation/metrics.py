"""Accuracy over episodes, with an interval, alone and paired."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes and the half-width of its 95 % interval.

    The interval is the normal one, 1.96 standard errors, which few-shot papers print. It says how far the mean over
    infinitely many episodes *of the same videos* may lie; it does not say what other videos would give.

    Attributes:
        mean: of the per-episode values.
        interval: half-width; infinite for a single episode.
        episodes: how many there were.
    """

    mean: float
    interval: float
    episodes: int

    def percent(self, *, signed: bool = False) -> str:
        """E.g. ``47.61 ± 0.19 %``."""
        return f"{100 * self.mean:{'+' if signed else ''}.2f} ± {100 * self.interval:.2f} %"


def estimate(values: Sequence[float] | NDArray[np.floating]) -> Estimate:
    """Mean and 95 % interval of one value per episode.

    Raises:
        InputError: there is no value.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise InputError("no episode to average over; ask for at least 1")
    spread = array.std(ddof=1) / math.sqrt(len(array)) if len(array) > 1 else math.inf
    return Estimate(float(array.mean()), _Z95 * float(spread), len(array))


class Tested(Protocol):
    """A result episode by episode, and which episodes these were."""

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """(E,) of each episode, 0 to 1."""

    @property
    def fingerprint(self) -> str:
        """Of the episodes: :attr:`ta2n.pipeline.episodes.fingerprint.Watched.fingerprint`."""


def paired_difference(first: Tested, second: Tested) -> Estimate:
    """Mean of first − second over the same episodes, with its interval.

    Much narrower than the difference of two separate intervals, because an easy episode is easy for both.

    Raises:
        InputError: the two were not measured on the same episodes.
    """
    require_same_episodes(first, second)
    return estimate(first.accuracies - second.accuracies)


def require_same_episodes(first: Tested, second: Tested) -> None:
    """Refuses results that must not be subtracted or averaged episode by episode.

    Raises:
        InputError: they are not of the same episodes.
    """
    if first.fingerprint != second.fingerprint:
        counts = f"{len(first.accuracies)} and {len(second.accuracies)} episodes"
        raise InputError(
            f"{counts} cannot be paired: they are not the same ones (fingerprints {first.fingerprint[:12]} and "
            f"{second.fingerprint[:12]}); evaluate both on one store with one seed"
        )
