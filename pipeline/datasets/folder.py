"""A folder as a data set: `folder/class/clip` or `folder/{train,val,test}/class/clip`, or just a folder of clips.

A clip is a video file or a folder of JPEG or PNG frames. Whatever is not part of a clip ends up in a note; only hidden
files (.DS_Store and the like) are passed over in silence. Folders are listed, files are never opened.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.videos.frames import is_image, natural_key

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".webm", ".mov"})
SPLITS = ("train", "val", "test")
NAMED_IN_A_NOTE = 3
LAYOUTS = (
    "folder/class/clip, folder/{train,val,test}/class/clip or folder/clip, where a clip is a video file "
    f"({', '.join(sorted(VIDEO_SUFFIXES))}) or a folder of .jpg or .png frames"
)


@dataclass(frozen=True)
class Clip:
    """One clip: its POSIX path below the data set's root, where it lies, its class, and its split ("" if not said)."""

    id: str
    path: Path
    label: str
    split: str


@dataclass(frozen=True)
class FolderDataset:
    """The clips of a folder, in natural order of their ids, and a sentence on everything odd or left out."""

    name: str
    root: Path
    clips: tuple[Clip, ...]
    notes: tuple[str, ...]


def scan_folder(root: Path) -> FolderDataset:
    """Finds the clips of a folder, whichever of the three layouts it has.

    The layout shows in the depth: a folder `train` is a split where it holds folders with clips, and a class where it
    holds the clips. In a folder of clips without classes, every clip gets the folder's own name as its class.

    Raises:
        MissingError: when there is no such folder.
        InputError: when it is a file, or holds no clip in any of the layouts.
    """
    if not root.is_dir():
        if root.exists():
            raise InputError(f"{root}: is a file; name the folder that holds it, laid out as {LAYOUTS}.")
        raise MissingError(f"{root}: there is no such folder; name a folder of clips, laid out as {LAYOUTS}.")
    name = root.absolute().name or root.resolve().name
    top = _look(root)
    folders = {folder: _look(root / folder) for folder in top.folders}
    for scan in (_scan_splits, _scan_classes, _scan_flat):
        found = scan(root, name, top, folders)
        if found.clips:
            break
    else:
        raise InputError(f"{root}: holds no clips; expected {LAYOUTS}.")
    clips = sorted(found.clips, key=lambda clip: [natural_key(part) for part in clip.id.split("/")])
    return FolderDataset(name, root, tuple(clips), tuple(found.sentences()))


@dataclass
class _Listing:
    """The names in one folder, by kind, hidden ones left out."""

    folders: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def is_clip(self) -> bool:
        return bool(self.images) and not self.folders and not self.videos

    @property
    def is_empty(self) -> bool:
        return not (self.images or self.folders or self.videos or self.problem)


