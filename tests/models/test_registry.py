import random
import socket
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artattack.errors import ArtattackError
from artattack.inputs.labels import IMAGENET, class_index
from artattack.models import load_model, model_infos
from artattack.models.registry import parse_label_space

WNIDS = Path(__file__).resolve().parents[2] / "artattack/models/weights/quicknet_tiny.wnids.txt"


def test_the_table_is_read_without_tensorflow() -> None:
    code = (
        "import sys; from artattack.models import model_infos; "
        "assert len([m.available for m in model_infos()]) > 30; "
        "assert not {'tensorflow', 'tf_keras', 'larq_zoo', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_are_sound() -> None:
    infos = model_infos()
    assert len({info.name for info in infos}) == len(infos)
    for info in infos:
        assert info.name == info.name.lower()
        assert info.default_weights in info.weights
        assert "random" in info.weights
        assert info.style_layers
        assert info.content_layers
        assert info.binary == (info.family in ("larq_zoo", "bundled"))
    assert next(info for info in infos if info.name == "quicknet_tiny").available


def test_bundled_network() -> None:
    model = load_model("quicknet_tiny")
    assert (model.name, model.weights, model.binary, model.input_size) == (
        "quicknet_tiny",
        "bundled",
        True,
        (64, 64),
    )
    assert model.label_space == tuple(class_index(wnid) for wnid in WNIDS.read_text().split())
    assert len(model.label_space) == 200 == model.network.output_shape[-1]
    kernels = [layer.get_weights()[0] for layer in model.network.layers if "quant_conv2d" in layer.name]
    assert sum(bool(np.isin(kernel, (-1, 1)).all()) for kernel in kernels) == 16


@pytest.mark.parametrize("name", ["quicknet_tiny", "quicknet_distilled"])
def test_bundled_weights_are_checked(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from artattack.models import bundled

    (tmp_path / f"{name}.h5").write_bytes((bundled.FOLDER / f"{name}.h5").read_bytes()[:-1] + b"x")
    (tmp_path / "quicknet_tiny.wnids.txt").write_bytes((bundled.FOLDER / "quicknet_tiny.wnids.txt").read_bytes())
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    with pytest.raises(ArtattackError, match="not the bundled file"):
        load_model(name)


def test_the_distilled_backbone_is_described() -> None:
    model = load_model("quicknet_distilled")
    assert (model.binary, model.input_size, model.classes) == (True, (224, 224), 1000)
    info = next(info for info in model_infos() if info.name == "quicknet_distilled")
    assert (info.classifies, info.distilled_from) == (False, "efficientnet_lite0")
    kernels = [layer.get_weights()[0] for layer in model.network.layers if "quant_conv2d" in layer.name]
    assert sum(bool(np.isin(kernel, (-1, 1)).all()) for kernel in kernels) == 16


def test_random_weights_follow_from_the_seed_and_leave_other_generators_alone() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    first, again, other = (load_model("quicknet_tiny", "random", seed=seed) for seed in (1, 1, 2))
    assert (random.random(), np.random.rand()) == expected
    assert first.weights == "random"
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256


def test_weights_from_a_file(tmp_path: Path) -> None:
    original = load_model("quicknet_tiny", "random", seed=3)
    original.network.save_weights(tmp_path / "w.h5")
    model = load_model("quicknet_tiny", tmp_path / "w.h5")
    assert (model.weights, model.weights_sha256) == ("file", original.weights_sha256)
    assert load_model("quicknet_tiny", str(tmp_path / "w.h5")).weights_sha256 == original.weights_sha256
    with pytest.raises(ArtattackError, match="does not fit model 'quicknet_tiny' with 3 classes"):
        load_model("quicknet_tiny", tmp_path / "w.h5", label_space=[1, 2, 3])
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(ArtattackError, match="does not fit model 'quicknet_tiny'"):
        load_model("quicknet_tiny", tmp_path / "text.h5")


def test_arguments_override_the_registry() -> None:
    model = load_model(
        "quicknet_tiny",
        "random",
        input_size=32,
        preprocessing={"std": [2, 2, 2]},
        label_space=["tench", "goldfish"],
    )
    assert model.input_size == (32, 32)
    assert model.network.input_shape == (None, 32, 32, 3)
    assert model.label_space == (0, 1)
    assert model.preprocessing.std == (2, 2, 2)
    assert model.predict(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quicknet_tny",), "unknown model 'quicknet_tny'; did you mean 'quicknet_tiny'"),
        (("no/such.keras",), "no such file"),
        (("quicknet_tiny", "imagenet"), "neither of bundled, random, nor a file"),
        (("quicknet_tiny", "no/such.h5"), "neither of bundled, random, nor a file"),
    ],
)
def test_wrong_names_are_answered(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        load_model(*arguments)


def test_wrong_label_space_is_answered() -> None:
    with pytest.raises(ArtattackError, match="3 classes for 200 outputs"):
        load_model("quicknet_tiny", label_space=[1, 2, 3])


@pytest.mark.parametrize("label_space", [[], ["tench"]])
@pytest.mark.parametrize("weights", [None, "random"])
def test_a_classifier_has_two_classes(weights: str | None, label_space: list[str]) -> None:
    with pytest.raises(ArtattackError, match=f"a label space of {len(label_space)} classes; a classifier chooses"):
        load_model("quicknet_tiny", weights, label_space=label_space)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"input_size": size}, "whole pixels above 0") for size in (0, -64, 64.0, "64", True, (64,), (64, 64, 3))),
        *(({"input_size": size}, "whole pixels above 0") for size in ((64, 0), (64, None), (64.5, 64))),
        *(({"seed": seed}, "the seed is a whole number from 0") for seed in (-1, 2**32, 0.5, True, None)),
        ({"label_space": {"tench", "goldfish"}}, "a list in the order of the outputs"),
        ({"label_space": {"tench": 0, "goldfish": 1}}, "a list in the order of the outputs"),
        ({"label_space": 7}, "a list in the order of the outputs"),
        ({"preprocessing": {}, "weights": "no/such.h5"}, "nor a file"),
        ({"preprocessing": ""}, "unknown preprocessing ''"),
        ({"preprocessing": 5}, "preprocessing: give a name"),
        ({"preprocessing": {"bgr": "false"}}, "without quotes"),
    ],
)
def test_wrong_arguments_are_answered(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message) as caught:
        load_model("quicknet_tiny", **{"weights": "random", **arguments})
    assert "\n" not in str(caught.value)


