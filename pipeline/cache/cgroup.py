"""What the control groups of this process leave it of the memory: a container's limit, a batch job's, a service's.

psutil knows the machine and none of these, and dask knows their limits, and not what the others in a group have taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class _Version:
    """The files of a group in one version of the interface, and the lines of ``memory.stat`` that can be taken back."""

    limits: tuple[str, ...]
    used: str
    reclaimable: tuple[str, ...]


_V1 = _Version(("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))
# Above memory.high nothing is killed, and everything crawls.
_V2 = _Version(("memory.max", "memory.high"), "memory.current", ("active_file", "inactive_file", "slab_reclaimable"))


def free_in_groups(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes that this process can take before a group that it is in reaches its limit.

    A limit holds for a group and for all inside it, so every group is asked from the process's own up to the root. What
    the group uses is taken off, but for the cache of files, which gives way.

    Args:
        groups: where the groups are mounted; version 1, version 2 or both.
        membership: the groups of the process, as the system lists them.

    Returns:
        0 or more; None where no group has a limit.
    """
    left = [free for folder, version in _own_groups(groups, membership) for free in _free(folder, version)]
    return max(0, min(left)) if left else None


def _own_groups(groups: Path, membership: Path) -> Iterator[tuple[Path, _Version]]:
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            root, version = groups / "memory", _V1
        elif not controllers:
            root, version = groups / "unified" if (groups / "unified").is_dir() else groups, _V2
        else:
            continue
        # Inside a container the path may be one of the host: what is not there is passed over, and the root is its own.
        inside = PurePosixPath(path.lstrip("/"))
        for own in [root] if ".." in inside.parts else [root / inside, *(root / one for one in inside.parents)]:
            yield own, version


def _free(folder: Path, version: _Version) -> Iterator[int]:
    """What is left below each limit of a group."""
    limits = [int(text) for name in version.limits if (text := _text(folder / name).strip()).isdigit()]
    used = _text(folder / version.used).strip()
    if not limits or not used.isdigit():
        return
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    cached = sum(int(line[1]) for line in lines if line and line[0] in version.reclaimable)
    for limit in limits:
        yield limit - max(0, int(used) - cached)


def _text(file: Path) -> str:
    """What a file says; nothing where it is not there or not for us."""
    try:
        return file.read_text()
    except OSError:
        return ""
