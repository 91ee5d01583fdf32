"""What a folder holds, to see whether anything was written."""

import hashlib
import os
from pathlib import Path


def folder_tree(root: Path) -> dict[str, str]:
    """Every entry below a folder, by its path: what it is, and a hash of what it holds."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in folders:
            found[f"{folder}/{name}"] = "folder"
        for name in files:
            path = f"{folder}/{name}"
            found[path] = _entry(Path(path))
    return found


def _entry(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "other"
