"""Reading ahead: the next item is read while the current one is processed, in order, with errors at their turn."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from artattack.evaluation.reading_ahead import reading_ahead


@pytest.mark.parametrize("at_once", [True, False])
def test_all_come_in_order_and_at_most_one_ahead(at_once: bool) -> None:
    begun: list[int] = []

    def read(item: int) -> int:
        begun.append(item)
        return item * item

    for count in (0, 1, 5):
        begun.clear()
        with reading_ahead(read, range(count), at_once=at_once) as contents:
            for number, content in enumerate(contents):
                assert content == number * number
                assert set(begun) <= set(range(number + 2))
        assert begun == list(range(count))


def test_the_next_is_read_meanwhile() -> None:
    read = [threading.Event() for _ in range(3)]
    with reading_ahead(lambda n: read[n].set(), range(3)) as contents:
        next(contents)
        assert read[1].wait(10)  # before it is requested
        assert not read[2].is_set()


def test_an_error_comes_at_its_turn_and_ends_it() -> None:
    def read(item: str) -> str:
        if item == "bad":
            raise OSError("damaged")
        return item

    got: list[str] = []

    def work(contents: Iterator[str]) -> None:
        for content in contents:
            got.append(content)

    with reading_ahead(read, ["a", "b", "bad", "c"]) as contents, suppress(OSError):
        work(contents)
    assert got == ["a", "b"]
    with pytest.raises(OSError, match="damaged"), reading_ahead(read, ["bad"]) as contents:
        work(contents)
