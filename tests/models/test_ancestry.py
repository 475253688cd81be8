"""Ancestors of a model, through any number of teachers."""

import pytest

from artattack.models.ancestry import ancestry

TEACHERS = {"c": "b", "b": "a", "x": "y", "y": "x"}


@pytest.mark.parametrize(
    ("names", "found"),
    [(["a"], "a"), (["c"], "cba"), (["b", "z"], "baz"), (["x"], "xy"), ([], "")],
)
def test_a_model_descends_from_its_teachers_and_theirs(names: list[str], found: str) -> None:
    assert ancestry(names, TEACHERS) == {*found}
