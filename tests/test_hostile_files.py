"""Hostile and damaged files that concern several modules; docs/large-runs.md lists the outcome of each."""

import pickle
import shutil
import socket
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from PIL import Image

from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.inputs.images import read_image
from artattack.models import load_model
from artattack.training import data as training_data

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".jpg"), ("JPEG", ".png"), ("WEBP", ".bmp"), ("BMP", ".webp")])
def test_an_image_with_the_suffix_of_another_format_is_read_by_its_content(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    image = np.full((6, 5, 3), (200, 100, 50), np.uint8)
    path = tmp_path / f"renamed{suffix}"
    Image.fromarray(image).save(path, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_allclose(read_image(path).astype(int), image, atol=3 if kind == "JPEG" else 0)


@pytest.mark.parametrize("target", ["secret", "/etc/hostname", "../secret"])
def test_a_symlink_in_an_archive_of_images_is_not_followed(target: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [0]}))
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    with pytest.raises(ArtattackError, match="has no data_batch_1, which CIFAR-10 in Python batches contains"):
        training_data._member(path, "data_batch_1")


def test_a_symlink_in_a_keras_archive_is_not_followed(tmp_path: Path) -> None:
    layers = tf_keras.layers
    parts = [layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(4)]
    tf_keras.Sequential([tf_keras.Input((8, 8, 3)), *parts]).save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        (tmp_path / "weights.h5").write_bytes(whole.read("model.weights.h5"))
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, whole.read(name))
        link = zipfile.ZipInfo("model.weights.h5")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, str(tmp_path / "weights.h5"))
    with pytest.raises(ArtattackError, match="cannot be loaded") as caught:
        load_model(tmp_path / "net.keras", preprocessing="tf")
    assert "\n" not in str(caught.value)
    shutil.copy(tmp_path / "whole.keras", tmp_path / "net.keras")
    load_model(tmp_path / "net.keras", preprocessing="tf")


@pytest.mark.parametrize("shape", [(), ("N", 3), ("N", 3, 8), ("N", 1, 3, 8, 8)])
@pytest.mark.parametrize("end", ["input", "output"])
def test_an_onnx_model_of_the_wrong_rank(end: str, shape: tuple[Any, ...], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    given, found = (shape, shape) if end == "input" else (("N", 3, 8, 8), None)
    node = make.make_node("Identity", ["image"], ["values"])
    constants = []
    if end == "output":  # of the image's mean, in the shape in question
        sides = [1 if side == "N" else side for side in shape]
        constants = [onnx.numpy_helper.from_array(np.zeros(sides, np.float32), "zeros")]
        nodes = [
            make.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
            make.make_node("Add", ["mean", "zeros"], ["values"]),
        ]
    else:
        nodes = [node]
    info = [make.make_tensor_value_info("image", number, given)], [make.make_tensor_value_info("values", number, found)]
    model = make.make_model(make.make_graph(nodes, "net", *info, constants), opset_imports=[make.make_opsetid("", 13)])
    model.ir_version = 8
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    message = "a classifier takes" if end == "input" else r"gave values of shape \(.*\) for 4 images"
    with pytest.raises(ArtattackError, match=message) as caught:
        load_model(path, preprocessing="tf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", ".nan"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd", "square"])
def test_an_eps_that_is_no_number(attack: str, value: Any, tmp_path: Path) -> None:
    one = {"attack": attack, "source": "quicknet_tiny", "eps": value}
    benchmark = {"images": {"size": 32, "limit": 1}, "classifiers": ["quicknet_tiny"], "attacks": [one]}
    with pytest.raises(ArtattackError, match="eps") as caught:
        run_benchmark(benchmark, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "records.csv").exists()


def test_a_run_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            tried.append(address)
            raise OSError("no network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: connect(socket.socket(), arguments))
    attacks = [
        {"attack": "style", "backbone": "quicknet_tiny", "style": "waves", "steps": 1},
        {"attack": "square", "source": "efficientnet_lite0", "eps": 0.1, "max_iter": 1},
        {"attack": "noise"},
    ]
    benchmark = {
        "images": {"size": 32, "limit": 1},
        "classifiers": ["quicknet_tiny", "efficientnet_lite0"],
        "attacks": attacks,
    }
    records = run_benchmark(benchmark, out=tmp_path / "run")
    assert records["error"].isna().all()
    assert tried == []
    with pytest.raises(OSError, match="no network"):  # the guard is one
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    assert tried
