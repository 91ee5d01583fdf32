"""Small videos with a known story, encoded in the test, and what a plain decode from the first frame puts out."""

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 48, 64

# An MPEG-4 picture header whose "coded" bit is off, at 25 time steps a second.
NOT_CODED = bytes.fromhex("000001b6504f")

Images = NDArray[np.uint8]

# A file of every container that is looked for, by a name with its suffix: how to write it.
CONTAINERS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"codec": "libx264"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg"},
    "h264.mkv": {"codec": "libx264"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "mjpeg.mov": {"codec": "mjpeg"},
    "h264.mov": {"codec": "libx264"},
    "h264.m4v": {"codec": "libx264", "muxer": "ipod"},
    "elementary.m4v": {"codec": "mpeg4", "muxer": "m4v"},
    "wmv2.wmv": {"codec": "wmv2"},
    "msmpeg4.wmv": {"codec": "msmpeg4"},
    "flv1.flv": {"codec": "flv"},
    "h264.flv": {"codec": "libx264"},
    "mpeg4.3gp": {"codec": "mpeg4"},
    "h264.3gp": {"codec": "libx264"},
    "h264.ts": {"codec": "libx264", "options": {"g": "10"}},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "h264.mts": {"codec": "libx264", "options": {"g": "10"}, "muxer": "mpegts"},
    "h264.m2ts": {"codec": "libx264", "options": {"g": "10"}, "muxer": "mpegts"},
    "mpeg1.mpg": {"codec": "mpeg1video"},
    "mpeg2.mpeg": {"codec": "mpeg2video", "muxer": "vob"},
    "theora.ogv": {"codec": "libtheora"},
    "picture.gif": {"codec": "gif"},
}
_PIXELS = {"mjpeg": "yuvj420p", "gif": "rgb8"}


def moving_square(frame: int) -> Images:
    """(H, W, 3) RGB: a bright square that jumps with every frame, so that neighbours differ plainly."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    y, x = (frame * 13) % (HEIGHT - 16), (frame * 17) % (WIDTH - 16)
    image[y : y + 16, x : x + 16] = (250, 30 + frame * 5 % 200, 120)
    return image


def can_encode(codec: str) -> bool:
    """Whether PyAV has an encoder of this name here."""
    try:
        av.Codec(codec, "w")
    except ValueError:  # of which PyAV's own error is a kind
        return False
    return True


def write_video(
    path: Path,
    frames: int,
    *,
    codec: str = "libx264",
    muxer: str | None = None,
    options: Mapping[str, str] | None = None,
    ticks: list[int] | None = None,
    empty_after: int | None = None,
    empty_packets: int = 3,
    scale: int = 1,
    title: str = "",
) -> Path:
    """Encodes `frames` moving squares at 25 frames/s.

    `muxer` is ffmpeg's name of the container, where the suffix does not tell it. `ticks` are presentation times in
    1/25 s (default 0, 1, 2 ...), for a variable rate. `empty_after` puts `empty_packets` packets without a picture
    behind that many real ones: they count as frames, but none comes of them. `scale` enlarges every pixel.
    """
    with av.open(str(path), "w", format=muxer) as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=25, options=dict(options or {})))
        stream.width, stream.height, stream.pix_fmt = scale * WIDTH, scale * HEIGHT, _PIXELS.get(codec, "yuv420p")
        if title:
            container.metadata["title"] = title
        packets: list[Any] = []
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(moving_square(i).repeat(scale, 0).repeat(scale, 1), format="rgb24")
            frame.pts, frame.time_base = (ticks[i] if ticks else i), Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if empty_after is not None:
            packets[empty_after:empty_after] = [av.Packet(NOT_CODED) for _ in range(empty_packets)]
            for i, packet in enumerate(packets):
                packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 25), i, i
        for packet in packets:
            container.mux(packet)
    return path


def with_matrix(path: Path, signs: tuple[int, int, int, int]) -> Path:
    """Writes a display matrix into the track header of an mp4 file."""
    data = path.read_bytes()
    start = data.index(b"tkhd") + 44
    a, b, c, d = (sign << 16 for sign in signs)
    path.write_bytes(data[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[start + 36 :])
    return path


def plain_decode(path: Path) -> list[Images]:
    """Every frame of a video as PyAV decodes it, one after another from the start, at native size."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [cast(Images, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
