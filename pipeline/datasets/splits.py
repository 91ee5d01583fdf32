"""Which classes are for training, validation and test. In few-shot recognition no class is in two of them."""

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.cache_schema.table import SPLITS
from ta2n.pipeline.datasets.folder import Clip
from ta2n.pipeline.videos.series import natural_key

CLASSES_FOR_FIVE_WAY = 5
_NAMED = 3


def seeded_class_split(labels: Iterable[str], seed: int) -> dict[str, str]:
    """Draws a split for every class, whole classes at a time.

    Validation and test get a fifth of the classes each, rounded, but at least five where there are 15 classes or
    more, so that 5-way episodes are possible in every split. Below 15 classes they get a third each, rounded down.
    Training gets the rest. The result depends on the set of classes and the seed, not on order or repetition.

    Args:
        labels: the class of every clip, or every class.
        seed: of the draw, at least 0.

    Returns:
        The split of each class, in natural order of the classes.

    Raises:
        InputError: for fewer than three classes.
    """
    classes = sorted(set(labels), key=natural_key)
    if len(classes) < len(SPLITS):
        raise InputError(
            f"A class split needs at least 3 classes, one for each of {', '.join(SPLITS)}; found {classes}."
        )
    held_out = len(classes) // 3
    if len(classes) >= 3 * CLASSES_FOR_FIVE_WAY:
        held_out = max(CLASSES_FOR_FIVE_WAY, round(len(classes) / 5))
    drawn = np.random.default_rng(seed).permutation(len(classes)).tolist()
    split = dict.fromkeys(classes, "train")
    split |= {classes[i]: "val" for i in drawn[:held_out]}
    split |= {classes[i]: "test" for i in drawn[held_out : 2 * held_out]}
    return split


def read_split_file(path: Path) -> dict[str, str]:
    """Reads `{"train": [classes], "val": [classes], "test": [classes]}` from a JSON file; splits may be missing.

    Returns:
        The split of each class, in the order of the file.

    Raises:
        MissingError: when there is no such file.
        InputError: when it is not JSON of this form, or names a class twice.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except FileNotFoundError as error:
        raise MissingError(f"{path}: there is no such split file.") from error
    except (OSError, ValueError, RecursionError) as error:  # the last of brackets in brackets in brackets
        raise InputError(f"{path}: cannot be read as JSON ({error}).") from error
    form = '{"train": [classes], "val": [classes], "test": [classes]}'
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a JSON {type(content).__name__}; expected {form}.")
    split: dict[str, str] = {}
    for name, classes in content.items():
        if name not in SPLITS:
            raise InputError(f"{path}: unknown split {name!r}; expected {form}.")
        if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
            raise InputError(f"{path}: the split {name!r} is not a list of class names; expected {form}.")
        for label in classes:
            if label in split:
                raise InputError(f"{path}: class {label!r} is listed in {split[label]!r} and again in {name!r}.")
            split[label] = name
    if not split:
        raise InputError(f"{path}: names no class; expected {form}.")
    return split


def apply_class_split(clips: Iterable[Clip], split: Mapping[str, str]) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Gives every clip the split of its class, whatever its folder said.

    Returns:
        The clips whose class the split names, in the order given, and notes: which classes were left out because
        the split does not name them, and which of its classes have no clip.

    Raises:
        InputError: when no clip is left.
    """
    clips = tuple(clips)
    kept = tuple(replace(clip, split=split[clip.label]) for clip in clips if clip.label in split)
    labels = {clip.label for clip in clips}
    unnamed, absent = labels - set(split), set(split) - labels
    notes = []
    if unnamed:
        notes.append(f"Clips of classes that the split does not name are left out ({len(unnamed)}): {_names(unnamed)}.")
    if absent:
        notes.append(f"The split names classes without clips ({len(absent)}): {_names(absent)}.")
    if not kept:
        raise InputError(f"The split names none of the classes of the clips ({_names(labels)}); check their spelling.")
    return kept, tuple(notes)


def require_classes(split: Mapping[str, str], labels: Collection[str], *, source: Path) -> None:
    """Refuses a split of classes that names one without any clip: a word misspelt would leave its clips out.

    Args:
        split: of each class.
        labels: the class of every clip.
        source: of the split, in the error.

    Raises:
        InputError: names such classes, and the class that is most like the first.
    """
    absent = sorted(split.keys() - set(labels))
    if absent:
        named = ", ".join(map(repr, absent[:_NAMED])) + (", ..." if len(absent) > _NAMED else "")
        close = difflib.get_close_matches(absent[0], sorted(set(labels)), n=1)
        meant = f"; is {absent[0]!r} the class {close[0]!r}?" if close else ""
        raise InputError(f"{source}: {len(absent)} of its classes have no clip ({named}); take them out{meant}")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the key {key!r} is there twice")
    return dict(pairs)


def _names(labels: set[str]) -> str:
    return ", ".join(sorted(labels, key=natural_key))
