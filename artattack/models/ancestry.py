"""Which networks taught which: the ancestors of a model, through any number of teachers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def ancestry(names: Iterable[str], teachers: Mapping[str, str]) -> set[str]:
    """Return models with all their teachers, the teachers of those, and so on.

    Args:
        names: models.
        teachers: from the name of a distilled model to that of its teacher.
    """
    found: set[str] = set()
    left = [*names]
    while left:
        name = left.pop()
        if name not in found:  # a circle of teachers ends here
            found.add(name)
            left += [teachers[name]] if name in teachers else []
    return found
