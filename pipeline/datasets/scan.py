"""Every clip below a folder, however deep: what a copy of a large data set holds, in seconds.

Folders are listed and nothing else: no file is opened or asked for its size.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.forms import one_form
from ta2n.pipeline.datasets.listing import is_text
from ta2n.pipeline.videos.entries import VIDEO_SUFFIXES, is_folder
from ta2n.pipeline.videos.series import is_image

# root/data set/split/class/clip, where a clip may be a folder of frames.
DEEPEST = 5
# A folder whose first entries are that many images, and nothing else, is a clip: the rest need not be listed.
ENOUGH_IMAGES = 64
_VIDEOS = frozenset(VIDEO_SUFFIXES)


@dataclass
class Copy:
    """The clips below a folder, as POSIX paths below it, in no order.

    Attributes:
        root: the folder.
        clips: video files and folders of frames, each clip in one form.
        forms: further forms of them, as `one_form` tells them apart.
        empty: folders that hold nothing.
        unlisted: folders that cannot be listed.
        unnameable: clips and folders whose names are not valid UTF-8, as ASCII.
        others: number of files that are neither videos nor frames of a clip.
    """

    root: Path
    clips: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    unnameable: list[str] = field(default_factory=list)
    others: int = 0


def scan_copy(root: Path) -> Copy:
    """Finds every video file and folder of frames, `DEEPEST` folders deep at most; hidden ones are passed over.

    A folder is a clip when it holds images and neither videos nor folders.

    Raises:
        MissingError: there is no such folder.
        InputError: it is a file.
    """
    if not root.is_dir():
        if root.exists():
            raise InputError(f"{root}: is a file; name the folder that holds the clips")
        raise MissingError(f"{root}: there is no such folder; name the folder that holds the clips")
    copy = Copy(root)
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        below = _look(copy, folder, depth)
        if depth < DEEPEST:
            waiting += [(name, depth + 1) for name in below]
    copy.clips, copy.forms = one_form(sorted(copy.clips))
    return copy


def _look(copy: Copy, folder: str, depth: int) -> list[str]:
    """Adds what one folder holds to the copy; returns the folders in it."""
    before = f"{folder}/" if folder else ""
    folders: list[str] = []
    videos: list[str] = []
    images = others = 0
    try:
        with os.scandir(copy.root / folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if not is_text(name):
                    copy.unnameable.append(ascii(before + name)[1:-1])
                elif os.path.splitext(name)[1].lower() in _VIDEOS and not is_folder(entry):  # noqa: PTH122 - fast
                    # Links to nowhere as well: the check says of each clip why it cannot be read.
                    videos.append(before + name)
                elif is_image(name):
                    images += 1
                    if images == ENOUGH_IMAGES and not (folders or videos):
                        break
                elif is_folder(entry):
                    folders.append(before + name)
                else:
                    others += 1
    except OSError:
        copy.unlisted.append(folder)
        return []
    if images and not (folders or videos) and folder:
        copy.clips.append(folder)
    elif not (images or folders or videos or others):
        copy.empty.append(folder)
    else:
        others += images
    copy.clips += videos
    copy.others += others
    return folders
