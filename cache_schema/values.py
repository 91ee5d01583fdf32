"""Values of one row: what it holds, the digest of a map, the reason of a failure."""

import enum
import hashlib

import numpy as np
import xxhash
from numpy.typing import NDArray

from ta2n.cache_schema.manifest import SCHEMA_VERSION

REASON_BYTES = 240
"""A failure's reason is stored as zero-padded UTF-8 of this many bytes."""

DECODERS = ("", "decord", "pyav", "images")
"""What the numbers of the array ``decoder`` stand for; images is a folder of frames."""

UNCOUNTED = -1
"""Stands in ``concealed`` where nobody counted the errors of a stream."""


class State(enum.IntEnum):
    """What a row holds."""

    PENDING = 0
    DONE = 1
    FAILED = 2


def digest(values: NDArray[np.float16], clip_id: str, view: int, *, version: int = SCHEMA_VERSION) -> int:
    """64-bit digest of a map: XXH3 of whose map it is, and of its little-endian bytes in C order.

    Args:
        values: (C, T, H, W).
        clip_id: of the row, so that maps that changed places are found.
        view: of the map.
        version: of the format; in version 1 it is BLAKE2b of the bytes alone.
    """
    raw = np.ascontiguousarray(values, dtype="<f2").data
    if version == 1:
        return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
    found = xxhash.xxh3_64(f"{clip_id}\0{view}\0".encode("utf-8", "surrogateescape"))
    found.update(raw)
    return int(found.intdigest())


def encode_reason(text: str) -> NDArray[np.uint8]:
    """A failure's reason as ``REASON_BYTES`` bytes, cut at a character where it is too long."""
    raw = text.encode(errors="replace")
    if len(raw) > REASON_BYTES:
        raw = raw[: REASON_BYTES - 3].decode(errors="ignore").encode() + "…".encode()
    return np.frombuffer(raw.ljust(REASON_BYTES, b"\0"), np.uint8)


def decode_reason(raw: NDArray[np.uint8]) -> str:
    """The reason that :func:`encode_reason` stored."""
    return raw.tobytes().rstrip(b"\0").decode(errors="replace")
