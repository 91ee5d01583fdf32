"""Several methods side by side: which are asked for, and how what was found is printed."""

import csv
import sys
from typing import TYPE_CHECKING, Any

from ta2n.cache_schema.errors import InputError
from ta2n.cli import options
from ta2n.cli.console import print_json, shown_in_line, size, stdout, table

if TYPE_CHECKING:
    from ta2n.pipeline.report.table.runs import Row


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


def report(values: dict[str, list["Row"]], way: int, *, as_json: bool, as_csv: bool) -> None:
    """Prints the rows of one or several data sets as tables for people, as JSON or as CSV."""
    if as_json:
        print_json({dataset: [as_dict(row) for row in rows] for dataset, rows in values.items()})
    elif as_csv:
        lines = [{"dataset": dataset, "way": way} | as_dict(row) for dataset, rows in values.items() for row in rows]
        writer = csv.DictWriter(sys.stdout, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: shown_in_line(one) if isinstance(one, str) else one for name, one in line.items()} for line in lines
        )
    else:
        for dataset, rows in values.items():
            stdout().print(as_table(dataset, rows, way))


def as_table(dataset: str, rows: list["Row"], way: int) -> Any:
    """One data set's rows for a person."""
    from ta2n.pipeline.report.table.results import count

    episodes, videos = rows[0].accuracy.episodes, rows[0].videos
    return table(
        f"{dataset}: {way}-way, {episodes} test episodes of {videos} clips, heads on frozen features",
        ["method", "shots", "accuracy", "against protonet", "parameters", "MACs", "train ms", "test ms", "memory"],
        [
            [
                row.method,
                str(row.shot),
                row.accuracy.percent(),
                row.difference.percent(signed=True) if row.difference else "",
                f"{row.costs.parameters:,}",
                count(row.costs.macs),
                f"{row.costs.train_ms:.1f}",
                f"{row.test_ms:.2f}",
                size(row.costs.peak_bytes) if row.costs.peak_bytes is not None else "not known",
            ]
            for row in rows
        ],
    )


def as_dict(row: "Row") -> dict[str, Any]:
    """A row for a machine: shares as 0 to 1, milliseconds, bytes; None where there is nothing."""
    difference = row.difference
    return {
        "method": row.method,
        "shot": row.shot,
        "accuracy": row.accuracy.mean,
        "interval": row.accuracy.interval,
        "episodes": row.accuracy.episodes,
        "videos": row.videos,
        "against_protonet": difference.mean if difference else None,
        "against_protonet_interval": difference.interval if difference else None,
        "parameters": row.costs.parameters,
        "macs": row.costs.macs,
        "train_ms": row.costs.train_ms,
        "test_ms": row.test_ms,
        "peak_bytes": row.costs.peak_bytes,
        "best_epoch": row.best_epoch,
    }
