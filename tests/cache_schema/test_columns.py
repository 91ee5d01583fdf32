"""Texts and numbers of the row table as arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.columns import checksum, count_texts, decode_texts, encode_texts
from ta2n.cache_schema.errors import InputError

# Any character but the zero, and the bytes of file names that are no UTF-8.
characters = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0") | st.integers(0xDC80, 0xDCFF).map(
    chr
)


@given(st.lists(st.text(characters)))
def test_texts_come_back(texts: list[str]) -> None:
    raw = encode_texts(texts)
    # Two such bytes in a row may be a character of UTF-8; they are the same file name.
    expected = [text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") for text in texts]
    assert decode_texts(raw) == expected
    assert count_texts(raw) == len(texts)


def test_any_reader_can_read_them() -> None:
    assert encode_texts(["a/é.mp4", "", "b\udcff"]).tobytes() == b"a/\xc3\xa9.mp4\0\0b\xff\0"


@pytest.mark.parametrize("text", ["a\0b", "half \ud800 of a pair"])
def test_what_cannot_be_stored_is_named(text: str) -> None:
    with pytest.raises(InputError, match="rename it"):
        encode_texts(["fine", text])


def test_a_checksum_is_of_little_endian_bytes() -> None:
    values = np.array([1, 256], "<i4")
    assert checksum(values) == checksum(values.astype(">i4"))
    assert checksum(values) != checksum(values[::-1])
