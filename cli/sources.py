"""What is extracted or rendered for a table on the way to it."""

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ta2n.cache_schema.errors import InputError
from ta2n.cli.console import note

if TYPE_CHECKING:
    from ta2n.pipeline.datasets.sources import Sources

DEMO = Path("demo")


def extract_found(sources: "Sources", cache: Path, root: Path | None, splits: Path | None, device: str) -> None:
    """Extracts what is on disk and not in a store yet, as ``ta2n extract`` does by default; a failure ends no other."""
    from ta2n.pipeline.commands.stores import store_path
    from ta2n.pipeline.report.table.failures import Failure, attempt

    for name in list(sources.found):
        note(f"\n$ ta2n extract --dataset {name} --cache {cache}" + (f" --root {root}" if root else ""))
        del sources.found[name]
        with contextlib.redirect_stdout(sys.stderr):
            made = attempt(partial(_extract, name, cache, root, splits, device))
        if isinstance(made, Failure):
            sources.missing[name] = f"could not be extracted: {made.reason}"
        else:
            sources.stores[name] = store_path(cache, name)


def _extract(name: str, cache: Path, root: Path | None, splits: Path | None, device: str) -> None:
    from ta2n.cli.extract import extract

    try:
        extract(dataset=name, cache=cache, root=root, splits=splits, device=device)
    except typer.Exit as error:
        raise InputError("no clip could be used; ta2n extract names the reasons") from error


def demo_store(device: str) -> Path:
    """The store of the demo's clips, rendered and extracted where they are not there."""
    from ta2n.cli.demo import prepare

    with contextlib.redirect_stdout(sys.stderr):
        return prepare(DEMO, device=device)


def how_to_get_them(cache: Path) -> str:
    """The commands that lead to the paper's table."""
    return (
        "For the paper's table, with UCF101 in DIR (likewise hmdb51, ssv2-otam, ssv2-cmn, kinetics-cmn):\n"
        "  ta2n dataset check ucf101 --root DIR\n"
        f"  ta2n extract --dataset ucf101 --root DIR --cache {cache}\n"
        f"  ta2n table --cache {cache}"
    )
