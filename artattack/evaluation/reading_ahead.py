"""Reading the next item in a thread while the current one is processed."""

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
    """Yield the contents of items in order, reading the next in a thread while the caller processes one.

    An error of reading an item is raised at its turn. At most two contents are held.

    Args:
        read: function that reads an item.
        items: the items, in order.
        at_once: whether a thread may read ahead; otherwise each item is read at its turn.
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
