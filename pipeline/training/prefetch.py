"""The next thing is made while the last one is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item], *, by: int = 1) -> Generator[Made, None, None]:
    """``map(make, items)``, with up to ``by`` results made in a thread before they are asked for.

    One thread, so that the calls do not overlap. What a call raises is raised where its result is asked for.

    Args:
        make: called with each item, in order.
        items: may be endless; it is read ``by`` items ahead.
        by: how many results may wait.
    """
    waiting: deque[Future[Made]] = deque()
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        try:
            waiting.extend(thread.submit(make, item) for item in islice(source, by))
            while waiting:
                done = waiting.popleft()
                waiting.extend(thread.submit(make, item) for item in islice(source, 1))
                yield done.result()
        finally:
            for future in waiting:
                future.cancel()
