"""Prefetched, but as if not: the same order, the same errors, nothing after the end."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ta2n.pipeline.training.prefetch import prefetch


@given(items=st.lists(st.integers()))
def test_it_is_map(items: list[int]) -> None:
    assert list(prefetch(lambda item: item * 2, items)) == [item * 2 for item in items]


def test_the_next_is_made_while_the_last_is_used() -> None:
    made = threading.Event()

    def make(item: int) -> int:
        if item == 1:
            made.set()
        return item

    read = prefetch(make, range(2))
    assert next(read) == 0
    # Without anything asking for it: a wait that ends, or the test fails.
    assert made.wait(timeout=20)
    assert list(read) == [1]


def test_an_error_is_raised_where_its_result_is_asked_for() -> None:
    def make(item: int) -> int:
        if item == 2:
            raise KeyError(item)
        return item

    read = prefetch(make, range(5))
    assert [next(read), next(read)] == [0, 1]
    with pytest.raises(KeyError):
        next(read)


def test_closing_stops_what_was_not_begun() -> None:
    threads = set(threading.enumerate())
    begun: list[int] = []
    read = prefetch(lambda item: begun.append(item), range(1000))
    next(read)
    read.close()
    assert len(begun) <= 3
    assert set(threading.enumerate()) <= threads
