"""Restyled networks against NumPy, with the same random draws."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.attacks.guidance import Guidance
from artattack.attacks.momentum import MomentumAttack
from artattack.attacks.options import StyleOptions
from artattack.attacks.restyled import RestyledNetwork, restyled
from artattack.errors import ArtattackError
from artattack.inputs.styles import load_styles, style_names
from artattack.models import load_model
from artattack.models.estimator import to_estimator
from artattack.models.model import Model, Preprocessing

SIDE, CHANNELS, CLASSES = 8, 5, 4
RNG = np.random.default_rng(0)
X = RNG.random((3, SIDE, SIDE, 3)).astype(np.float32)
SEEDS = np.array([[1, 2], [3, 4], [5, 6]], np.int32)


def network(*, past: bool = False) -> Model:
    """Three colours to five channels, cut off at 0, averaged, to four logits; `past` adds the image's mean to them."""
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((SIDE, SIDE, 3))
    early = tf_keras.layers.Conv2D(CHANNELS, 1, name="early")(image)
    rectified = tf_keras.layers.ReLU()(early)
    late = tf_keras.layers.Dense(CLASSES, name="logits")(tf_keras.layers.GlobalAveragePooling2D()(rectified))
    if past:
        late += tf_keras.layers.Dense(CLASSES)(tf_keras.layers.GlobalAveragePooling2D()(image))
    return Model(
        "toy", "random", "", False, tf_keras.Model(image, late), (SIDE, SIDE), Preprocessing(), None, ("early",), ()
    )


def by_hand(model: Model, x: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    def features(images: np.ndarray) -> np.ndarray:
        kernel, bias = model.network.get_layer("early").get_weights()
        scaled = (255.0 * images - np.array(model.preprocessing.mean)) / np.array(model.preprocessing.std)
        return np.asarray(scaled @ kernel[0, 0] + bias)

    styles = features(np.concatenate([load_styles(name, (SIDE, SIDE)) for name in style_names()]))
    dense, offset = model.network.get_layer("logits").get_weights()
    logits = []
    for image, seed in zip(features(x), seeds, strict=True):
        draws = np.clip(tf.random.stateless_normal((2, 1, 1, CHANNELS), seed, 1.0).numpy().reshape(2, -1), 0, 2)
        style = styles[tf.random.stateless_uniform((), seed, 0, len(styles), tf.int32).numpy()]
        mean = draws[0] * (0.8 * image.mean((0, 1)) + 0.2 * style.mean((0, 1)))
        deviation = draws[1] * (0.8 * image.std((0, 1)) + 0.2 * style.std((0, 1)))
        changed = (image - image.mean((0, 1))) / image.std((0, 1)) * deviation + mean
        logits.append(np.maximum(changed, 0).mean((0, 1)) @ dense + offset)
    return np.stack(logits)


def test_logits_by_hand() -> None:
    model = network()
    found = RestyledNetwork(model).logits(tf.constant(X), tf.constant(SEEDS)).numpy()
    np.testing.assert_allclose(found, by_hand(model, X, SEEDS), rtol=2e-3, atol=1e-4)
    assert np.abs(found - model.logits(tf.constant(X)).numpy()).max() > 0.01


def test_the_outputs_that_count() -> None:
    model = network()
    model.outputs = (2, 0)
    found = RestyledNetwork(model).logits(tf.constant(X), tf.constant(SEEDS)).numpy()
    model.outputs = None
    np.testing.assert_allclose(found, by_hand(model, X, SEEDS)[:, [2, 0]], rtol=2e-3, atol=1e-4)


def test_a_network_is_cut_before_a_residual_branch() -> None:
    """Its layers for style lie within branches: the cut is where the first branch begins."""
    model = load_model("quicknet_tiny")
    assert "sum:0" not in model.style_layers
    found = RestyledNetwork(model)
    x = tf.constant(RNG.random((1, *model.input_size, 3)), tf.float32)
    whole = found._late(found._early(model.preprocessing(x)))
    np.testing.assert_allclose(whole, model.network(model.preprocessing(x)), rtol=1e-5, atol=1e-5)
    assert np.isfinite(found.logits(x, tf.constant([[1, 2]]))).all()


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    subject = RestyledNetwork(network())
    every = subject.logits(tf.constant(X), tf.constant(SEEDS)).numpy()
    alone = subject.logits(tf.constant(X[1:2]), tf.constant(SEEDS[1:2])).numpy()
    np.testing.assert_allclose(alone[0], every[1], rtol=1e-5, atol=1e-6)


def test_gradients_take_statistics_as_they_are() -> None:
    """Of the image's own mean and deviation only those of the normalization have a slope, as in the paper."""
    subject = RestyledNetwork(network())
    x, seeds = tf.constant(X[:1]), tf.constant(SEEDS[:1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(subject.logits(x, seeds)[:, 0])
    slope = tape.gradient(loss, x).numpy()
    # Brighter by a constant, an image has the same normalised features: with statistics held, its logits stay.
    np.testing.assert_allclose(slope.sum((1, 2)), 0.0, atol=1e-4 * np.abs(slope).sum())
    assert np.abs(slope).max() > 0


@pytest.mark.parametrize("what", ["past", "layers", "kind"])
def test_networks_that_cannot_be_restyled(what: str) -> None:
    model: Any = network(past=what == "past")
    if what == "layers":
        model.style_layers = ()
    if what == "kind":
        model = type("Function", (), {"name": "toy"})()
    with pytest.raises(ArtattackError, match="styless: 'toy'"):
        restyled([model], ["di", "styless"])
    assert restyled([model], ["di"]) == ()


def test_guides_see_it_in_their_views() -> None:
    model = network()
    options = {"guide_loss": "cross-entropy", "views": 2}
    losses = [
        Guidance([model], StyleOptions(**options, transforms=names)).loss(  # type: ignore[arg-type]
            tf.constant(X), tf.constant(X), [tf.constant([0, 1, 2])], tf.constant([7, 8])
        )[0]
        for names in ("styless", "si")
    ]
    assert np.abs(losses[0] - losses[1]).max() > 1e-3
    seeds = [np.array([[7 + view, 8]] * 3, np.int32) for view in range(2)]
    rounded = np.round(X * 255) / 255
    logits = [by_hand(model, rounded, seed) for seed in seeds]
    log_sums = [np.log(np.exp(values).sum(1)) - values[[0, 1, 2], [0, 1, 2]] for values in logits]
    np.testing.assert_allclose(-losses[0], np.mean(log_sums, 0), rtol=5e-3, atol=1e-3)


def test_momentum_climbs_through_it_with_a_seed_for_each_image() -> None:
    attack = MomentumAttack(to_estimator(network()), eps=0.1, max_iter=3, transforms="styless", views=2)
    labels = np.array([0, 1, 2])
    made = attack.generate(X, labels, seeds=[1, 2, 3])
    assert np.abs(made - X).max() <= 0.1 + 1e-6
    np.testing.assert_array_equal(made, attack.generate(X, labels, seeds=[1, 2, 3]))
    np.testing.assert_allclose(made[1:2], attack.generate(X[1:2], labels[1:2], seeds=[2]), atol=1e-6)
    assert np.abs(made - attack.generate(X, labels, seeds=[4, 5, 6])).max() > 0.01
