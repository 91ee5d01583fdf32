"""A folder as a data set: `folder/class/clip` or `folder/{train,val,test}/class/clip`, or just a folder of clips.

A clip is a video file or a folder of JPEG or PNG frames. Whatever is not part of a clip ends up in a note; only hidden
files (.DS_Store and the like) are passed over in silence. Folders are listed, files are never opened.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.table import SPLITS
from ta2n.pipeline.datasets.forms import OTHER_FORMS, one_form
from ta2n.pipeline.datasets.listing import Listing, is_text, list_folder, told
from ta2n.pipeline.datasets.split_folders import folders_of_splits, refuse_splits_without_classes
from ta2n.pipeline.videos.entries import VIDEO_SUFFIXES
from ta2n.pipeline.videos.series import natural_key

LAYOUTS = (
    "folder/class/clip, folder/{train,val,test}/class/clip or folder/clip, where a clip is a video file "
    f"({', '.join(VIDEO_SUFFIXES)}) or a folder of .jpg or .png frames"
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
    holds the clips and no other split does. In a folder of clips without classes, every clip gets the folder's own name
    as its class.

    Raises:
        MissingError: when there is no such folder.
        InputError: when it is a file, cannot be listed, or holds no clip in any of the layouts; or two of its folders
            mean one split; or folders of splits hold clips without classes.
    """
    if not root.is_dir():
        if root.exists():
            raise InputError(f"{root}: is a file; name the folder that holds it, laid out as {LAYOUTS}.")
        raise MissingError(f"{root}: there is no such folder; name a folder of clips, laid out as {LAYOUTS}.")
    name = root.absolute().name or root.resolve().name
    top = list_folder(root)
    if top.problem:
        raise InputError(f"{root}: the folder cannot be listed ({top.problem}).")
    folders = {folder: list_folder(root / folder) for folder in top.folders}
    for scan in (_scan_splits, _scan_classes, _scan_flat):
        found = scan(root, name, top, folders)
        if found.clips:
            break
    else:
        raise InputError(f"{root}: holds no clips; expected {LAYOUTS}.")
    clips = sorted(found.clips, key=lambda clip: [natural_key(part) for part in clip.id.split("/")])
    return FolderDataset(name, root, tuple(clips), tuple(found.sentences()))


class _Findings:
    """Clips found so far, and paths of what is no clip, by the sentence that will tell of them."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []
        self.notes: list[str] = []
        self._paths: dict[str, list[str]] = defaultdict(list)

    def add(self, root: Path, paths: Sequence[str], label: str, split: str) -> None:
        """Takes the clips of one folder, each in one form."""
        kept, others = one_form(paths)
        self.tell(OTHER_FORMS, others)
        for clip_id in kept:
            if is_text(clip_id):
                self.clips.append(Clip(clip_id, root / clip_id, label, split))
            else:
                self.tell("clips whose names are not valid UTF-8 are left out; rename them", [clip_id])

    def tell(self, sentence: str, paths: Iterable[str], below: str = "") -> None:
        found = [f"{below}/{path}" if below else path for path in paths]
        if found:
            self._paths[sentence] += found

    def tell_leftovers(self, listing: Listing, below: str) -> None:
        """Of files that are never part of a clip; images count as such unless they are the frames of a clip."""
        strays = listing.unknown if listing.is_clip else listing.unknown + listing.images
        self.tell("files that are neither videos nor frames of a clip are ignored", strays, below)
        self.tell("links that lead nowhere, pipes and devices are ignored", listing.nothing, below)
        if listing.problem:
            self.tell(f"folders cannot be listed and are ignored: {listing.problem}", [below])

    def sentences(self) -> list[str]:
        return self.notes + [told(text, paths) for text, paths in self._paths.items()]


def _scan_splits(root: Path, name: str, top: Listing, folders: dict[str, Listing]) -> _Findings:
    found = _Findings()
    splits = folders_of_splits(root, folders)
    if not splits:
        return found
    found.tell_leftovers(top, "")
    beside = [folder for folder in folders if folder not in splits.values()]
    found.tell("entries beside the split folders are ignored", top.videos + beside)
    for split, folder in splits.items():
        listing = folders[folder]
        found.tell("clips in a split folder, but in no class folder, are ignored", listing.videos, folder)
        found.tell_leftovers(listing, folder)
        for label in listing.folders:
            below = f"{folder}/{label}"
            _scan_class(root, below, label, split, list_folder(root / below), found)
    found.notes += [f"There is no clip for the split {s!r}." for s in SPLITS if s not in {c.split for c in found.clips}]
    found.notes += _shared_classes(found.clips)
    return found


def _scan_classes(root: Path, name: str, top: Listing, folders: dict[str, Listing]) -> _Findings:
    refuse_splits_without_classes(root, folders, top.videos)
    found = _Findings()
    found.tell_leftovers(top, "")
    loose = top.videos + [folder for folder, listing in folders.items() if listing.is_clip]
    found.tell("clips beside the class folders are ignored, as they have no class", loose)
    for label, listing in folders.items():
        if not listing.is_clip:
            _scan_class(root, label, label, "", listing, found)
    return found


def _scan_flat(root: Path, name: str, top: Listing, folders: dict[str, Listing]) -> _Findings:
    found = _Findings()
    found.notes.append(f"The clips lie in no class folders; all get the class {name!r}.")
    found.tell_leftovers(top, "")
    for folder, listing in folders.items():
        found.tell_leftovers(listing, folder)
        if not (listing.is_clip or listing.problem):
            found.tell("folders without clips are ignored", [folder])
    found.add(root, top.videos + [folder for folder, listing in folders.items() if listing.is_clip], name, "")
    return found


def _scan_class(root: Path, below: str, label: str, split: str, listing: Listing, found: _Findings) -> None:
    found.tell_leftovers(listing, below)
    clips = [f"{below}/{video}" for video in listing.videos]
    for folder in listing.folders:
        inside = list_folder(root / below / folder)
        found.tell_leftovers(inside, f"{below}/{folder}")
        if inside.is_clip:
            clips.append(f"{below}/{folder}")
        elif inside.is_empty:
            found.tell("folders without frames are ignored", [folder], below)
        elif not inside.problem:
            found.tell(
                "folders inside a class hold videos or more folders, not frames, and are ignored", [folder], below
            )
    found.add(root, clips, label, split)
    if not (clips or listing.problem):
        found.tell("class folders hold no clips and are ignored", [below])


def _shared_classes(clips: Iterable[Clip]) -> list[str]:
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.label].add(clip.split)
    shared = sorted((label for label, found in splits.items() if len(found) > 1), key=natural_key)
    return [told("classes are in more than one split, which no few-shot evaluation allows", shared)] if shared else []
