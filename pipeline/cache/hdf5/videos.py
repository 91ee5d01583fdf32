"""The videos of another tool, wherever they lie: what each is called, and how its features are read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.hdf5.axes import Shape
from ta2n.pipeline.cache.hdf5.lookup import is_list, listed
from ta2n.pipeline.cache.hdf5.pattern import Pattern, is_pattern

Read = Callable[[range], Iterable[NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class Names:
    """What things are called in a file, or in a folder of .npy files.

    Attributes:
        features: a data set of all videos; or a pattern of many, one a video, such as ``{class}/{id}/features``. None
            for a folder, whose files are ``id.npy``, ``class/id.npy`` or ``split/class/id.npy``.
        labels: a data set of (videos,) numbers or strings; a pattern of many, one a video; or a JSON file of
            ``{id: class}``. None where ``{class}`` says it.
        ids: a data set of (videos,) strings, unique; None for ``row-000000`` and so on, or where ``{id}`` says it.
        splits: a data set of (videos,) strings ``train``, ``val``, ``test``; a pattern; or a JSON file. None where
            ``{split}`` says it, or nothing does.
    """

    features: str | None = None
    labels: str | None = None
    ids: str | None = None
    splits: str | None = None


@dataclass(frozen=True, kw_only=True)
class Videos:
    """The videos of a file or folder.

    Attributes:
        what: the features, for messages and for the manifest.
        ids: their names.
        labels: class of each.
        splits: of each; None where nothing says it.
        shapes: of one video's array: a single one for all, or that of each.
        each: whether each has an array of its own.
        read: the arrays of some rows.
    """

    what: str
    ids: list[str]
    labels: list[str]
    splits: list[str] | None
    shapes: list[Shape]
    each: bool
    read: Read


def videos_of(
    file: Path,
    names: Names,
    pattern: Pattern,
    fields: list[dict[str, str]],
    *,
    shapes: list[Shape],
    read: Read,
    of_each: Callable[[Pattern], list[str]] | None = None,
) -> Videos:
    """The videos that a pattern found.

    Args:
        file: for messages.
        names: what was asked for.
        pattern: of the features.
        fields: what the pattern says of each video.
        shapes: of each.
        read: the arrays of some rows.
        of_each: reads the value that another pattern names for each; None where there is none.

    Raises:
        InputError: nothing says the classes, or two things do.
    """
    if names.ids is not None:
        raise InputError(f"{file}: --ids goes with one data set of all videos; {{id}} says the names here")

    def said(field: str, flag: str, name: str | None) -> list[str] | None:
        if field in pattern.fields and name is not None:
            raise InputError(f"{file}: {{{field}}} and {flag} say the same; give one of them")
        if field in pattern.fields or name is None:
            return [one[field] for one in fields] if field in pattern.fields else None
        if is_list(name):
            return listed(Path(name), [one["id"] for one in fields])
        if of_each is None or not is_pattern(name):
            also = " or a pattern with {id}" if of_each else ""
            raise InputError(f"{file}: {flag} {name} does not say it for each video; give a .json file{also}")
        return of_each(Pattern(name))

    labels = said("class", "--labels", names.labels)
    if labels is None:
        raise InputError(
            f"{file}: nothing says the classes of {pattern.text}; put {{class}} into --features, or give --labels a "
            ".json file of {id: class}"
        )
    return Videos(
        what=pattern.text,
        ids=[f"{one['class']}/{one['id']}" if "class" in one else one["id"] for one in fields],
        labels=labels,
        splits=said("split", "--splits", names.splits),
        shapes=shapes,
        each=True,
        read=read,
    )
