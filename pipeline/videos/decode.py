"""One clip in, its wanted frames out: video files through decord or PyAV, folders of frames through Pillow.

Nothing here imports torch: the processes that decode stay small.
"""

import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import DecodeError, MissingError
from ta2n.cache_schema.values import UNCOUNTED
from ta2n.pipeline.clips import view_indices
from ta2n.pipeline.videos.frames import Frames, Pick, Size, read_frame_folder

IMAGES = "images"


@dataclass(frozen=True)
class DecodeJob:
    """What to decode of one clip; see `view_indices` for rule, frames, views and seed.

    `path` is a video file or a folder of frames, `size` the (height, width) to resize to, the length of the short side
    where the aspect is kept, or None for the native size. `frame_pattern` names the frames in a folder that holds other
    images too; None takes them all. Views before ``first`` are left out: with 1 there are random ones only.
    """

    clip_id: str
    path: Path
    rule: str
    frames: int
    views: int
    seed: int
    size: Size
    frame_pattern: str | None = None
    first: int = 0


@dataclass(frozen=True)
class DecodedClip:
    """The frames of one clip.

    Attributes:
        clip_id: as in the job.
        images: (U, H, W, 3) uint8 RGB, every wanted frame once, in the order of its number.
        source: (V, T) int32, the source frame of each step of each view.
        position: (V, T) int32, the place of that frame in `images`.
        frame_count: frames in the clip, counted by decoding all of them.
        fps: frames per second, 0 where unknown (folders of frames).
        decoder: what decoded it: `decord`, `pyav`, or `images` for a folder of frames.
        concealed: different errors that the decoder reported and went on from; a decoding process counts them
            (``damage.py``), and `UNCOUNTED` says that none did.
    """

    clip_id: str
    images: NDArray[np.uint8]
    source: NDArray[np.int32]
    position: NDArray[np.int32]
    frame_count: int
    fps: float
    decoder: str = ""
    concealed: int = UNCOUNTED


@dataclass(frozen=True)
class FailedClip:
    """A clip that gave no frames, and why, in one sentence."""

    clip_id: str
    reason: str


Decode = Callable[[DecodeJob], DecodedClip]


def decode_clip(job: DecodeJob) -> DecodedClip:
    """The frames of one clip, exactly those that decoding it from the start puts out at the rule's numbers.

    Raises:
        DecodeError: when the clip cannot be read whole; the message names the file.
        InputError: when the job itself makes no sense (unknown rule, a number below 1).
    """
    pick = partial(view_indices, job.rule, frames=job.frames, views=job.views, seed=job.seed, clip_id=job.clip_id)

    def wanted(frame_count: int) -> NDArray[np.int32]:
        return pick(frame_count=frame_count)[job.first :]

    try:
        (images, frame_count, fps), decoder = _read(job, wanted)
    except FileNotFoundError as error:
        raise DecodeError(f"{job.path}: there is no such file or folder.") from error
    except OSError as error:
        raise DecodeError(f"{job.path}: cannot be read ({error.strerror or error}).") from error
    source = wanted(frame_count)
    position = np.searchsorted(np.unique(source), source).astype(np.int32)
    return DecodedClip(job.clip_id, images, source, position, frame_count, fps, decoder)


def _read(job: DecodeJob, wanted: Pick) -> tuple[Frames, str]:
    """The frames, and the name of their decoder."""
    status = job.path.stat()
    if stat.S_ISDIR(status.st_mode):
        return Frames(*read_frame_folder(job.path, wanted, job.size, job.frame_pattern), 0.0), IMAGES
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError(f"{job.path}: is no file but a pipe, socket or device.")
    if status.st_size == 0:
        raise DecodeError(f"{job.path}: the file is empty.")
    # Decoders are imported for video files only, and PyAV first: decord's codec libraries break those of PyAV.
    from ta2n.pipeline.videos.headers import PYAV, decoder_of, read_headers

    decoder = decoder_of(read_headers(job.path))
    if decoder == PYAV:
        from ta2n.pipeline.videos.av_reader import read_video_in_order

        return read_video_in_order(job.path, wanted, job.size), decoder
    from ta2n.pipeline.videos.reader import read_video

    return read_video(job.path, wanted, job.size), decoder


def decoder_version() -> str:
    """Names and versions of both decoders, as the manifest of a feature store records them.

    Read from the installed packages without importing them: decord must not be loaded before torch.

    Raises:
        MissingError: when PyAV is not installed, or neither decord nor, for arm64, decord2.
    """
    return f"{_installed('decord', 'decord2')}, {_installed('av').replace('av', 'PyAV', 1)}"


def _installed(*names: str) -> str:
    """The first of some packages that is there, with its version."""
    for name in names:
        with suppress(PackageNotFoundError):
            return f"{name} {version(name)}"
    raise MissingError(f"A video decoder is not installed: the package {' or '.join(names)} is not there.")
