"""The next thing is made while the last one is used."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(make: Callable[[Item], Made], items: Iterable[Item]) -> Generator[Made, None, None]:
    """``map(make, items)``, with the next result made in a thread before it is asked for.

    One thread, so that the calls do not overlap. What a call raises is raised where its result is asked for.

    Args:
        make: called with each item, in order.
        items: may be endless; it is read one item ahead.
    """
    waiting: Future[Made] | None = None
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        try:
            waiting = _next(thread, make, source)
            while waiting:
                done, waiting = waiting, _next(thread, make, source)
                yield done.result()
        finally:
            if waiting:
                waiting.cancel()


def _next(thread: ThreadPoolExecutor, make: Callable[[Item], Made], source: Iterator[Item]) -> Future[Made] | None:
    """The next item's result in the making; None behind the last."""
    for item in source:
        return thread.submit(make, item)
    return None
