"""Lists of episodes that are wrong and rightly signed: what another program may write by mistake."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# In the order in which docs/protocols.md says they are signed.
_SIGNED = ("format", "dataset", "split", "way", "shot", "queries", "seed", "classes", "clips", "episodes")

Edit = Callable[[np.random.Generator, dict[str, Any]], object]


def _episode(rng: np.random.Generator, values: dict[str, Any]) -> list[list[Any]]:
    episodes = values["episodes"]
    found: list[list[Any]] = episodes[int(rng.integers(len(episodes)))]
    return found


def _place(value: Any) -> Edit:
    def put(rng: np.random.Generator, values: dict[str, Any]) -> None:
        part = _episode(rng, values)[int(rng.integers(2))]
        part[int(rng.integers(len(part)))] = value

    return put


def _query_of_its_support(rng: np.random.Generator, values: dict[str, Any]) -> None:
    support, query = _episode(rng, values)
    query[0] = support[0]


def _query_of_another_class(rng: np.random.Generator, values: dict[str, Any]) -> None:
    _, query = _episode(rng, values)
    step = values["queries"]
    query[:] = query[step:] + query[:step]


def _class_twice(rng: np.random.Generator, values: dict[str, Any]) -> None:
    support, _ = _episode(rng, values)
    used = set(support[: values["shot"]])
    name = values["classes"][support[0]]
    others = [place for place, label in enumerate(values["classes"]) if label == name and place not in used]
    support[values["shot"]] = others[0]


def _clip_twice(rng: np.random.Generator, values: dict[str, Any]) -> None:
    first, second = (int(place) for place in rng.choice(len(values["clips"]), 2, replace=False))
    values["clips"][first] = values["clips"][second]


def _classes_exchanged(rng: np.random.Generator, values: dict[str, Any]) -> None:
    first = values["classes"][0]
    other = next(label for label in values["classes"] if label != first)
    values["classes"] = [other if label == first else first if label == other else label for label in values["classes"]]


def _set(name: str, value: Any) -> Edit:
    return lambda rng, values: values.update({name: value})


EDITS: Mapping[str, Edit] = {
    "a negative place": _place(-1),
    "a place behind the end": _place(10**6),
    "a place that is text": _place("0"),
    "a place that is half a number": _place(0.5),
    "a place that is nothing": _place(None),
    "a place that is true": _place(True),
    "a query that is in its support": _query_of_its_support,
    "queries in another order of classes": _query_of_another_class,
    "a class twice": _class_twice,
    "a clip named twice": _clip_twice,
    "classes exchanged": _classes_exchanged,
    "way 1": _set("way", 1),
    "way 0": _set("way", 0),
    "shot -1": _set("shot", -1),
    "queries 0": _set("queries", 0),
    "another split": _set("split", "train"),
    "another data set": _set("dataset", "others"),
    "a seed that is text": _set("seed", "seven"),
    "episodes that are a number": _set("episodes", 7),
    "no episode": _set("episodes", []),
    "three parts": lambda rng, values: _episode(rng, values).append([0]),
    "a class too few": lambda rng, values: values["classes"].pop(),
    "clips that are numbers": lambda rng, values: values.update(clips=list(range(len(values["clips"])))),
}


def edit_signed(rng: np.random.Generator, file: Path) -> str:
    """Makes one of the mistakes in a list, and signs it as whoever wrote it would."""
    name = sorted(EDITS)[int(rng.integers(len(EDITS)))]
    values = json.loads(file.read_text())
    EDITS[name](rng, values)
    text = json.dumps([values[field] for field in _SIGNED], ensure_ascii=False, separators=(",", ":"))
    values["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    file.write_text(json.dumps(values, ensure_ascii=False, separators=(",", ":")))
    return name
