"""What a list of episodes must be before a number is made of it: others write such lists, and may write anything.

Each function refuses one kind of fault with an InputError of one line that names the file, the episode and the value.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError

_LEAST = {"way": 2, "shot": 1, "queries": 1, "seed": 0}
_MOST = 2**63 - 1
_NAMED = 3
_SHOWN = 40


def check_header(file: Path, values: dict[str, Any]) -> None:
    """Refuses other types and numbers than a list has, a clip named twice, and a list without episodes."""
    for name in ("dataset", "split"):
        if not isinstance(values[name], str):
            raise InputError(f"{file}: its {name} is {_shown(values[name])}, expected a name")
    for name, least in _LEAST.items():
        value = values[name]
        if type(value) is not int or not least <= value <= _MOST:
            raise InputError(f"{file}: its {name} is {_shown(value)}, expected {least} to {_MOST}")
    for name in ("clips", "classes"):
        if not isinstance(values[name], list) or not all(isinstance(one, str) for one in values[name]):
            raise InputError(f"{file}: its {name} are no list of names")
    clips, classes = values["clips"], values["classes"]
    if len(classes) != len(clips):
        raise InputError(f"{file}: names {len(classes)} classes, expected one for each of its {len(clips)} clips")
    if (repeated := _first_repeated(clips)) is not None:
        raise InputError(f"{file}: names the clip {_shown(repeated)} twice; each clip stands once in clips")
    if not isinstance(values["episodes"], list) or not values["episodes"]:
        raise InputError(f"{file}: its episodes are {_shown(values['episodes'])}, expected a list of at least 1")


def check_store(file: Path, values: dict[str, Any], ids: Sequence[str], labels: Sequence[int], split: str) -> None:
    """Refuses a list of another split, and one with clips that the store does not have or cannot use."""
    if values["split"] != split:
        raise InputError(
            f"{file}: its episodes are of the split {_shown(values['split'])}, and {split!r} is asked for; name its "
            "own by --split, or take another list"
        )
    clips, place = values["clips"], dict(zip(ids, labels, strict=True))
    unknown = [name for name in clips if name not in place]
    unusable = [name for name in clips if place.get(name, 0) < 0]
    for names, what in ((unknown, "are not in the store"), (unusable, "failed, are pending or are of another split")):
        if names:
            shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
            raise InputError(
                f"{file}: {len(names)} of its {len(clips)} clips {what} ({shown}); these episodes need all"
            )


def check_classes(file: Path, clips: Sequence[str], classes: Sequence[str], stored: Sequence[str]) -> None:
    """Refuses a list that gives a clip another class than the store does; all three have one entry a clip."""
    for clip, said, own in zip(clips, classes, stored, strict=True):
        if said != own:
            raise InputError(
                f"{file}: says that the clip {_shown(clip)} is of class {_shown(said)}, and it is of {_shown(own)} in "
                "the store; these episodes are of other classes"
            )


def places_of(file: Path, values: dict[str, Any]) -> NDArray[np.int64]:
    """The places in ``clips`` of all episodes: (E, N·K + N·Q), the support before the queries."""
    way, shot, queries = (values[name] for name in ("way", "shot", "queries"))
    shape, episodes, count = (way * shot, way * queries), values["episodes"], len(values["clips"])
    for number, episode in enumerate(episodes):
        if not _is_pair(episode):
            raise InputError(f"{file}: episode {number} is {_shown(episode)}, expected [support, query]")
        if (found := tuple(map(len, episode))) != shape:
            raise InputError(f"{file}: episode {number} has {found[0]} and {found[1]} clips, expected {shape}")
    flat = list(chain.from_iterable(chain.from_iterable(episodes)))
    if set(map(type, flat)) != {int} or min(flat) < 0 or max(flat) >= count:
        at = next(at for at, place in enumerate(flat) if type(place) is not int or not 0 <= place < count)
        raise InputError(
            f"{file}: episode {at // sum(shape)} names the place {_shown(flat[at])}, expected whole numbers from 0 to "
            f"{count - 1}, one of its clips"
        )
    return np.array(flat, np.int64).reshape(len(episodes), -1)


def check_episodes(
    file: Path, places: NDArray[np.int64], numbers: NDArray[np.int64], values: dict[str, Any]
) -> NDArray[np.int64]:
    """Refuses a clip that is twice in an episode, a class that is, and clips that do not stand class by class.

    Args:
        file: for messages.
        places: of all episodes, from :func:`places_of`.
        numbers: class number of each clip of the list.
        values: what the file says.

    Returns:
        (E, N) class numbers of each episode.
    """
    way, shot, clips, classes = values["way"], values["shot"], values["clips"], values["classes"]
    _refuse_repeated_clips(file, places, way * shot, clips)
    by_class = numbers[places[:, : way * shot]].reshape(len(places), way, shot)
    found = by_class[:, :, 0]
    for what, start, own in (
        ("support clip", 0, by_class),
        ("query", way * shot, numbers[places[:, way * shot :]].reshape(len(places), way, -1)),
    ):
        if (odd := own != found[:, :, None]).any():
            number, at = divmod(int(odd.reshape(-1).argmax()), way * own.shape[2])
            place = int(places[number, start + at])
            expected = classes[int(places[number, at // own.shape[2] * shot])]
            raise InputError(
                f"{file}: episode {number} has the {what} {_shown(clips[place])} of class {_shown(classes[place])} "
                f"where one of {_shown(expected)} is expected; support and queries stand class by class, in one order"
            )
    if (twice := (np.diff(np.sort(found, axis=1), axis=1) == 0).any(axis=1)).any():
        number = int(twice.argmax())
        name = _first_repeated([classes[place] for place in places[number, : way * shot : shot].tolist()])
        raise InputError(f"{file}: episode {number} has the class {_shown(name)} twice, expected {way} classes")
    return found


def _refuse_repeated_clips(file: Path, places: NDArray[np.int64], supports: int, clips: Sequence[str]) -> None:
    twice = (np.diff(np.sort(places, axis=1), axis=1) == 0).any(axis=1)
    if not twice.any():
        return
    number = int(twice.argmax())
    own = places[number].tolist()
    place = _first_repeated(own)
    what = "as a query and in its support" if place in own[:supports] and place in own[supports:] else "twice"
    raise InputError(f"{file}: episode {number} has the clip {_shown(clips[place])} {what}; a clip is in it once")


def _is_pair(episode: Any) -> bool:
    return isinstance(episode, list) and len(episode) == 2 and all(isinstance(part, list) for part in episode)


def _first_repeated(values: Sequence[Any]) -> Any:
    """The first value that occurred before; None where there is none."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _shown(value: Any) -> str:
    """A value for a message: short, and not what is in it where that could be anything."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
