"""What an entry of a folder is, links followed. A link to itself or to nowhere is nothing, and costs itself only."""

import os

# In the order in which they are preferred where a folder holds one clip in several forms.
VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".wmv", ".flv", ".3gp", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
    ".ogv", ".gif",
)  # fmt: skip
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a file with content, or a link to one: no pipe, socket or device."""
    try:
        return entry.is_file()
    except OSError:
        return False
