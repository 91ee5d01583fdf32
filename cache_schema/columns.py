"""Texts and numbers of a row table as plain arrays: what is written, and checked by SHA-256 when it is read.

A column of texts is one array of bytes: UTF-8, each text ended by a zero byte. Bytes of file names that are no UTF-8
are kept as they are.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ta2n.cache_schema.errors import InputError

COLUMNS = ("id", "path", "label", "label_names", "split", "root")


def encode_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts as bytes, each ended by a zero byte.

    Raises:
        InputError: a text holds a zero character, or half of a surrogate pair that is no byte of a file name.
    """
    for text in texts:
        if "\0" in text:
            raise InputError(f"{text!r} holds a zero character, which a row table cannot; rename it")
    try:
        return np.frombuffer("".join(f"{text}\0" for text in texts).encode("utf-8", "surrogateescape"), np.uint8)
    except UnicodeEncodeError as error:
        raise InputError(f"{error.object[max(error.start - 20, 0) : error.end]!r} is no text; rename it") from error


def decode_texts(raw: NDArray[np.uint8]) -> list[str]:
    """The texts that :func:`encode_texts` wrote."""
    return raw.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]


def count_texts(raw: NDArray[np.uint8]) -> int:
    """How many texts there are, without decoding one."""
    return int(np.count_nonzero(raw == 0))


def checksum(values: NDArray[Any]) -> str:
    """SHA-256 over the little-endian bytes of a column."""
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return hashlib.sha256(plain.data).hexdigest()
