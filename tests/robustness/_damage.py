"""Seeded damage to files: what disks, copying and hands do to them. Each says what it did."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Damage = Callable[[np.random.Generator, Path], str]

_PAGE = 4096
_ODD_VALUES: tuple[Any, ...] = (None, -1, 0, 2**40, 1.5, "x", "", [], {}, True)


def flip(rng: np.random.Generator, file: Path) -> str:
    """Flips one to eight bits."""
    raw = bytearray(file.read_bytes())
    for _ in range(int(rng.integers(1, 9)) if raw else 0):
        raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
    file.write_bytes(raw)
    return "bits flipped"


def zero_page(rng: np.random.Generator, file: Path) -> str:
    """Zeros a page."""
    raw = bytearray(file.read_bytes())
    start = _PAGE * int(rng.integers(len(raw) // _PAGE + 1))
    raw[start : start + _PAGE] = bytes(len(raw[start : start + _PAGE]))
    file.write_bytes(raw)
    return f"page at {start} zeroed"


def cut(rng: np.random.Generator, file: Path) -> str:
    """Cuts the file somewhere."""
    raw = file.read_bytes()
    length = int(rng.integers(len(raw))) if raw else 0
    file.write_bytes(raw[:length])
    return f"cut to {length} of {len(raw)} bytes"


def delete(rng: np.random.Generator, file: Path) -> str:
    """Deletes the file."""
    file.unlink()
    return "deleted"


def swap_regions(rng: np.random.Generator, file: Path) -> str:
    """Exchanges two stretches of the same length."""
    raw = bytearray(file.read_bytes())
    length = min(512, len(raw) // 2)
    first, second = sorted(int(rng.integers(len(raw) - length + 1)) for _ in range(2))
    length = min(length, second - first)
    one, other = raw[first : first + length], raw[second : second + length]
    raw[first : first + length], raw[second : second + length] = other, one
    file.write_bytes(raw)
    return f"{length} bytes at {first} and {second} exchanged"


def swap_words(rng: np.random.Generator, file: Path) -> str:
    """Exchanges two unequal words of four bytes: numbers of a table's column, say."""
    raw = file.read_bytes()
    words = np.frombuffer(raw[: len(raw) // 4 * 4], np.uint32).copy()
    different = np.flatnonzero(words != words[0]) if len(words) else words
    if len(different):
        first, second = int(rng.choice(np.flatnonzero(words == words[0]))), int(rng.choice(different))
        words[[first, second]] = words[[second, first]]
    file.write_bytes(words.tobytes() + raw[len(words) * 4 :])
    return "two words exchanged"


def swap_names(rng: np.random.Generator, file: Path) -> str:
    """Exchanges two names of classes or clips where they stand: ``test1`` and ``test4``, say."""
    raw = bytearray(file.read_bytes())
    found = [(one.start(), one.group()) for one in re.finditer(rb"(?:train|test|val)\d", raw)]
    first, name = found[int(rng.integers(len(found)))] if found else (0, b"")
    others = [start for start, other in found if other != name and len(other) == len(name)]
    if not others:
        return swap_words(rng, file)
    second = others[int(rng.integers(len(others)))]
    raw[first : first + len(name)], raw[second : second + len(name)] = raw[second : second + len(name)], name
    file.write_bytes(raw)
    return f"{name.decode()} at {first} exchanged with what is at {second}"


def edit(rng: np.random.Generator, values: Any) -> str:
    """Changes one value somewhere inside plain JSON: another one, or none at all."""
    places = list(_places(values))
    holder, key = places[int(rng.integers(len(places)))]
    if isinstance(holder, dict) and rng.random() < 0.3:
        del holder[key]
        return f"{key!r} removed"
    before = holder[key]
    other = _ODD_VALUES[int(rng.integers(len(_ODD_VALUES)))]
    holder[key] = other if rng.random() < 0.6 else _like(before)
    return f"{key!r} is {holder[key]!r}, not {str(before)[:40]!r}"


def edit_json(rng: np.random.Generator, file: Path) -> str:
    """Edits a file of JSON."""
    values = json.loads(file.read_text())
    said = edit(rng, values)
    file.write_text(json.dumps(values))
    return said


def edit_header(rng: np.random.Generator, file: Path) -> str:
    """Edits the header of a safetensors file: what it says of its tensors, or of ta2n's run."""
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    own = json.loads(header["__metadata__"]["ta2n"])
    if rng.random() < 0.6:
        said = edit(rng, own)
        header["__metadata__"]["ta2n"] = json.dumps(own)
    else:
        said = edit(rng, header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    return f"header: {said}"


def swap_files(rng: np.random.Generator, folder: Path) -> str:
    """Exchanges two shards of a store: one array's chunks, or those of every array."""
    arrays = [path.parent.name for path in folder.glob("*/c") if len(list(path.iterdir())) > 1]
    features = sorted(path.name for path in (folder / "features" / "c").iterdir())
    one, other = (str(name) for name in rng.choice(features, 2, replace=False))
    chosen = sorted(arrays) if rng.random() < 0.5 else [sorted(arrays)[int(rng.integers(len(arrays)))]]
    for name in chosen:
        chunks = folder / name / "c"
        if all((chunks / place).exists() for place in (one, other)):
            (chunks / one).rename(chunks / "aside")
            (chunks / other).rename(chunks / one)
            (chunks / "aside").rename(chunks / other)
    return f"shards {one} and {other} of {', '.join(chosen)} exchanged"


PLAIN: Mapping[str, Damage] = {"flip": flip, "zeros": zero_page, "cut": cut, "delete": delete, "regions": swap_regions}
"""What can happen to any file."""

TABLE: Mapping[str, Damage] = {"names": swap_names, "words": swap_words}
"""What can happen to a table in a file."""


def _places(values: Any) -> Any:
    """Every holder of a value and the key there, from the outside in."""
    if isinstance(values, dict | list):
        for key, value in list(values.items() if isinstance(values, dict) else enumerate(values)):
            yield values, key
            yield from _places(value)


def _like(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value[:-1]}_"
    return type(value)() if isinstance(value, list | dict) else value