def test_whole_numbers_of_any_kind_are_sizes() -> None:
    model = load_model("quicknet_tiny", "random", input_size=(np.int64(32), 64), seed=np.uint8(3))
    assert model.input_size == (32, 64)
    assert all(type(side) is int for side in model.input_size)


def test_a_label_space_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "space.txt"
    path.write_bytes("\ufefftench\r\ngoldfish\r\n".encode())
    assert parse_label_space(path) == (0, 1)
    for content in (b"\x80\x02cos\nsystem\n", bytes(1000), "tench\n".encode("utf-16")):
        path.write_bytes(content)
        with pytest.raises(ArtattackError, match=r"space\.txt' cannot be read as text|no ImageNet class") as caught:
            parse_label_space(path)
        assert "\n" not in str(caught.value)


def test_parse_label_space(tmp_path: Path) -> None:
    assert parse_label_space("imagenet") == IMAGENET
    assert parse_label_space([3, "n01443537", "tench"]) == (3, 1, 0)
    (tmp_path / "space.txt").write_text("tench\n\n1\n")
    assert parse_label_space(tmp_path / "space.txt") == (0, 1)
    with pytest.raises(ArtattackError, match="'tench' twice"):
        parse_label_space([0, "tench"])
    with pytest.raises(ArtattackError, match="neither 'imagenet', a list, nor a text file"):
        parse_label_space("no/such.txt")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """An empty cache of downloads, no network, and a record of what was tried with which timeout."""
    from tf_keras.src.utils import data_utils

    tried: list[Any] = []

    def refuse(url: str, path: str, progress: object) -> None:
        tried.append((Path(path), socket.getdefaulttimeout()))
        raise urllib.error.URLError("no network")

    (tmp_path / ".keras").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(data_utils, "urlretrieve", refuse)
    return tried


@pytest.mark.parametrize("name", ["quicknet_small", "mobilenet_v2"])
def test_a_failed_download_says_what_to_do(name: str, offline: list[Any]) -> None:
    info = next(info for info in model_infos() if info.name == name)
    assert not info.available
    with pytest.raises(ArtattackError, match=f"'{name}' needs a download.*no network.*quicknet_tiny") as caught:
        load_model(name)
    assert "\n" not in str(caught.value)
    ((path, timeout),) = offline
    assert path == info.download_path
    assert timeout is not None
    assert timeout < 60
    assert socket.getdefaulttimeout() is None


def test_a_download_made_earlier_is_used(offline: list[Any]) -> None:
    info = next(info for info in model_infos() if info.name == "mobilenet_v2")
    original = load_model("mobilenet_v2", "random", seed=4)
    info.download_path.parent.mkdir(parents=True)
    original.network.save_weights(info.download_path)
    assert info.available
    model = load_model("mobilenet_v2")
    assert (model.weights, model.weights_sha256) == ("imagenet", original.weights_sha256)
    assert not offline
