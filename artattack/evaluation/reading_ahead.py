"""Reading what comes next while what is there is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Content = TypeVar("Content")


@contextmanager
def reading_ahead(
    read: Callable[[Item], Content], items: Sequence[Item], *, at_once: bool = True
) -> Iterator[Iterator[Content]]:
    """Give what `read` makes of items, one after the other: the next is read in a thread while its reader is at one.

    What reading one raises is raised when its turn comes. Two are held at most.

    Args:
        read: reads an item.
        items: what to read, in order.
        at_once: whether threads may read while others do something else; without, all is read when its turn comes.
    """
    if not at_once:
        yield map(read, items)
        return

    def each() -> Iterator[Content]:
        ahead = [pool.submit(read, item) for item in items[:1]]
        for item in items[1:]:
            content = ahead.pop().result()
            ahead.append(pool.submit(read, item))
            yield content
        yield from (last.result() for last in ahead)

    with ThreadPoolExecutor(1) as pool:
        yield each()
