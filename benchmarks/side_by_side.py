"""Cases timed in turn, so that what else the machine does meets all of them; a table and a JSON file of the outcome."""

import json
import os
import platform
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)

PACKAGES = ("ta2n", "torch", "numpy", "zarr", "numcodecs", "h5py")


@dataclass(frozen=True)
class Times:
    """Seconds of each repeat of a case.

    Attributes:
        seconds: in the order of measuring.
    """

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float((high - low) / 2 / self.median)


def interleaved(cases: Mapping[Name, Callable[[int], object]], repeats: int) -> dict[Name, Times]:
    """Calls every case in turn, ``repeats`` times over, after a call of each to warm up.

    Args:
        cases: called with the number of the repeat, so that all of them can do the same there.
        repeats: of each.
    """
    for call in cases.values():
        call(0)
    seconds: dict[Name, list[float]] = {name: [] for name in cases}
    for repeat in range(1, repeats + 1):
        for name, call in cases.items():
            start = time.perf_counter()
            call(repeat)
            seconds[name].append(time.perf_counter() - start)
    return {name: Times(found) for name, found in seconds.items()}


def paired_ratio(times: Times, base: Times) -> float:
    """How many times as fast a case is as ``base``: the median over pairs measured one after the other."""
    return float(np.median(np.asarray(base.seconds) / np.asarray(times.seconds)))


def machine() -> dict[str, Any]:
    """What was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    load = [round(value, 1) for value in os.getloadavg()]
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "load": load, "versions": versions}


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """A Markdown table of rows that all have the same columns."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "|".join("---" for _ in columns) + "|")
    for row in rows:
        print(
            "| "
            + " | ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values())
            + " |"
        )


def write_json(file: Path | None, **results: Any) -> None:
    """Writes results beside the machine, where a file is asked for."""
    if file is not None:
        file.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
