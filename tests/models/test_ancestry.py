"""Ancestors of a model, through any number of teachers."""

import pytest

from artattack.models.ancestry import Kinship, ancestry, family_of

TEACHERS = {"c": "b", "b": "a", "x": "y", "y": "x"}


@pytest.mark.parametrize(
    ("names", "found"),
    [(["a"], "a"), (["c"], "cba"), (["b", "z"], "baz"), (["x"], "xy"), ([], "")],
)
def test_a_model_descends_from_its_teachers_and_theirs(names: list[str], found: str) -> None:
    assert ancestry(names, TEACHERS) == {*found}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("quicknet_small", "quicknet"),
        ("vgg19", "vgg"),
        ("ResNet50", "resnet"),
        ("birealnet", "resnet"),
        ("binary_alexnet", "alexnet"),
        ("inception_resnet_v2", "inception"),
        ("mobilenetv3_small_100", "mobilenet"),
        ("efficientnet_lite0", "mobilenet"),
        ("EfficientNet-Lite", "mobilenet"),
        ("regnetx_002", "regnetx"),
        ("hardnet39ds", "hardnet"),
        ("7", "7"),
    ],
)
def test_families_by_the_names_of_architectures(name: str, family: str) -> None:
    assert family_of(name) == family


@pytest.mark.parametrize(
    ("model", "read", "relation"),
    [
        ("lite0", ["lite0"], "seen"),
        ("alias", ["lite0"], "seen"),  # the same weights
        ("lite2", ["lite0"], "kin"),  # of one family
        ("lite2", ["student"], "kin"),  # of the family of its teacher
        ("student", ["lite0"], "kin"),
        ("student", ["brother"], "kin"),  # of one teacher
        ("squeezenet", ["lite0", "student"], "unrelated"),
        ("mine", ["yours"], "unrelated"),  # of unknown family
        ("lite0", [], "unrelated"),
    ],
)
def test_relations(model: str, read: list[str], relation: str) -> None:
    kinship = Kinship(
        teachers={"student": "lite0", "brother": "lite0"},
        families={"lite0": "mobilenet", "lite2": "mobilenet", "student": "quicknet", "squeezenet": "squeezenet"},
        weights={"lite0": "ab", "alias": "ab", "lite2": "cd"},
    )
    assert kinship.relation(model, read) == relation


def test_a_network_is_kin_to_itself_behind_a_defence_both_ways() -> None:
    kinship = Kinship(
        weights={"plain": "1", "guarded": "2", "squeezed": "3", "alias": "2", "other": "4"},
        networks={"plain": "1", "guarded": "1", "squeezed": "1", "alias": "1", "other": "4"},
    )
    assert kinship.relation("plain", ["guarded"]) == "kin"
    assert kinship.relation("guarded", ["plain"]) == "kin"
    assert kinship.relation("squeezed", ["guarded"]) == "kin"
    assert kinship.relation("alias", ["guarded"]) == "seen"
    assert kinship.relation("other", ["guarded"]) == "unrelated"
    assert kinship.share_ancestor(["plain"], ["guarded"])
