"""Files that a killed process left in a store, or beside it, before it could give them their names."""

import shutil
from pathlib import Path


def left_overs(path: Path) -> list[Path]:
    """Unfinished files in a store and unfinished stores beside it; nobody else may be writing it now."""
    beside = path.parent.glob(f".{_escaped(path.name)}.*.partial")
    return sorted([*path.rglob("*.partial"), *beside])


def remove_left_overs(path: Path) -> list[Path]:
    """Removes them, and says which they were."""
    found = left_overs(path)
    for one in found:
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink(missing_ok=True)
    return found


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
