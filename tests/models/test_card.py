"""The card beside a model file: it gives the options for loading; an invalid card is refused in one line."""

from pathlib import Path

import pytest
import tf_keras

from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.loading import _teachers, families
from artattack.models import load_model
from artattack.models.card import Card, card_path, read_card
from artattack.models.model import PREPROCESSING


@pytest.fixture
def file(tmp_path: Path) -> Path:
    layers = tf_keras.layers
    network = tf_keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(4, 3, name="first"),
            layers.Conv2D(4, 3, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    network.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def write(file: Path, card: Card) -> None:
    card_path(file).write_text(card.model_dump_json())


def test_a_file_opens_as_its_card_says(file: Path) -> None:
    with pytest.raises(ArtattackError, match="give its preprocessing"):
        load_model(file)
    write(
        file,
        Card(title="t", preprocessing="tf", label_space=(7, 3), style_layers=("second",), content_layers=("first",)),
    )
    model = load_model(file)
    assert model.preprocessing == PREPROCESSING["tf"]  # type: ignore[attr-defined]
    assert model.label_space == (7, 3)
    assert model.style_layers == ("second",)  # type: ignore[attr-defined]
    assert model.content_layers == ("first",)  # type: ignore[attr-defined]


def test_arguments_override_the_card(file: Path) -> None:
    write(file, Card(title="t", preprocessing="tf", label_space=(7, 3)))
    assert load_model(file, label_space=[1, 2]).label_space == (1, 2)
    told = load_model(file, preprocessing="unit")
    assert told.preprocessing == PREPROCESSING["unit"]  # type: ignore[attr-defined]
    assert told.label_space is None


@pytest.mark.parametrize("text", ["", "[]", '{"title": "t"}', '{"title": "t", "preprocessing": "tf", "colour": 1}'])
def test_an_invalid_card_gives_one_line(text: str, file: Path) -> None:
    card_path(file).write_text(text)
    with pytest.raises(ArtattackError, match=r"net\.json: not a model card") as error:
        load_model(file)
    assert "\n" not in str(error.value)


def test_only_keras_files_have_cards(tmp_path: Path) -> None:
    write(tmp_path / "quicknet_tiny", Card(title="t", preprocessing="tf"))
    assert read_card(tmp_path / "quicknet_tiny") is None


def test_the_teacher_of_a_file_does_not_judge_its_paint(file: Path) -> None:
    write(file, Card(title="t", preprocessing="tf", distilled_from="efficientnet_lite2"))
    attack = {"attack": "style", "backbone": ["mine", str(file), "quicknet_distilled"], "style": "waves"}
    benchmark = parse_benchmark(
        {"models": {"mine": {"model": str(file), "distilled_from": "efficientnet_lite0"}}, "attacks": [attack]}
    )
    assert _teachers(benchmark) == {
        "mine": "efficientnet_lite0",
        str(file): "efficientnet_lite2",
        "quicknet_distilled": "efficientnet_lite0",
    }


def test_the_family_of_a_file_comes_from_the_benchmark_or_its_card(file: Path) -> None:
    write(file, Card(title="t", preprocessing="tf", family="vgg16"))
    models = {
        "mine": {"model": str(file), "family": "ResNet"},
        "lite": {"model": "efficientnet_lite2"},
        "server": {"model": "https://localhost/m"},
        "regnet": {"model": "timm:regnetx_002"},
    }
    benchmark = parse_benchmark({"models": models, "classifiers": [*models, str(file)], "attacks": []})
    found = families(benchmark)
    assert {name: found.get(name) for name in (*models, str(file))} == {
        "mine": "resnet",
        "lite": "mobilenet",
        "server": None,
        "regnet": "regnetx",
        str(file): "vgg",
    }
    assert (found["quicknet_tiny"], found["efficientnet_lite0"]) == ("quicknet", "mobilenet")
