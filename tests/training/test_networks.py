"""The study's network: its size worked out by hand, the computation at each precision, and its file."""

from pathlib import Path

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from artattack.errors import ArtattackError
from artattack.models import load_model
from artattack.models.card import Card, card_path
from artattack.training.networks import build_network, parse_precision, save_network, sizes, take_signs

SMALL = 1 / 16


def test_the_size_is_the_papers() -> None:
    network = build_network(32, 10, 1.0, parse_precision("w1a1"))
    convolutions = 9 * (3 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512)
    dense = 4 * 4 * 512 * 1024 + 1024 * 1024 + 1024 * 10
    units = 2 * (128 + 256 + 512) + 2 * 1024 + 10
    found = sizes(network)
    assert found["parameters"] == convolutions + dense + 3 * units  # an offset, a mean and a variance each
    # larq counts a normalization's offset and mean as one, since they can be added up
    assert found["bytes_as_float32"] == 4 * (convolutions + dense + 2 * units)
    assert found["bytes"] == (convolutions + dense) // 8 + 4 * 2 * units
    assert 30 < found["bytes_as_float32"] / found["bytes"] < 32  # the study's 30 times


@pytest.mark.parametrize(("text", "weights", "steps"), [("w1a1", 2, 2), ("w2a2", 4, 4), ("w4a1", 16, 2)])
def test_weights_and_activations_take_so_many_values(text: str, weights: int, steps: int) -> None:
    network = build_network(16, 3, SMALL, parse_precision(text))
    layer = network.get_layer("conv1")
    with lq.context.quantized_scope(True):
        kernel = layer.get_weights()[0]
    assert len(np.unique(kernel.round(5))) == weights
    seen = layer.input_quantizer(tf.linspace(-2.0, 2.0, 1001)).numpy()
    assert len(np.unique(seen)) == steps
    assert network.get_layer("conv0").input_quantizer is None  # pixels are read as they are


def test_the_float_twin_has_no_quantizer_and_the_same_weights() -> None:
    twin = build_network(16, 3, SMALL, parse_precision("float"))
    network = build_network(16, 3, SMALL, parse_precision("w1a1"))
    assert [w.shape for w in twin.weights] == [w.shape for w in network.weights]
    for layer in twin.layers:
        assert getattr(layer, "kernel_quantizer", None) is None
        assert getattr(layer, "kernel_constraint", None) is None
    assert isinstance(network.get_layer("conv1").kernel_constraint, lq.constraints.WeightClip)


@pytest.mark.parametrize("text", ["w1a1", "w4a8", "float"])
def test_a_saved_network_computes_the_same(text: str, tmp_path: Path) -> None:
    tf.keras.utils.set_random_seed(0)
    network = build_network(16, 3, SMALL, parse_precision(text))
    x = np.random.default_rng(0).random((4, 16, 16, 3)).astype(np.float32)
    before = network(2 * x - 1, training=False).numpy()
    path = tmp_path / "network.keras"
    save_network(network, path)
    card_path(path).write_text(Card(title="t", preprocessing="tf").model_dump_json())
    model = load_model(path)
    after = tf.nn.softmax(model.predict(x)).numpy()
    assert after == pytest.approx(before, abs=1e-5)
    assert path.stat().st_size < 4 * network.count_params()


def test_one_bit_kernels_are_kept_as_signs() -> None:
    network = build_network(16, 3, SMALL, parse_precision("w1a1"))
    kernel = network.get_layer("conv1").kernel
    latent = kernel.numpy()
    take_signs(network)
    assert (kernel.numpy() == np.where(latent < 0, -1, 1)).all()
    deeper = build_network(16, 3, SMALL, parse_precision("w2a2"))
    latent = deeper.get_layer("conv1").kernel.numpy()
    take_signs(deeper)
    assert (deeper.get_layer("conv1").kernel.numpy() == latent).all()


@pytest.mark.parametrize("text", ["w1", "w0a1", "w1a9", "binary", "w1a1 "])
def test_precisions_that_are_none(text: str) -> None:
    with pytest.raises(ArtattackError, match="write float, or bits"):
        parse_precision(text)
