"""The table: ours beside the published, one sheet for a data set and a number of shots."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ta2n.pipeline.evaluation.metrics import Estimate, estimate, paired_difference
from ta2n.pipeline.report.table.rows import PublishedResult
from ta2n.pipeline.report.table.runs import BASELINE, MethodResult
from ta2n.pipeline.report.table.sheet import Sheet

_COLUMNS = (
    "method",
    "frozen backbone",
    "against ProtoNet",
    "fine-tuned",
    "published",
    "frozen − published",
    "videos",
    "seeds",
    "MACs",
    "train ms",
    "test ms",
)


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
        tuned: the same end to end, on features of a backbone that was trained with the head.
        tuned_missing: why there is none.
        published: what others published.
    """

    dataset: str
    method: str
    title: str
    shot: int
    runs: tuple[MethodResult, ...] = ()
    missing: str = ""
    tuned: MethodResult | None = None
    tuned_missing: str = ""
    published: PublishedResult | None = None

    @property
    def accuracies(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Of each test episode, the mean over seeds."""
        return np.asarray(np.mean([run.accuracies for run in self.runs], axis=0), dtype=np.float64)

    @property
    def accuracy(self) -> Estimate | None:
        """Mean over seeds; its interval is over test episodes."""
        return estimate(self.accuracies) if self.runs else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the seeds' accuracies; None below two seeds."""
        means = [run.accuracy.mean for run in self.runs]
        return float(np.std(means, ddof=1)) if len(means) > 1 else None

    @property
    def above_published(self) -> float | None:
        """Ours − published, as a share of 1; None where one of the two is not there."""
        return self.accuracy.mean - self.published.percent / 100 if self.accuracy and self.published else None


def to_sheets(entries: Sequence[TableEntry], *, way: int) -> list[Sheet]:
    """A sheet for each data set and number of shots, in the order in which they first occur."""
    groups: dict[tuple[str, int], list[TableEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.dataset, entry.shot), []).append(entry)
    return [_sheet(dataset, shot, way, group) for (dataset, shot), group in groups.items()]


def _sheet(dataset: str, shot: int, way: int, group: Sequence[TableEntry]) -> Sheet:
    marks: dict[str, str] = {}
    rows = tuple(_cells(entry, _baseline(group), marks) for entry in group)
    notes = tuple(f"{mark} {text}" for text, mark in marks.items())
    return Sheet(f"{dataset}, {way}-way {shot}-shot", _COLUMNS, rows, notes)


def _baseline(group: Sequence[TableEntry]) -> TableEntry | None:
    return next((entry for entry in group if entry.method == BASELINE and entry.runs), None)


def against_baseline(entry: TableEntry, base: TableEntry | None) -> Estimate | None:
    """The paired difference to ProtoNet on the same data set and shots; None for ProtoNet and where it is missing."""
    if base is None or not entry.runs or entry.method == BASELINE or len(base.accuracies) != len(entry.accuracies):
        return None
    return paired_difference(entry.accuracies, base.accuracies)


def _cells(entry: TableEntry, base: TableEntry | None, marks: dict[str, str]) -> tuple[str, ...]:
    ours, published, above = entry.accuracy, entry.published, entry.above_published
    difference = against_baseline(entry, base)
    first = entry.runs[0] if entry.runs else None
    return (
        entry.title,
        ours.percent() if ours else f"none {_mark(entry.missing, marks)}",
        difference.percent(signed=True) if difference else "",
        entry.tuned.accuracy.percent() if entry.tuned else f"none {_mark(entry.tuned_missing, marks)}",
        f"{published.percent:.1f} {_mark(_source(published), marks)}" if published else "none",
        "" if above is None else f"{100 * above:+.1f}",
        str(first.videos) if first else "",
        _seeds(entry),
        count(first.costs.macs) if first else "",
        f"{np.median([run.costs.train_ms for run in entry.runs]):.1f}" if first else "",
        f"{np.median([run.test_ms for run in entry.runs]):.2f}" if first else "",
    )


def _seeds(entry: TableEntry) -> str:
    spread = entry.spread
    return (str(len(entry.runs)) if entry.runs else "") + ("" if spread is None else f" (± {100 * spread:.2f})")


def _source(published: PublishedResult) -> str:
    where = published.note or "read in a published table"
    return f"{published.backbone}, {where}; published results train the backbone end to end"


def _mark(text: str, marks: dict[str, str]) -> str:
    """The footnote mark of a text, a new one where it has none."""
    if text not in marks:
        marks[text] = f"[{len(marks) + 1}]"
    return marks[text]


def count(number: float) -> str:
    """A number of operations, e.g. ``8.33 G``."""
    for unit in ("", " k", " M"):
        if number < 1000:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} G"


def as_record(entry: TableEntry, entries: Sequence[TableEntry]) -> dict[str, Any]:
    """An entry for a machine: shares of 1, milliseconds, bytes; None where there is nothing."""
    group = [other for other in entries if (other.dataset, other.shot) == (entry.dataset, entry.shot)]
    difference = against_baseline(entry, _baseline(group))
    ours, published = entry.accuracy, entry.published
    first = entry.runs[0] if entry.runs else None
    return {
        "dataset": entry.dataset,
        "method": entry.method,
        "shot": entry.shot,
        "accuracy": ours.mean if ours else None,
        "interval": _finite(ours.interval) if ours else None,
        "missing": entry.missing or None,
        "against_protonet": difference.mean if difference else None,
        "against_protonet_interval": _finite(difference.interval) if difference else None,
        "tuned_accuracy": entry.tuned.accuracy.mean if entry.tuned else None,
        "tuned_interval": _finite(entry.tuned.accuracy.interval) if entry.tuned else None,
        "tuned_missing": entry.tuned_missing or None,
        "published": published.percent / 100 if published else None,
        "published_source": _source(published) if published else None,
        "above_published": entry.above_published,
        "episodes": ours.episodes if ours else None,
        "videos": first.videos if first else None,
        "seeds": len(entry.runs),
        "seed_spread": entry.spread,
        "parameters": first.costs.parameters if first else None,
        "macs": first.costs.macs if first else None,
        "train_ms": first.costs.train_ms if first else None,
        "test_ms": first.test_ms if first else None,
        "peak_bytes": first.costs.peak_bytes if first else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
