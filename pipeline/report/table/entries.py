"""Entries of the table: a method on a data set with a number of shots, ours and the published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.plain_json import finite
from ta2n.pipeline.evaluation.classes import SplitClasses
from ta2n.pipeline.evaluation.metrics import Estimate, estimate, paired_difference, require_same_episodes
from ta2n.pipeline.report.table.rows import PublishedResult
from ta2n.pipeline.report.table.runs import BASELINE
from ta2n.pipeline.report.table.tested import MethodResult
from ta2n.pipeline.report.table.tuned import TunedResult


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """A method with a number of shots on a data set.

    Attributes:
        dataset: its name.
        method: name of the head.
        title: of the row.
        shot: K.
        runs: one a seed, on the same test episodes; empty where there is none.
        missing: why there is none.
        tuned: the same end to end, on features of a backbone that was trained with the head; one a seed.
        tuned_missing: why there is none.
        published: what others published.

    Raises:
        InputError: its runs were not tested on the same episodes, so that there is no mean over them.
    """

    dataset: str
    method: str
    title: str
    shot: int
    runs: tuple[MethodResult, ...] = ()
    missing: str = ""
    tuned: tuple[TunedResult, ...] = ()
    tuned_missing: str = ""
    published: PublishedResult | None = None

    def __post_init__(self) -> None:
        for runs in (self.runs, [one.run for one in self.tuned]):
            for run in runs[1:]:
                require_same_episodes(runs[0], run)

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """Of each test episode, the mean over seeds."""
        return np.asarray(np.mean([run.accuracies for run in self.runs], axis=0), dtype=np.float64)

    @property
    def fingerprint(self) -> str:
        """Of the test episodes; empty where there is no run."""
        return self.runs[0].fingerprint if self.runs else ""

    @property
    def accuracy(self) -> Estimate | None:
        """Mean over seeds; its interval is over test episodes."""
        return estimate(self.accuracies) if self.runs else None

    @property
    def tuned_accuracy(self) -> Estimate | None:
        """Of the fine-tuned heads, on the features of their backbones: mean over seeds, interval over episodes."""
        return _mean_over_seeds([one.run.accuracies for one in self.tuned])

    @property
    def tuned_plain(self) -> Estimate | None:
        """Of untrained ProtoNet on the same features and episodes, likewise."""
        return _mean_over_seeds([one.plain for one in self.tuned])

    @property
    def spread(self) -> float | None:
        """Standard deviation of the seeds' accuracies; None below two seeds."""
        means = [run.accuracy.mean for run in self.runs]
        return float(np.std(means, ddof=1)) if len(means) > 1 else None

    @property
    def above_published(self) -> float | None:
        """Ours − published, as a share of 1; None where one of the two is not there."""
        return self.accuracy.mean - self.published.percent / 100 if self.accuracy and self.published else None


def _mean_over_seeds(accuracies: Sequence[NDArray[np.float64]]) -> Estimate | None:
    return estimate(np.mean(accuracies, axis=0)) if accuracies else None


def baseline(group: Sequence[TableEntry]) -> TableEntry | None:
    """ProtoNet's entry among those of one data set and number of shots; None where it has no run."""
    return next((entry for entry in group if entry.method == BASELINE and entry.runs), None)


def against_baseline(entry: TableEntry, base: TableEntry | None) -> Estimate | None:
    """The paired difference to ProtoNet on the same data set and shots.

    None for ProtoNet, where either is missing, and where the two were tested on different episodes.
    """
    if base is None or not entry.runs or entry.method == BASELINE or entry.fingerprint != base.fingerprint:
        return None
    return paired_difference(entry, base)


def source_of(published: PublishedResult) -> str:
    """Where a published number is from, and what it is of."""
    where = published.note or "read in a published table"
    return f"{published.backbone}, {where}; published results train the backbone end to end"


def as_record(entry: TableEntry, entries: Sequence[TableEntry]) -> dict[str, Any]:
    """An entry for a machine: shares of 1, milliseconds, bytes; None where there is nothing."""
    group = [other for other in entries if (other.dataset, other.shot) == (entry.dataset, entry.shot)]
    difference = against_baseline(entry, baseline(group))
    ours, published = entry.accuracy, entry.published
    tuned, plain = entry.tuned_accuracy, entry.tuned_plain
    first = entry.runs[0] if entry.runs else None
    classes = first.classes.as_record() if first else dict.fromkeys(SplitClasses(0, (), 0).as_record())
    record = {
        "dataset": entry.dataset,
        "method": entry.method,
        "shot": entry.shot,
        "accuracy": ours.mean if ours else None,
        "interval": ours.interval if ours else None,
        "missing": entry.missing or None,
        "against_protonet": difference.mean if difference else None,
        "against_protonet_interval": difference.interval if difference else None,
        "tuned_accuracy": tuned.mean if tuned else None,
        "tuned_interval": tuned.interval if tuned else None,
        "tuned_protonet": plain.mean if plain else None,
        "tuned_protonet_interval": plain.interval if plain else None,
        "tuned_seeds": len(entry.tuned),
        "tuned_missing": entry.tuned_missing or None,
        "published": published.percent / 100 if published else None,
        "published_source": source_of(published) if published else None,
        "above_published": entry.above_published,
        "episodes": ours.episodes if ours else None,
        "fingerprint": entry.fingerprint or None,
        **classes,
        "seeds": len(entry.runs),
        "seed_spread": entry.spread,
        "parameters": first.costs.parameters if first else None,
        "macs": first.costs.macs if first else None,
        "train_ms": first.costs.train_ms if first else None,
        "test_ms": first.test_ms if first else None,
        "peak_bytes": first.costs.peak_bytes if first else None,
    }
    return dict(finite(record))
