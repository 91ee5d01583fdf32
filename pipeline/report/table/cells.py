"""What stands in the cells of the table: ours beside the published, one sheet for a data set and a number of shots."""

from collections.abc import Sequence

import numpy as np

from ta2n.pipeline.report.table.entries import TableEntry, against_baseline, baseline, source_of
from ta2n.pipeline.report.table.runs import BASELINE
from ta2n.pipeline.report.table.sheet import Sheet
from ta2n.pipeline.report.table.tested import MethodResult

_COLUMNS = (
    "method",
    "frozen backbone",
    "against ProtoNet",
    "fine-tuned",
    "ProtoNet on its features",
    "published",
    "frozen − published",
    "videos",
    "classes",
    "seeds",
    "MACs",
    "train ms",
    "test ms",
)


def to_sheets(entries: Sequence[TableEntry], *, way: int) -> list[Sheet]:
    """A sheet for each data set and number of shots, in the order in which they first occur."""
    groups: dict[tuple[str, int], list[TableEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.dataset, entry.shot), []).append(entry)
    return [_sheet(dataset, shot, way, group) for (dataset, shot), group in groups.items()]


def _sheet(dataset: str, shot: int, way: int, group: Sequence[TableEntry]) -> Sheet:
    marks: dict[str, str] = {}
    rows = tuple(_cells(entry, baseline(group), marks) for entry in group)
    notes = tuple(f"{mark} {text}" for text, mark in marks.items())
    return Sheet(f"{dataset}, {way}-way {shot}-shot", _COLUMNS, rows, notes)


def _cells(entry: TableEntry, base: TableEntry | None, marks: dict[str, str]) -> tuple[str, ...]:
    ours, published, above = entry.accuracy, entry.published, entry.above_published
    first = entry.runs[0] if entry.runs else None
    return (
        entry.title,
        ours.percent() if ours else f"none {_mark(entry.missing, marks)}",
        _difference(entry, base, marks),
        _tuned(entry, marks),
        entry.tuned_plain.percent() if entry.tuned_plain else "",
        f"{published.percent:.1f} {_mark(source_of(published), marks)}" if published else "none",
        "" if above is None else f"{100 * above:+.1f}",
        str(first.classes.videos) if first else "",
        _classes(first, marks) if first else "",
        _seeds(entry),
        count(first.costs.macs) if first else "",
        f"{np.median([run.costs.train_ms for run in entry.runs]):.1f}" if first else "",
        f"{np.median([run.test_ms for run in entry.runs]):.2f}" if first else "",
    )


def _difference(entry: TableEntry, base: TableEntry | None, marks: dict[str, str]) -> str:
    difference = against_baseline(entry, base)
    if difference:
        return difference.percent(signed=True)
    if base and entry.runs and entry.method != BASELINE:
        return f"none {_mark('not tested on the episodes that ProtoNet was tested on', marks)}"
    return ""


def _tuned(entry: TableEntry, marks: dict[str, str]) -> str:
    accuracy = entry.tuned_accuracy
    if accuracy is None:
        return f"none {_mark(entry.tuned_missing, marks)}"
    left_out = entry.tuned[0].run.classes.sentence
    return accuracy.percent() + (f" {_mark(left_out, marks)}" if left_out else "")


def _classes(run: MethodResult, marks: dict[str, str]) -> str:
    left_out = run.classes.sentence
    return run.classes.counted + (f" {_mark(left_out, marks)}" if left_out else "")


def _seeds(entry: TableEntry) -> str:
    spread = entry.spread
    return (str(len(entry.runs)) if entry.runs else "") + ("" if spread is None else f" (± {100 * spread:.2f})")


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
