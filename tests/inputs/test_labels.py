"""ImageNet classes by index, wnid and name."""

import pickle
import re
from copy import deepcopy

import pytest

from artattack.errors import ArtattackError
from artattack.inputs.labels import (
    IMAGENET,
    LabelSpace,
    class_index,
    class_name,
    imagenet_classes,
    is_class,
    names_of,
    own_classes,
    united,
)


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


@pytest.mark.parametrize("text", ["", "1000", "-1", "1.5", "n01440765", "xyzzy-qwrt", "n0144076-tench"])
def test_no_class(text: str):
    with pytest.raises(ArtattackError, match=f"no ImageNet class '{text}'") as caught:
        class_index(text)
    assert "did you mean" not in str(caught.value) or text.startswith("n")  # the nearest number is no hint


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("65.0", 65),
        ("7.", 7),
        ("000", 0),
        ("0999", 999),
        ("n01440764-tench", 0),
        ("N01443537_goldfish", 1),
        ("n01484850 great white shark, white shark", 2),
        ("tench, Tinca tinca", 0),
        ("goldfish, Carassius auratus", 1),
    ],
)
def test_a_class_is_read_as_others_write_it(text: str, index: int):
    assert class_index(text) == index
    assert is_class(text)


@pytest.mark.parametrize("text", ["crane, bird", "maillot, tank suit"])  # the first word is the name of two
def test_a_synonym_of_two_classes_is_refused(text: str):
    with pytest.raises(ArtattackError, match=r"is the name of ImageNet classes \d+ .* and \d+"):
        class_index(text)


def test_counting_from_1_gives_advice():
    with pytest.raises(ArtattackError, match=r"'1000': here they count from 0 to 999. .* subtract 1.* give wnids"):
        class_index("1000")


# Classes of one's own

CIFAR = ("airplane", "automobile", "bird", "cat")


@pytest.mark.parametrize(("text", "place"), [("airplane", 0), ("Auto_Mobile", 1), ("BIRD", 2), ("3", 3), ("3.0", 3)])
def test_own_classes_by_name_or_place(text: str, place: int):
    assert class_index(text, tuple(name.replace("automobile", "auto mobile") for name in CIFAR)) == place
    assert class_name(place, CIFAR) == CIFAR[place]


@pytest.mark.parametrize(
    ("text", "why"), [("aeroplane", "'aeroplane'; did you mean 'airplane'"), ("4", "'4' .the classes are airplane, ")]
)
def test_unknown_own_classes_are_refused(text: str, why: str):
    with pytest.raises(ArtattackError, match=f"no class {why}"):
        class_index(text, CIFAR)
    assert not is_class(text, CIFAR)


def test_own_classes_that_are_numbers_are_names_and_not_places():
    names = ("5", "3", "1")
    assert [class_index(name, names) for name in names] == [0, 1, 2]
    with pytest.raises(ArtattackError, match="no class '0'"):
        class_index("0", names)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["a", "A "], "'A ' is there twice"),
        (["a b", "a_b"], "'a_b' is there twice"),
        (["a", " "], "a name is empty"),
        (["no", True], "True is no name; write names such as yes or 7 in quotes"),
        (["a", 1.5], "1.5 is no name"),
    ],
)
def test_a_list_of_own_classes_is_checked(names: list[object], why: str):
    with pytest.raises(ArtattackError, match=f"^classes: {why}"):
        own_classes(names)


def test_a_label_space_knows_its_list():
    own = own_classes(["a", "b", 3])
    assert (own, own.names, names_of(own)) == (LabelSpace((0, 1, 2), ("a", "b", "3")), ("a", "b", "3"), ("a", "b", "3"))
    assert own != (0, 1, 2)  # numbers alone are ImageNet's
    assert LabelSpace((0, 1, 2)) == (0, 1, 2)
    assert names_of((0, 1)) == names_of(None) == ()
    for copied in (pickle.loads(pickle.dumps(own)), deepcopy(own)):
        assert (copied, copied.names, hash(copied)) == (own, own.names, hash(own))


def test_a_label_space_is_counted_in_another_list():
    own = LabelSpace((2, 0), ("a", "b", "c"))
    assert own.counted_in(("c", "b", "a", "d")) == LabelSpace((0, 2), ("c", "b", "a", "d"))
    assert own.counted_in(("C", "_b", "A")) == LabelSpace((0, 2), ("C", "_b", "A"))  # as names are compared
    assert own.counted_in(("c", "b")) is own  # where a is missing
    assert united([("a", "b"), ("B", "c"), ()]) == ("a", "b", "c")
    assert IMAGENET.counted_in(("c", "b")) is IMAGENET
    assert own.keeping({0, 1}) == LabelSpace((0,), ("a", "b", "c"))


@pytest.mark.parametrize("index", [-1, 1000])
def test_an_index_outside_has_no_name(index: int):
    with pytest.raises(ArtattackError, match=f"class {index} "):
        class_name(index)
