"""What is extracted or rendered for a table on the way to it."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ta2n.cli.console import note

if TYPE_CHECKING:
    from ta2n.pipeline.datasets.sources import Sources

DEMO = Path("demo")


def extract_found(sources: "Sources", cache: Path, root: Path | None, splits: Path | None, device: str) -> None:
    """Extracts what is on disk and not in a store yet, as ``ta2n extract`` does by default."""
    from ta2n.cli.extract import extract
    from ta2n.pipeline.commands.stores import store_path

    for name in list(sources.found):
        note(f"\n$ ta2n extract --dataset {name} --cache {cache}" + (f" --root {root}" if root else ""))
        with contextlib.redirect_stdout(sys.stderr):
            extract(dataset=name, cache=cache, root=root, splits=splits, device=device)
        sources.stores[name] = store_path(cache, name)
        del sources.found[name]


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
