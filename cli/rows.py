"""The rows that ``--dataset`` means: the clips of a published split, or those of a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ta2n.cache_schema.errors import InputError
from ta2n.cli.console import note

if TYPE_CHECKING:
    from ta2n.cache_schema.table import VideoTable

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder of a named data set's clips, or one that holds it. [default: the variable TA2N_DATA]",
        metavar="FOLDER",
    ),
]
Splits = Annotated[
    Path | None,
    typer.Option(
        "--splits",
        help="Folder of a named data set's split lists. [default: fetched once, into the cache folder]",
        metavar="FOLDER",
    ),
]


def may_flip(dataset: str, flip: bool | None) -> bool:
    """Whether random views are mirrored: as asked for, else wherever a mirrored clip still shows its class.

    Raises:
        InputError: flips are asked for where left and right are labels.
    """
    from ta2n.pipeline.videos.published import PUBLISHED

    if dataset not in PUBLISHED or PUBLISHED[dataset].flip:
        return flip is not False
    if flip:
        raise InputError(f"--flip: {dataset} has classes that differ in left and right only; leave --flip out")
    return False


def dataset_rows(
    dataset: str, root: Path | None, splits: Path | None, split_file: Path | None, seed: int
) -> tuple[str, "VideoTable"]:
    """The name of a data set and its rows; tells on stderr what is odd.

    Raises:
        InputError: an option does not go with this data set.
    """
    for flag, value in (("--root", root), ("--splits", splits)):
        if value is not None:
            raise InputError(f"{flag} goes with the name of a data set; {dataset!r} is taken for a folder")
    return folder_rows(Path(dataset), split_file, seed)


def folder_rows(dataset: Path, split_file: Path | None, seed: int) -> tuple[str, "VideoTable"]:
    """The name of a folder's data set and its rows; tells on stderr what is odd and which class goes where."""
    from ta2n.cache_schema.table import SPLITS, VideoTable
    from ta2n.pipeline.videos.folder import scan_folder
    from ta2n.pipeline.videos.splits import apply_class_split, read_split_file, seeded_class_split

    found = scan_folder(dataset)
    clips = found.clips
    notes = list(found.notes)
    labels = {clip.label for clip in clips}
    if split_file is not None:
        clips, more = apply_class_split(clips, read_split_file(split_file))
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
    for line in notes:
        note(f"note: {line}")
    return found.name, VideoTable.from_rows(
        [(clip.id, str(clip.path.relative_to(found.root)), clip.label, clip.split) for clip in clips],
        root=str(found.root.resolve()),
    )