class _Findings:
    """Clips found so far, and paths of what is no clip, by the sentence that will tell of them."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []
        self.notes: list[str] = []
        self._paths: dict[str, list[str]] = defaultdict(list)

    def add(self, root: Path, clip_id: str, label: str, split: str) -> None:
        try:
            clip_id.encode()
        except UnicodeEncodeError:
            self.tell("clips whose names are not valid UTF-8 are left out; rename them", [ascii(clip_id)])
        else:
            self.clips.append(Clip(clip_id, root / clip_id, label, split))

    def tell(self, sentence: str, paths: Iterable[str], below: str = "") -> None:
        found = [f"{below}/{path}" if below else path for path in paths]
        if found:
            self._paths[sentence] += found

    def tell_leftovers(self, listing: _Listing, below: str) -> None:
        """Of files that are never part of a clip; images count as such unless they are the frames of a clip."""
        strays = listing.unknown if listing.is_clip else listing.unknown + listing.images
        self.tell("files that are neither videos nor frames of a clip are ignored", strays, below)
        self.tell("folders cannot be listed and are ignored", [listing.problem] if listing.problem else [], below)

    def sentences(self) -> list[str]:
        return self.notes + [_sentence(text, paths) for text, paths in self._paths.items()]


def _scan_splits(root: Path, name: str, top: _Listing, folders: dict[str, _Listing]) -> _Findings:
    found = _Findings()
    splits = [s for s in SPLITS if s in folders and any(_holds_clips(root / s / c) for c in folders[s].folders)]
    if not splits:
        return found
    found.tell_leftovers(top, "")
    found.tell("entries beside the split folders are ignored", top.videos + [f for f in folders if f not in SPLITS])
    for split in (s for s in SPLITS if s in folders):
        found.tell("clips in a split folder, but in no class folder, are ignored", folders[split].videos, split)
        found.tell_leftovers(folders[split], split)
        for label in folders[split].folders:
            _scan_class(root, f"{split}/{label}", label, split, _look(root / split / label), found)
    found.notes += [f"There is no clip for the split {s!r}." for s in SPLITS if s not in {c.split for c in found.clips}]
    found.notes += _shared_classes(found.clips)
    return found


def _scan_classes(root: Path, name: str, top: _Listing, folders: dict[str, _Listing]) -> _Findings:
    found = _Findings()
    found.tell_leftovers(top, "")
    loose = top.videos + [folder for folder, listing in folders.items() if listing.is_clip]
    found.tell("clips beside the class folders are ignored, as they have no class", loose)
    for label, listing in folders.items():
        if not listing.is_clip:
            _scan_class(root, label, label, "", listing, found)
    return found


def _scan_flat(root: Path, name: str, top: _Listing, folders: dict[str, _Listing]) -> _Findings:
    found = _Findings()
    found.notes.append(f"The clips lie in no class folders; all get the class {name!r}.")
    found.tell_leftovers(top, "")
    for video in top.videos:
        found.add(root, video, name, "")
    for folder, listing in folders.items():
        found.tell_leftovers(listing, folder)
        if listing.is_clip:
            found.add(root, folder, name, "")
        else:
            found.tell("folders without clips are ignored", [folder])
    return found


def _scan_class(root: Path, below: str, label: str, split: str, listing: _Listing, found: _Findings) -> None:
    before = len(found.clips)
    found.tell_leftovers(listing, below)
    for video in listing.videos:
        found.add(root, f"{below}/{video}", label, split)
    for folder in listing.folders:
        inside = _look(root / below / folder)
        found.tell_leftovers(inside, f"{below}/{folder}")
        if inside.is_clip:
            found.add(root, f"{below}/{folder}", label, split)
        elif inside.is_empty:
            found.tell("folders without frames are ignored", [folder], below)
        else:
            found.tell(
                "folders inside a class hold videos or more folders, not frames, and are ignored", [folder], below
            )
    if len(found.clips) == before:
        found.tell("class folders hold no clips and are ignored", [below])


def _holds_clips(folder: Path) -> bool:
    listing = _look(folder)
    return bool(listing.videos) or any(_look(folder / inner).is_clip for inner in listing.folders)


def _shared_classes(clips: Iterable[Clip]) -> list[str]:
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.label].add(clip.split)
    shared = sorted((label for label, found in splits.items() if len(found) > 1), key=natural_key)
    return (
        [_sentence("classes are in more than one split, which no few-shot evaluation allows", shared)] if shared else []
    )


def _look(folder: Path) -> _Listing:
    listing = _Listing()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    _file_under(listing, entry)
    except OSError as error:
        listing.problem = error.strerror or str(error)
    for names in (listing.folders, listing.videos, listing.images, listing.unknown):
        names.sort(key=natural_key)
    return listing


def _file_under(listing: _Listing, entry: "os.DirEntry[str]") -> None:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - one call per file, and there may be millions
    if entry.is_dir():
        listing.folders.append(entry.name)
    elif entry.is_file() and suffix in VIDEO_SUFFIXES:
        listing.videos.append(entry.name)
    elif entry.is_file() and is_image(entry.name):
        listing.images.append(entry.name)
    else:
        listing.unknown.append(entry.name)


def _sentence(text: str, paths: list[str]) -> str:
    named = ", ".join(paths[:NAMED_IN_A_NOTE])
    more = f" and {len(paths) - NAMED_IN_A_NOTE} more" if len(paths) > NAMED_IN_A_NOTE else ""
    return f"{text[0].upper()}{text[1:]} ({len(paths)}): {named}{more}."
