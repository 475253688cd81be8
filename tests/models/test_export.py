"""Exported files open again and agree with their network."""

from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras
from typer.testing import CliRunner

from artattack import cli
from artattack.errors import ArtattackError
from artattack.models import load_model
from artattack.models.export import convert, export_model
from artattack.models.model import Model, parse_preprocessing

SIZE = 12
CLASSES = (1, 404, 281, 999, 7)
X = np.random.default_rng(0).uniform(size=(5, SIZE, SIZE, 3)).astype(np.float32)


def model(**given: Any) -> Model:
    """A network with a binarized convolution of random kernels and biases."""
    inputs = tf_keras.Input((SIZE, SIZE, 3))
    x = larq.layers.QuantConv2D(
        32, 3, strides=2, padding="same", pad_values=1.0, input_quantizer="ste_sign", kernel_quantizer="ste_sign"
    )(inputs)
    x = tf_keras.layers.BatchNormalization()(x)
    outputs = tf_keras.layers.Dense(len(CLASSES))(tf_keras.layers.GlobalAveragePooling2D()(x))
    network = tf_keras.Model(inputs, outputs)
    rng = np.random.default_rng(1)
    network.set_weights(
        [rng.uniform(0.1, 1, w.shape) * rng.choice([-1, 1], w.shape) ** (w.ndim > 1) for w in network.get_weights()]
    )
    fields: dict[str, Any] = {
        "name": "mine",
        "weights": "file",
        "weights_sha256": "",
        "binary": True,
        "network": network,
        "input_size": (SIZE, SIZE),
        "preprocessing": parse_preprocessing("tf"),
        "label_space": CLASSES,
        "style_layers": (),
        "content_layers": (),
    }
    return Model(**fields | given)


def test_a_tflite_file_agrees_with_its_network_and_knows_its_classes(tmp_path: Path) -> None:
    mine, path = model(), tmp_path / "mine.tflite"
    size = export_model(mine, "tflite", path)
    assert size == path.stat().st_size
    file = load_model(f"tflite:{path}", preprocessing="tf")
    logits = mine.predict(X)
    assert np.ptp(logits) > 0.1
    np.testing.assert_allclose(file.predict(X), logits, atol=1e-4)
    assert file.label_space == CLASSES
    assert file.input_size == (SIZE, SIZE)
    export_model(model(label_space=None), "tflite", path)
    assert load_model(f"tflite:{path}", preprocessing="tf").label_space is None


def test_a_file_of_larq_compute_engine_packs_bits_and_agrees(tmp_path: Path) -> None:
    pytest.importorskip("larq_compute_engine")
    mine, path = model(), tmp_path / "mine.tflite"
    export_model(mine, "lce", path)
    file = load_model(f"lce:{path}", preprocessing="tf")
    np.testing.assert_allclose(file.predict(X), mine.predict(X), atol=1e-4)
    assert file.label_space == CLASSES
    assert b"LceBconv2d" in path.read_bytes()
    with pytest.raises(ArtattackError, match=r"operator 'Lce\w+' of Larq Compute Engine: open it as lce:"):
        load_model(f"tflite:{path}", preprocessing="tf")


def test_failed_exports_give_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match=r"unknown format 'tflit'.*did you mean"):
        convert(model(), "tflit")
    monkeypatch.setattr("artattack.models.export.find_spec", lambda name: None)
    with pytest.raises(ArtattackError, match=r"larq-compute-engine: pip install 'artattack\[lce\]'"):
        convert(model(), "lce")
    monkeypatch.setattr("artattack.models.kinds.find_spec", lambda name: None)
    (tmp_path / "a.tflite").write_bytes(b"")
    with pytest.raises(ArtattackError, match=r"pip install 'artattack\[lce\]'"):
        load_model(f"lce:{tmp_path / 'a.tflite'}", preprocessing="tf")


def test_the_command_writes_the_file_and_says_how_to_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artattack.models.registry.load_registered", lambda name, weights=None: model())
    path = tmp_path / "tiny.tflite"
    done = CliRunner().invoke(cli.app, ["export-model", "quicknet_tiny", "--to", "tflite", str(path)])
    assert done.exit_code == 0, done.output
    assert f"({path.stat().st_size} bytes)" in done.stdout
    assert f"{{model: 'tflite:{path}'}}" in done.stdout
    done = CliRunner().invoke(cli.app, ["export-model", "quicknet_tinny", "--to", "tflite", str(path)])
    assert done.exit_code == 2
    assert done.stderr.startswith("artattack: unknown model 'quicknet_tinny'")
