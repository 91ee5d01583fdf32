"""Accuracy and its intervals, worked by hand."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.evaluation.metrics import estimate, paired_difference


@dataclass(frozen=True)
class Scores:
    accuracies: NDArray[np.float64]
    fingerprint: str


def test_mean_and_interval_by_hand() -> None:
    found = estimate([0.2, 0.4, 0.6, 0.8])
    assert found.mean == pytest.approx(0.5)
    # Variance 0.2/3, standard error sqrt(0.2/3/4).
    assert found.interval == pytest.approx(1.959964 * math.sqrt(0.2 / 3 / 4))
    assert found.percent() == "50.00 ± 25.30 %"


def test_one_episode_has_no_interval_and_none_is_an_error() -> None:
    assert estimate([1.0]).interval == math.inf
    with pytest.raises(InputError, match="no episode"):
        estimate([])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = [abs((e := estimate(generator.binomial(5, 0.4, 200) / 5)).mean - 0.4) <= e.interval for _ in range(2000)]
    assert 0.93 < np.mean(covered) < 0.97


def test_pairing_removes_what_two_methods_share() -> None:
    generator = np.random.default_rng(1)
    hardness = generator.normal(0.5, 0.2, 500)
    harder = Scores(hardness + generator.normal(0, 0.01, 500), "same")
    difference = paired_difference(Scores(hardness + 0.01, "same"), harder)
    assert difference.mean == pytest.approx(0.01, abs=0.002)
    assert difference.interval < 0.1 * estimate(hardness).interval
    assert difference.percent(signed=True).startswith("+1.0")


@pytest.mark.parametrize("count", [3, 500])
def test_only_results_of_the_same_episodes_are_paired(count: int) -> None:
    first, second = Scores(np.ones(500), "one"), Scores(np.ones(count), "other")
    with pytest.raises(InputError, match=rf"500 and {count} episodes cannot be paired: they are not the same ones"):
        paired_difference(first, second)
