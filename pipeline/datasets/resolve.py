"""The rows that ``--dataset`` means: the clips of a published split, or those of a folder."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.table import SPLITS, VideoTable
from ta2n.pipeline.datasets.fetch import fetch_lists, lists_home
from ta2n.pipeline.datasets.folder import scan_folder
from ta2n.pipeline.datasets.forms import OTHER_FORMS
from ta2n.pipeline.datasets.listing import is_text, told
from ta2n.pipeline.datasets.lists import Listed, read_lists
from ta2n.pipeline.datasets.match import match
from ta2n.pipeline.datasets.published import PUBLISHED
from ta2n.pipeline.datasets.scan import scan_copy
from ta2n.pipeline.datasets.splits import apply_class_split, read_split_file, require_classes, seeded_class_split
from ta2n.pipeline.videos.entries import is_folder

DATA = "TA2N_DATA"


@dataclass(frozen=True)
class Resolved:
    """What a name or a folder means.

    Attributes:
        name: of the data set, and of its store.
        videos: its rows.
        notes: lines worth telling: what is odd, what is missing, how classes were split.
    """

    name: str
    videos: VideoTable
    notes: tuple[str, ...]


def may_flip(dataset: str, flip: bool | None) -> tuple[bool, tuple[str, ...]]:
    """Whether random views are mirrored, and what to tell of it.

    As asked for, else wherever a mirrored clip still shows its class.

    Raises:
        InputError: flips are asked for where left and right are labels.
    """
    if dataset not in PUBLISHED or PUBLISHED[dataset].flip:
        return flip is not False, ()
    if flip:
        raise InputError(f"--flip: {dataset} has classes that differ in left and right only; leave --flip out")
    return False, (f"{dataset}: no view is mirrored, as its classes tell left from right",)


def resolve(
    dataset: str | Path,
    *,
    root: Path | None = None,
    splits: Path | None = None,
    split_file: Path | None = None,
    seed: int = 0,
    on_file: Callable[[str], None] | None = None,
) -> Resolved:
    """The rows that a name or a folder means.

    A named data set has a row for every video of its lists, on every machine: videos that are not on disk are rows
    that fail, and that a later run with `--retry-failed` fills.

    Args:
        dataset: one of :data:`~ta2n.pipeline.datasets.published.PUBLISHED`, or a folder ``class/clip`` or
            ``{train,val,test}/class/clip``.
        root: folder of a named data set's clips, or one that holds it; None is the variable ``TA2N_DATA``.
        splits: folder of a named data set's lists; None fetches them once.
        split_file: a JSON file of classes by split, for a folder.
        seed: of the class split of a folder that names none.
        on_file: called with the URL of a list that is about to be fetched.

    Raises:
        InputError: an option does not go with this data set, or none of its videos is there.
        MissingError: its folder or its lists are not there.
    """
    name = str(dataset)
    if name in PUBLISHED:
        place, videos, notes = named_videos(name, root, splits, split_file, on_file=on_file)
        return published_rows(name, place, videos, notes)
    for flag, value in (("--root", root), ("--splits", splits)):
        if value is not None:
            names = ", ".join(PUBLISHED)
            raise InputError(f"{flag} goes with one of {names}; {name!r} is none of them and taken for a folder")
    if not Path(dataset).exists():
        raise MissingError(
            f"{dataset}: there is no such folder, and no data set of this name; name a folder of clips, or one of "
            f"{', '.join(PUBLISHED)}"
        )
    return folder_rows(Path(dataset), split_file, seed)


def named_videos(
    name: str,
    root: Path | None,
    splits: Path | None,
    split_file: Path | None,
    *,
    on_file: Callable[[str], None] | None = None,
) -> tuple[Path, tuple[Listed, ...], tuple[str, ...]]:
    """The folder of a named data set's clips, the videos of its lists, and what is odd about the lists.

    Raises:
        InputError: `--split-file` is given, which goes with folders.
    """
    if split_file is not None:
        raise InputError("--split-file goes with a folder; for a named data set give --splits, a folder of lists")
    place, dataset = find_root(name, root), PUBLISHED[name]
    lists = read_lists(splits or fetch_lists(dataset, lists_home(), on_file=on_file), dataset)
    return place, lists.videos, tuple(f"note: {line}" for line in lists.notes)


def published_rows(name: str, root: Path, videos: tuple[Listed, ...], notes: tuple[str, ...] = ()) -> Resolved:
    """The rows of a named data set, one for every video of its lists."""
    where, copy = storable(root), scan_copy(root)
    matches = match(videos, copy.clips, PUBLISHED[name])
    if not matches.found:
        doubt = f" ({len(matches.doubtful)} are in doubt between several clips)" if matches.doubtful else ""
        raise InputError(
            f"{root}: holds none of the {len(videos)} videos of {name}{doubt}; `ta2n dataset check {name} "
            f"--root {root}` says what is there instead"
        )
    by_rule = ", ".join(f"{count} by {rule}" for rule, count in matches.rules.items())
    said = [*notes, f"{name}: {len(matches.found)} of {len(videos)} listed videos found in {root} ({by_rule})"]
    if missing := len(videos) - len(matches.found):
        doubtful = f", {len(matches.doubtful)} of them in doubt between several clips" if matches.doubtful else ""
        said.append(
            f"note: {missing} listed videos are not there{doubtful}; they are recorded as failed and left out of "
            f"episodes. `ta2n dataset check {name}` lists them"
        )
    if copy.forms:
        said.append(f"note: {told(OTHER_FORMS, copy.forms)}")
    # A video that was not found keeps the path that the list gives it, where there is nothing to decode.
    rows = [(video.id, matches.found.get(video.id, video.id), video.label, video.split) for video in videos]
    return Resolved(name, VideoTable.from_rows(rows, root=where), tuple(said))


def storable(root: Path) -> str:
    """The path of a data set's folder, without links, as the row table holds it.

    Raises:
        InputError: it is not valid UTF-8, which the row table is.
    """
    for where in (str(root.absolute()), str(root.resolve())):
        if not is_text(where):
            raise InputError(f"{where}: this path is not UTF-8, so no store can name it; rename it")
    return str(root.resolve())


def find_root(name: str, root: Path | None) -> Path:
    """The folder of a named data set's clips: `--root` or TA2N_DATA, or the one folder in it that is called like it.

    Raises:
        InputError: nothing says where the clips are, or several folders could be meant.
        MissingError: there is no such folder.
    """
    if root is None and not os.environ.get(DATA):
        raise InputError(f"where are the clips of {name}? Give --root FOLDER, or set {DATA} to their folder")
    base = root or Path(os.environ[DATA])
    if not base.is_dir():
        raise MissingError(f"{base}: there is no such folder; give --root or {DATA} the folder of the clips of {name}")
    known = {home for dataset in PUBLISHED.values() for home in dataset.homes}
    with os.scandir(base) as entries:  # there may be 200,000 clips in it
        folders = sorted(entry.name for entry in entries if entry.name.lower() in known and is_folder(entry))
    homes = [folder for folder in folders if folder.lower() in PUBLISHED[name].homes]
    if len(homes) > 1:
        raise InputError(f"{base}: several folders could hold {name} ({', '.join(homes)}); give --root one of them")
    if folders and not homes:
        # Clips of Something-Something are numbers, and so are those of other data sets: never look among these.
        usual = ", ".join(PUBLISHED[name].homes)
        raise MissingError(f"{base}: holds {', '.join(folders)}, but no folder of {name}; expected one of {usual}")
    return base / homes[0] if homes else base


def folder_rows(dataset: Path, split_file: Path | None, seed: int) -> Resolved:
    """The rows of a folder, with notes of what is odd and which class goes where."""
    where, found = storable(dataset), scan_folder(dataset)
    clips = found.clips
    notes = list(found.notes)
    labels = {clip.label for clip in clips}
    if split_file is not None:
        split = read_split_file(split_file)
        require_classes(split, labels, source=split_file)
        clips, more = apply_class_split(clips, split)
        notes += more
    elif not any(clip.split for clip in clips) and len(labels) < len(SPLITS):
        notes.append(
            f"{len(labels)} classes are too few for a class split; every clip is extracted, none can be tested"
        )
    elif not any(clip.split for clip in clips):
        clips, _ = apply_class_split(clips, seeded_class_split(sorted(labels), seed))
        notes.append(
            f"the folder names no splits: its classes were split by seed {seed}; --split-file decides otherwise"
        )
    rows = [(clip.id, str(clip.path.relative_to(found.root)), clip.label, clip.split) for clip in clips]
    table = VideoTable.from_rows(rows, root=where)
    return Resolved(found.name, table, tuple(f"note: {line}" for line in notes))
