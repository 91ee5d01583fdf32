"""Which clips a run is trained and selected on, so that a run never goes on with others unnoticed.

A clip is written down as ``<class>.<maps>``: short digests of its class and of its stored maps' own digests. The
checkpoint that a run continues from has them by id, so that a difference can be said by name.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ta2n.pipeline.cache import FeatureCache

_BYTES = 6
_SHOWN = 3
# Above this many, the names would make the checkpoint's header slow to write every minute: counts have to do.
NAMED = 200_000


def clips_of(cache: FeatureCache, splits: Iterable[str]) -> dict[str, Any]:
    """The usable clips of some splits, in the order of their rows.

    Returns:
        For each split its ``count``, a ``sha256`` over ids, classes and maps in order, and by id under ``clips`` what
        each is; and ``digests``, the version of the store's format, of which the digests of maps are.
    """
    digests = cache.digests()
    found: dict[str, Any] = {"digests": cache.manifest.schema_version}
    for split in splits:
        rows = np.flatnonzero(cache.labels(split) >= 0).tolist()
        labels = [_short(_bytes(label)) for label in cache.videos.label[rows].tolist()]
        what = [f"{label}.{_short(digests[row].tobytes())}" for row, label in zip(rows, labels, strict=True)]
        clips = dict(zip(cache.videos.id[rows].tolist(), what, strict=True))
        digest = hashlib.sha256(_bytes("\n".join(f"{name}\t{value}" for name, value in clips.items()))).hexdigest()
        found[split] = {"count": len(clips), "sha256": digest, "clips": clips if len(clips) <= NAMED else {}}
    return found


def without_names(clips: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`clips_of` found, with counts and digests only."""
    return {
        name: {key: part for key, part in value.items() if key != "clips"} if isinstance(value, dict) else value
        for name, value in clips.items()
    }


def clip_changes(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between the clips of a run and those of now, a line a split; empty where nothing does.

    Args:
        stored: of the checkpoint.
        found: of now.
    """
    splits = [name for name, value in found.items() if isinstance(value, dict)]
    # The digests of two versions of the format cannot be compared; ids and classes can.
    maps = stored.get("digests") == found["digests"]
    lines = [_split_change(name, stored.get(name), found[name], maps=maps) for name in splits]
    return [line for line in lines if line]


def _split_change(split: str, stored: Any, found: Mapping[str, Any], *, maps: bool) -> str:
    if not isinstance(stored, dict) or not isinstance(stored.get("clips"), dict):
        return f"{split}: not written down"
    if maps and stored.get("sha256") == found["sha256"]:
        return ""
    before, now = stored["clips"], found["clips"]
    if len(before) != stored.get("count") or len(now) != found["count"]:
        return f"{split}: {stored.get('count')} clips -> {found['count']}, or others"
    changed = [name for name in now if name in before and _changed(before[name], now[name], maps=maps)]
    parts = [
        _named([name for name in now if name not in before], "more"),
        _named([name for name in before if name not in now], "fewer"),
        _named(changed, "of another class or with other features"),
    ]
    if not any(parts) and list(before) != list(now):
        parts = ["the same clips in another order"]
    text = ", ".join(part for part in parts if part)
    return f"{split}: {text}" if text else ""


def _changed(before: Any, now: str, *, maps: bool) -> bool:
    return bool(before != now if maps else str(before).partition(".")[0] != now.partition(".")[0])


def _named(names: list[str], how: str) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names)} {'clip' if len(names) == 1 else 'clips'} {how} ({shown})"


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # names of files may hold what is no text


def _short(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_BYTES).hexdigest()
