"""Rows of the table: a TOML file for each method, with how it is trained and what others published."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.config.options import recipe_names
from ta2n.pipeline.config.recipes import check_table, read_toml
from ta2n.pipeline.heads import HEADS
from ta2n.pipeline.training.settings import HeadOptions, Settings

_NAMES = {"method", "title", "train", "published"}


@dataclass(frozen=True)
class PublishedResult:
    """A number that others published; 5-way, end to end unless ``note`` says otherwise.

    Attributes:
        percent: accuracy.
        backbone: what it was computed with.
        note: where the number is from, where it is not simply the method's own.
    """

    percent: float
    backbone: str
    note: str


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Attributes:
        method: name of the head.
        title: how the row is called.
        train: settings of its training that differ from the protocol's, by the names of a recipe.
        published: by data set and number of shots.
        file: where all this is written.
    """

    method: str
    title: str
    train: Mapping[str, Any]
    published: Mapping[tuple[str, int], PublishedResult]
    file: Path


def read_rows(folder: Path) -> list[TableRow]:
    """The rows of a folder's ``*.toml`` files, in the order of their names.

    Raises:
        MissingError: there is no such file.
        InputError: a file is not a row, or two are of the same method.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise MissingError(f"{folder}: holds no recipe (*.toml), so the table has no rows; give --recipes FOLDER")
    rows = [read_row(file) for file in files]
    by_method: dict[str, Path] = {}
    for row in rows:
        if row.method in by_method:
            raise InputError(
                f"{row.file}: {row.method} has a row already, in {by_method[row.method]}; keep one of them"
            )
        by_method[row.method] = row.file
    return rows


def read_row(file: Path) -> TableRow:
    """One row.

    Raises:
        InputError: the file is not TOML, or not a row: unknown or missing names, an unknown method.
    """
    values = read_toml(file)
    unknown = ", ".join(sorted(values.keys() - _NAMES))
    if unknown or not {"method", "title"} <= values.keys():
        found = f"unknown: {unknown}" if unknown else f"found: {', '.join(values) or 'nothing'}"
        raise InputError(f"{file}: a row has method, title and perhaps [train] and [[published]]; {found}")
    if values["method"] not in HEADS:
        raise InputError(f"{file}: there is no method named {values['method']!r}; choose one of {', '.join(HEADS)}")
    published: dict[tuple[str, int], PublishedResult] = {}
    for entry in values.get("published", []):
        published |= _published(entry, file)
    train = check_table(values.get("train", {}), "train", file, recipe_names(Settings, HeadOptions))
    return TableRow(values["method"], str(values["title"]), train, published, file)


def _published(entry: Mapping[str, Any], file: Path) -> dict[tuple[str, int], PublishedResult]:
    described = {"dataset", "backbone", "note"}
    numbers = {name: value for name, value in entry.items() if name not in described}
    try:
        return {
            (entry["dataset"], int(name.removeprefix("shot-"))): PublishedResult(
                float(value), entry["backbone"], entry.get("note", "")
            )
            for name, value in numbers.items()
        }
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{file}: {dict(entry)} is not a published result; it has dataset, backbone, perhaps note, and "
            "accuracies in percent as shot-1 = 47.6"
        ) from error
