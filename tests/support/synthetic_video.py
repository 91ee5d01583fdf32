"""Small videos with a known story, encoded in the test, and what a plain decode from the first frame puts out."""

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


def moving_square(frame: int) -> Images:
    """(H, W, 3) RGB: a bright square that jumps with every frame, so that neighbours differ plainly."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    y, x = (frame * 13) % (HEIGHT - 16), (frame * 17) % (WIDTH - 16)
    image[y : y + 16, x : x + 16] = (250, 30 + frame * 5 % 200, 120)
    return image


def write_video(
    path: Path,
    frames: int,
    *,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    ticks: list[int] | None = None,
    empty_after: int | None = None,
    empty_packets: int = 3,
) -> Path:
    """Encodes `frames` moving squares at 25 frames/s.

    `ticks` are presentation times in 1/25 s (default 0, 1, 2 ...), for a variable rate. `empty_after` puts
    `empty_packets` packets without a picture behind that many real ones: they count as frames, but none comes of them.
    """
    with av.open(str(path), "w") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=25, options=dict(options or {})))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        packets: list[Any] = []
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(moving_square(i), format="rgb24")
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


def plain_decode(path: Path) -> list[Images]:
    """Every frame of a video as PyAV decodes it, one after another from the start, at native size."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [cast(Images, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
