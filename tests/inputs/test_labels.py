"""ImageNet classes by index, wnid and name."""

import re

import pytest

from artattack.errors import ArtattackError
from artattack.inputs.labels import IMAGENET, class_index, class_name, imagenet_classes


def test_there_are_1000_classes_in_wnid_order():
    classes = imagenet_classes()
    wnids = [c.wnid for c in classes]
    assert [c.index for c in classes] == list(range(1000)) == list(IMAGENET)
    assert wnids == sorted(set(wnids))
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    assert all(c.name == c.name.strip() and c.name for c in classes)


@pytest.mark.parametrize(
    ("index", "wnid", "name"),
    [
        (0, "n01440764", "tench"),
        (1, "n01443537", "goldfish"),
        (207, "n02099601", "golden retriever"),
        (281, "n02123045", "tabby"),
        (440, "n02823428", "beer bottle"),
        (972, "n09246464", "cliff"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_known_classes(index: int, wnid: str, name: str):
    assert imagenet_classes()[index] == (index, wnid, name)
    assert class_name(index) == name
    assert class_index(str(index)) == class_index(wnid) == class_index(name) == index


@pytest.mark.parametrize("text", ["Beer_Bottle", "  beer   bottle ", "BEER BOTTLE", "N02823428", " 440 "])
def test_case_spaces_and_underscores_do_not_matter(text: str):
    assert class_index(text) == 440


def test_every_class_is_found_by_index_and_wnid_and_unless_shared_by_name():
    names = [c.name.lower() for c in imagenet_classes()]
    for c in imagenet_classes():
        assert class_index(str(c.index)) == class_index(c.wnid) == c.index
        if names.count(c.name.lower()) == 1:
            assert class_index(c.name) == c.index


@pytest.mark.parametrize(("name", "one", "other"), [("crane", 134, 517), ("Maillot", 638, 639), ("cardigan", 264, 474)])
def test_a_name_of_two_classes_is_refused_and_both_are_told(name: str, one: int, other: int):
    assert class_name(one).lower() == class_name(other).lower() == name.lower()
    with pytest.raises(ArtattackError, match=rf"'{name}'.* {one} \(n\d+\) and {other} \(n\d+\)"):
        class_index(name)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("tensh", "tench"), ("golden retreiver", "golden retriever"), ("n01440765", "n0144076"), ("beer botle", "beer b")],
)
def test_a_mistyped_class_is_answered_with_the_nearest(text: str, hint: str):
    with pytest.raises(ArtattackError, match=f"no ImageNet class '{text}'; did you mean '{hint}") as caught:
        class_index(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "1000", "-1", "1.0", "xyzzy-qwrt"])
def test_no_class(text: str):
    with pytest.raises(ArtattackError, match=f"no ImageNet class '{text}'"):
        class_index(text)


@pytest.mark.parametrize("index", [-1, 1000])
def test_an_index_outside_has_no_name(index: int):
    with pytest.raises(ArtattackError, match=f"class {index} "):
        class_name(index)
