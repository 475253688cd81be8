"""The 16 entry-level classes, against the wnids that their authors list."""

import pytest

from artattack.inputs.entry_classes import ENTRY_CLASSES, cues_of
from artattack.inputs.labels import class_index, class_name


def test_sixteen_classes_that_share_nothing() -> None:
    assert len(ENTRY_CLASSES) == 16
    every = [index for indices in ENTRY_CLASSES.values() for index in indices]
    assert len(every) == len(set(every)) == 207
    assert [len(indices) for indices in ENTRY_CLASSES.values()] == [1, 4, 2, 49, 5, 7, 3, 6, 4, 3, 109, 2, 2, 1, 1, 8]


@pytest.mark.parametrize(
    ("name", "wnids"),
    [
        ("airplane", ["n02690373"]),
        ("bear", ["n02132136", "n02133161", "n02134084", "n02134418"]),
        ("boat", ["n02951358", "n03344393", "n03662601", "n04273569", "n04612504"]),
        ("chair", ["n02791124", "n03376595", "n04099969", "n04429376"]),
        ("keyboard", ["n03085013", "n04505470"]),
        ("knife", ["n03041632"]),
        ("oven", ["n04111531"]),
    ],
)
def test_indices_are_those_of_the_published_wnids(name: str, wnids: list[str]) -> None:
    assert list(ENTRY_CLASSES[name]) == [class_index(wnid) for wnid in wnids]


def test_classes_left_out_of_dogs_and_birds() -> None:
    assert "Chihuahua" not in {class_name(index) for index in ENTRY_CLASSES["dog"]}
    assert class_index("hen") in ENTRY_CLASSES["bird"]
    assert class_index("cock") not in ENTRY_CLASSES["bird"]


def test_cues_are_read_from_ids() -> None:
    assert cues_of("cat7-elephant1") == ("cat", "elephant")
    assert cues_of("keyboard10-oven3") == ("keyboard", "oven")
    for other in ("imagenet_00_243", "cat7-sofa1", "cat7-elephant1-216", "cat-elephant"):
        assert cues_of(other) is None
