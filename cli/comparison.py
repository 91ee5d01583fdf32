"""Several methods side by side: which are asked for, and how what was found is printed."""

import csv
import sys
from typing import TYPE_CHECKING, Any

from ta2n.cache_schema.errors import InputError
from ta2n.cli import options
from ta2n.cli.console import print_json, shown_in_line, size, stdout, table

if TYPE_CHECKING:
    from ta2n.pipeline.report.table.runs import ComparedRow
    from ta2n.pipeline.report.table.tested import MethodResult


def method_names(text: str) -> list[str]:
    """The methods of ``all`` or of a list; ProtoNet first, as the others are set against it.

    Raises:
        InputError: a name is given twice.
    """
    from ta2n.pipeline.heads import HEADS

    names = list(HEADS) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"the method {name} is asked for {names.count(name)} times; once is enough")
    return sorted(names, key=lambda name: name != "protonet")


def shot_numbers(text: str) -> list[int]:
    """Numbers of shots from a list on the line.

    Raises:
        InputError: one is not a whole number, below 1, or given twice.
    """
    return options.numbers(text, "--shot", low=1)


def report(values: dict[str, list["ComparedRow"]], way: int, *, as_json: bool, as_csv: bool) -> None:
    """Prints the rows of one or several data sets as tables for people, as JSON or as CSV.

    Args:
        values: rows by data set; of each at least one that did not fail.
        way: N.
        as_json: one document.
        as_csv: a line a row.
    """
    if as_json:
        print_json({dataset: as_records(rows) for dataset, rows in values.items()})
    elif as_csv:
        _print_csv(values, way)
    else:
        for dataset, rows in values.items():
            stdout().print(as_table(dataset, rows, way))
            for line in remarks(rows):
                stdout().print(line, markup=False)


def _print_csv(values: dict[str, list["ComparedRow"]], way: int) -> None:
    from ta2n.pipeline.evaluation.classes import as_line

    lines = [{"dataset": name, "way": way} | as_line(one) for name, rows in values.items() for one in as_records(rows)]
    writer = csv.DictWriter(sys.stdout, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: shown_in_line(one) if isinstance(one, str) else one for name, one in line.items()} for line in lines
    )


def as_table(dataset: str, rows: list["ComparedRow"], way: int) -> Any:
    """One data set's rows for a person."""
    episodes = _tested(rows)[0].accuracy.episodes
    return table(
        f"{dataset}: {way}-way, {episodes} test episodes, heads on frozen features",
        [
            *("method", "shots", "accuracy", "against protonet", "videos", "classes", "parameters", "MACs"),
            *("train ms", "test ms", "memory"),
        ],
        [_cells(row) for row in rows],
    )


def _cells(row: "ComparedRow") -> list[str]:
    from ta2n.pipeline.report.table.cells import count
    from ta2n.pipeline.report.table.runs import FailedRun

    if isinstance(row, FailedRun):
        return [row.method, str(row.shot), "failed", *[""] * 8]
    return [
        row.method,
        str(row.shot),
        row.accuracy.percent(),
        row.difference.percent(signed=True) if row.difference else "",
        str(row.classes.videos),
        row.classes.counted,
        f"{row.costs.parameters:,}",
        count(row.costs.macs),
        f"{row.costs.train_ms:.1f}",
        f"{row.test_ms:.2f}",
        size(row.costs.peak_bytes) if row.costs.peak_bytes is not None else "not known",
    ]


def remarks(rows: list["ComparedRow"]) -> list[str]:
    """What a person should know of the rows: which failed and why, and which classes are left out."""
    from ta2n.pipeline.report.table.runs import FailedRun

    failed = [f"{row.method}, {row.shot}-shot failed: {row.reason}" for row in rows if isinstance(row, FailedRun)]
    left_out = {row.shot: row.classes.sentence for row in _tested(rows)}
    return failed + [f"{shot}-shot: {sentence}" for shot, sentence in left_out.items() if sentence]


def _tested(rows: list["ComparedRow"]) -> list["MethodResult"]:
    from ta2n.pipeline.report.table.runs import FailedRun

    return [row for row in rows if not isinstance(row, FailedRun)]


def as_records(rows: list["ComparedRow"]) -> list[dict[str, Any]]:
    """Rows for a machine: shares as 0 to 1, milliseconds, bytes; None where there is nothing."""
    from ta2n.pipeline.report.table.runs import FailedRun

    nothing = dict.fromkeys(as_dict(_tested(rows)[0]))
    return [
        nothing | {"method": row.method, "shot": row.shot, "failed": row.reason}
        if isinstance(row, FailedRun)
        else as_dict(row)
        for row in rows
    ]


def as_dict(row: "MethodResult") -> dict[str, Any]:
    """A row that did not fail, for a machine."""
    from ta2n.cache_schema.plain_json import finite

    difference = row.difference
    record = {
        "method": row.method,
        "shot": row.shot,
        "accuracy": row.accuracy.mean,
        "interval": row.accuracy.interval,
        "failed": None,
        "episodes": row.accuracy.episodes,
        "fingerprint": row.fingerprint,
        **row.classes.as_record(),
        "against_protonet": difference.mean if difference else None,
        "against_protonet_interval": difference.interval if difference else None,
        "parameters": row.costs.parameters,
        "macs": row.costs.macs,
        "train_ms": row.costs.train_ms,
        "test_ms": row.test_ms,
        "peak_bytes": row.costs.peak_bytes,
        "best_epoch": row.best_epoch,
    }
    return dict(finite(record))
