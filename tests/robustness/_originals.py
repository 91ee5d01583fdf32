"""Sound videos to be mutated: one of every container, made here, and a few real ones where the shared data is."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# For a script that is started by hand; pytest finds this folder by itself.
sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from shared_data import DATA
from synthetic_video import CONTAINERS, can_encode, write_video

FRAMES = 40
REAL = ("ucf101_mini/*/*_c01.avi", "hmdb24_mini/test/*/*.avi", "odd_videos/x_*", "reported/0[14567]-*/*")
REAL_OF_A_KIND = 6
LARGEST = 1 << 20


@dataclass(frozen=True)
class Original:
    """A video that is sound, or at least decodes as it is."""

    name: str
    suffix: str
    content: bytes


def originals(folder: Path, *, real: bool = True) -> list[Original]:
    """All originals; made ones are written into ``folder`` on the way."""
    paths = [*_made(folder), *(_real() if real else ())]
    return [Original(path.name, path.suffix, path.read_bytes()) for path in paths]


def _made(folder: Path) -> Iterator[Path]:
    for name, how in CONTAINERS.items():
        if can_encode(how["codec"]):
            options: dict[str, Any] = how
            yield write_video(folder / name, FRAMES, **options)


def _real() -> Iterator[Path]:
    for pattern in REAL:
        small = (path for path in sorted(DATA.glob(pattern)) if path.stat().st_size <= LARGEST)
        for _, path in zip(range(REAL_OF_A_KIND), small, strict=False):
            yield path
