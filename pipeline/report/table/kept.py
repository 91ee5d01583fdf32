"""What was measured once, and is used again only where its key, all that decided it, is the same."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.cache import FeatureCache

OnNote = Callable[[str], None]
# A value of more letters is a digest, of which nobody learns anything.
_READABLE = 24


def measured_once(
    file: Path,
    key: Mapping[str, Any],
    measure: Callable[[], dict[str, Any]],
    *,
    usual: Mapping[str, Any],
    on_note: OnNote | None = None,
) -> dict[str, Any]:
    """What was measured: from its file where that has the same key, else measured now and written there.

    Args:
        file: of the result, in the folder of its run.
        key: everything that decides the result, by name; plain JSON values.
        measure: does it; plain JSON values.
        usual: what a part of the key means that the file does not have, because an older ta2n wrote it.
        on_note: gets a line where there is a result that cannot be used, with the reason.

    Raises:
        BusyError: another process is writing in the folder.
    """
    if file.exists():
        stored = _read(file)
        if not (problems := _problems(stored, key, usual)):
            return dict(stored["values"])
        if on_note:
            on_note(f"{file}: measured again ({', '.join(problems)})")
    with writing(file.parent, "ta2n, which tests the run of this folder"):
        values = measure()
        partial = file.with_suffix(".partial")
        partial.write_text(to_json({"key": key, "sha256": _digest(values), "values": values}))
        partial.replace(file)
    return values


def _read(file: Path) -> Any:
    """What the file holds; None where it is not JSON."""
    try:
        return json.loads(file.read_bytes())
    except ValueError:
        return None


def _problems(stored: Any, key: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """Why what is stored cannot be used: the parts of its key that differ, with values that a person can read."""
    if not isinstance(stored, dict) or not isinstance(stored.get("key"), dict):
        return ["it does not say what it was measured on"]
    if _digest(stored.get("values")) != stored.get("sha256"):
        return ["it was changed after it was written"]
    before = {**usual, **stored["key"]}
    now = json.loads(to_json(key))  # as it is read back: lists for tuples
    return [_change(name, before.get(name), value) for name, value in now.items() if before.get(name) != value]


def _change(name: str, before: Any, now: Any) -> str:
    if max(len(str(before)), len(str(now))) > _READABLE:
        return f"other {name}"
    return f"{name} {before} -> {now}"


def _digest(values: Any) -> str:
    return hashlib.sha256(to_json(values, sort_keys=True).encode()).hexdigest()


def clips_digest(cache: FeatureCache, split: str) -> str:
    """SHA-256 over the usable clips of a split, in order: id, class, and the digests of the stored maps.

    Raises:
        InputError: no row belongs to the split.
    """
    rows = np.flatnonzero(cache.labels(split) >= 0)
    digest = hashlib.sha256()
    for column in (cache.videos.id, cache.videos.label):
        # A name of bytes that are no UTF-8 holds surrogates.
        digest.update("\0".join([*column[rows].tolist(), ""]).encode(errors="surrogatepass"))
    digest.update(cache.digests()[rows].astype("<u8").tobytes())
    return digest.hexdigest()


def file_digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
