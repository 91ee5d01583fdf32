"""One folder as it lies: its entries by kind. No entry hides another, and what is odd is told by name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ta2n.pipeline.videos.entries import VIDEO_SUFFIXES, is_file, is_folder
from ta2n.pipeline.videos.series import is_image, natural_key

NAMED_IN_A_NOTE = 3
_VIDEOS = frozenset(VIDEO_SUFFIXES)


@dataclass
class Listing:
    """The names in one folder in natural order, hidden ones left out.

    Attributes:
        folders: folders and links to them.
        videos: files with the suffix of a video.
        images: files with the suffix of a frame.
        unknown: other files.
        nothing: links to nowhere or to themselves, pipes, sockets, devices.
        problem: why the folder cannot be listed; empty where it was.
    """

    folders: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    nothing: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def is_clip(self) -> bool:
        """Whether the folder holds the frames of a clip."""
        return bool(self.images) and not self.folders and not self.videos

    @property
    def is_empty(self) -> bool:
        """Whether nothing in it could be part of a clip."""
        return not (self.images or self.folders or self.videos or self.problem)


def list_folder(folder: Path) -> Listing:
    """What a folder holds; one that cannot be listed says so in its `problem`."""
    listing = Listing()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    _names_of_kind(listing, entry).append(entry.name)
    except OSError as error:
        listing.problem = error.strerror or str(error)
    for names in (listing.folders, listing.videos, listing.images, listing.unknown, listing.nothing):
        names.sort(key=natural_key)
    return listing


def is_text(name: str) -> bool:
    """Whether a name can be written into a row table; Python keeps bytes that are not UTF-8 as lone surrogates."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def told(text: str, paths: Sequence[str]) -> str:
    """A sentence on some paths, which names the first of them."""
    named = ", ".join(path if is_text(path) else ascii(path) for path in paths[:NAMED_IN_A_NOTE])
    more = f" and {len(paths) - NAMED_IN_A_NOTE} more" if len(paths) > NAMED_IN_A_NOTE else ""
    return f"{text[0].upper()}{text[1:]} ({len(paths)}): {named}{more}."


def _names_of_kind(listing: Listing, entry: "os.DirEntry[str]") -> list[str]:
    if is_folder(entry):
        return listing.folders
    if not is_file(entry):
        return listing.nothing
    if os.path.splitext(entry.name)[1].lower() in _VIDEOS:  # noqa: PTH122 - one call per file, and there may be millions
        return listing.videos
    return listing.images if is_image(entry.name) else listing.unknown
