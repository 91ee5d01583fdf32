"""Copies of the published data sets as empty or tiny files, in the layouts that people have."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import shared_data

from ta2n.pipeline.datasets.lists import Listed, read_lists
from ta2n.pipeline.datasets.published import PUBLISHED

SPLIT_LISTS = shared_data.SHARED / "splits"
SUFFIXES = {"ucf101": "avi", "hmdb51": "avi", "ssv2-otam": "webm", "ssv2-cmn": "webm", "kinetics-cmn": "mp4"}

# ext4 allows 65,000.
LINKS_OF_A_FILE = 50_000


def listed(name: str) -> tuple[Listed, ...]:
    """The videos of a data set's published lists."""
    return read_lists(SPLIT_LISTS, PUBLISHED[name]).videos


def usual_path(name: str, video: Listed) -> str:
    """Where a video lies in the data set as its makers distribute it."""
    folder = f"{video.folder}/" if not name.startswith("ssv2") else ""
    return f"{folder}{video.name}.{SUFFIXES[name]}"


def without_time(path: str) -> str:
    """A path of Kinetics without the time that many tools put into the name, and without spaces."""
    return re.sub(r"_\d{6}_\d{6}(\.\w+)$", r"\1", path).replace(" ", "_")


def plant(root: Path, paths: Iterable[str], content: bytes = b"-") -> None:
    """Puts a file of the same tiny content at every path: links to a hidden one, a tenth of the cost."""
    made = {""}
    for number, path in enumerate(paths):
        if number % LINKS_OF_A_FILE == 0:
            source = root / f".{len(content)} bytes, from {number}"
            source.write_bytes(content)
        folder = path.rpartition("/")[0]
        if folder not in made:
            (root / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        os.link(source, f"{root}/{path}")
