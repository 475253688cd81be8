import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from artattack.errors import ArtattackError
from artattack.inputs.labels import LabelSpace
from artattack.models import load_model
from artattack.models.model import (
    PREPROCESSING,
    Model,
    Preprocessing,
    parse_preprocessing,
    resize,
    weights_sha256,
)


@pytest.fixture(scope="module")
def model() -> Model:
    inputs = tf.keras.Input((6, 5, 3))
    x = tf.keras.layers.Flatten()(inputs)
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(4)(x))
    return Model("dense", "random", "", False, network, (6, 5), Preprocessing(), None, (), ())


def images(n: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(n, height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("bgr", [False, True])
def test_preprocessing_is_the_affine_map_it_says(bgr: bool) -> None:
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)
    x = images(2, 3, 4)
    expected = (255 * (x[..., ::-1] if bgr else x) - mean) / std
    np.testing.assert_allclose(Preprocessing(mean, std, bgr)(tf.constant(x)), expected, atol=2e-4)


def test_preprocessing_of_one_pixel_by_hand() -> None:
    orange = tf.constant([[[[1.0, 0.4, 0.0]]]])
    np.testing.assert_allclose(
        PREPROCESSING["caffe"](orange)[0, 0, 0], [0 - 103.939, 102 - 116.779, 255 - 123.68], atol=1e-4
    )
    np.testing.assert_allclose(PREPROCESSING["tf"](orange)[0, 0, 0], [1, -0.2, -1], atol=1e-6)
    np.testing.assert_allclose(PREPROCESSING["byte"](orange)[0, 0, 0], [255, 102, 0], atol=1e-4)
    np.testing.assert_allclose(PREPROCESSING["unit"](orange)[0, 0, 0], [1, 0.4, 0], atol=1e-6)
    np.testing.assert_allclose(PREPROCESSING["lite"](orange)[0, 0, 0], [1, -25 / 128, -127 / 128], atol=1e-6)


def test_parse_preprocessing() -> None:
    assert parse_preprocessing("tf") is PREPROCESSING["tf"]
    assert parse_preprocessing(Preprocessing(bgr=True)).bgr
    assert parse_preprocessing({"mean": [1, 2, 3], "bgr": True}) == Preprocessing((1, 2, 3), (1, 1, 1), True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("caffee", "did you mean 'caffe'"),
        ({"means": [0, 0, 0]}, "did you mean 'mean'"),
        ({"mean": [0, 0]}, "3 numbers"),
        ({"std": [1, 0, 1]}, "above 0"),
        ({"std": [1, -1, 1]}, "above 0"),
        *(({"bgr": value}, "bgr takes true or false, without quotes") for value in ("false", "no", "", 0, 1, None)),
        *(({"mean": [1, 2, value]}, "mean takes 3 numbers") for value in (math.nan, math.inf, "3", None, True, [3])),
        *(({"std": [1, 2, value]}, "std takes 3 numbers") for value in (math.nan, -math.inf, "3", None, True)),
        *(({"mean": value}, "mean takes 3 numbers") for value in (127.5, "123", None, {0: 1, 1: 2, 2: 3}, np.eye(3))),
        (None, "give a name"),
        (["imagenet"], "give a name"),
        ({0: [1, 2, 3]}, "unknown preprocessing key '0'"),
    ],
)
def test_wrong_preprocessing_is_named(value: object, message: str) -> None:
    with pytest.raises(ArtattackError, match=message) as caught:
        parse_preprocessing(value)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# Of torchvision, for pixels in [0, 1]; by hand, 255 times as much.
TORCH = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
MEAN, STD = r"mean: \[123\.675, 116\.28, 103\.53\]", r"std: \[58\.395, 57\.12, 57\.375\]"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (TORCH, rf"mean \[0\.485, 0\.456, 0\.406\] and std \[0\.229.*multiply by 255, {MEAN}, {STD}$"),
        (TORCH | {"mean": [123.675, 116.28, 103.53]}, rf"multiply by 255, {STD}$"),
        (TORCH | {"std": [58.395, 57.12, 57.375]}, rf"multiply by 255, {MEAN}$"),
        ({"mean": TORCH["mean"]}, rf"multiply by 255, {MEAN}$"),
        ({"std": TORCH["std"]}, rf"multiply by 255, {STD}$"),
        ({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}, r"mean: \[127\.5, 127\.5, 127\.5\], std: \[127\.5"),
    ],
)
def test_preprocessing_of_pixels_in_0_to_1_is_told_from_ours(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        parse_preprocessing(value)


@pytest.mark.parametrize(
    "value",
    [
        {"mean": [0, 0, 0], "std": [1, 1, 1]},
        {"mean": [0.0, 0.0, 1.0]},
        {"std": [1.0, 0.9, 0.8]},
        {"mean": np.array([103.939, 116.779, 123.68])},
    ],
)
def test_preprocessing_of_pixels_in_0_to_255_is_taken(value: dict[str, Any]) -> None:
    preprocessing = parse_preprocessing(value)
    assert preprocessing.mean == tuple(value.get("mean", (0, 0, 0)))
    assert preprocessing.std == tuple(value.get("std", (1, 1, 1)))


def test_a_preprocessing_made_in_python_is_taken_as_it_is() -> None:
    assert parse_preprocessing(Preprocessing(std=(0.01, 0.01, 0.01))).std == (0.01, 0.01, 0.01)
    with pytest.raises(ArtattackError, match="mean takes 3 numbers"):
        Preprocessing(mean=(0.0, math.nan, 0.0))


@settings(deadline=None, max_examples=20)
@given(
    height=st.integers(2, 40),
    width=st.integers(2, 40),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_resize_is_tensorflows_lanczos_down_and_bilinear_up(height: int, width: int, target: tuple[int, int]) -> None:
    x = tf.constant(images(2, height, width))
    expected = x
    for size, shrinks in (((target[0], width), target[0] < height), (target, target[1] < width)):
        expected = tf.image.resize(expected, size, method="lanczos3" if shrinks else "bilinear", antialias=True)
    np.testing.assert_allclose(resize(x, target), expected, atol=1e-5)


def test_resize_leaves_the_right_size_and_flat_images_alone() -> None:
    x = tf.constant(images(1, 8, 6))
    assert resize(x, (8, 6)) is x
    flat = tf.fill((1, 8, 6, 3), 0.25)
    np.testing.assert_allclose(resize(flat, (3, 2)), np.full((1, 3, 2, 3), 0.25), atol=1e-6)


def test_predict_gives_the_logits_in_any_batching(model: Model) -> None:
    x = images(5, 6, 5)
    kernel, bias = model.network.get_weights()
    expected = x.reshape(5, -1) @ kernel + bias
    for batch_size in (1, 2, 5, 32):
        logits = model.predict(x, batch_size=batch_size)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(model.logits(tf.constant(x)), expected, atol=1e-5)
    assert model.predict(x[:0]).shape == (0, 4)


def test_predict_resizes_other_sizes(model: Model) -> None:
    x = images(2, 9, 11)
    resized = tf.image.resize(x, (6, 5), method="lanczos3", antialias=True).numpy()
    np.testing.assert_allclose(model.predict(x), model.predict(resized), atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 3), (1, 6, 5, 1), (1, 3, 6, 5)])
def test_predict_refuses_arrays_that_are_no_batch_of_images(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArtattackError, match=r"\(N, H, W, 3\)"):
        model.predict(np.zeros(shape, np.float32))


def test_logits_have_the_gradient_of_preprocessing_and_resizing(model: Model) -> None:
    x = tf.constant(images(1, 12, 10))
    with tf.GradientTape() as tape:
        tape.watch(x)
        first = model.logits(x)[0, 0]
    gradient = tape.gradient(first, x).numpy()
    # Network and resizing are linear: the gradient's inner product with the image is logit minus bias.
    bias = model.network.get_weights()[1][0]
    assert float((gradient * x.numpy()).sum()) == pytest.approx(float(first) - bias, abs=1e-4)
    assert np.abs(gradient).max() > 0


def test_weights_sha256_follows_the_values(model: Model) -> None:
    before = weights_sha256(model.network)
    assert len(before) == 64
    copy = tf.keras.models.clone_model(model.network)
    copy.set_weights(model.network.get_weights())
    assert weights_sha256(copy) == before
    copy.set_weights([w + 1e-3 for w in model.network.get_weights()])
    assert weights_sha256(copy) != before


SPACE = (207, 3, 999, 0)


def gradient(function: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray) -> np.ndarray:
    """Return the gradient of some weighted sum of a function's outputs (N, 2)."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(function(x) * (2.0, -3.0))
    return np.asarray(tape.gradient(total, x))


def test_a_restricted_model_gives_the_logits_of_its_classes_in_the_models_order(model: Model) -> None:
    full = replace(model, label_space=SPACE)
    x = images(5, 9, 7)
    some = full.restricted_to((0, 3))
    assert (some.label_space, some.classes, full.classes) == ((3, 0), 2, 4)
    assert (some.network, some.name, some.input_size) == (full.network, full.name, full.input_size)
    np.testing.assert_array_equal(some.predict(x), full.predict(x)[:, [1, 3]])
    np.testing.assert_array_equal(some.logits(tf.constant(x)), full.logits(tf.constant(x)).numpy()[:, [1, 3]])
    assert some.predict(x[:0]).shape == (0, 2)
    np.testing.assert_array_equal(full.restricted_to(SPACE).predict(x), full.predict(x))


def test_a_restricted_models_gradient_is_that_of_its_logits(model: Model) -> None:
    full, x = replace(model, label_space=SPACE), images(3, 9, 7)
    ours = gradient(full.restricted_to((999, 207)).logits, x)
    np.testing.assert_array_equal(ours, gradient(lambda x: tf.gather(full.logits(x), [0, 2], axis=1), x))
    # On images of the network's own size also by hand: 255/255 times 2 K[:, 0] - 3 K[:, 2].
    kernel = model.network.get_weights()[0]
    expected = (2 * kernel[:, 0] - 3 * kernel[:, 2]).reshape(1, 6, 5, 3)
    ours = gradient(full.restricted_to((999, 207)).logits, images(1, 6, 5))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_restricted_model_can_be_restricted_further(model: Model) -> None:
    full, x = replace(model, label_space=SPACE), images(2, 6, 5)
    some = full.restricted_to((3, 999, 0)).restricted_to((0, 999))
    assert some.label_space == (999, 0)
    np.testing.assert_array_equal(some.predict(x), full.predict(x)[:, [2, 3]])


def test_a_changed_copy_compiles_anew(model: Model) -> None:
    x = images(2, 6, 5)
    before = model.predict(x)
    changed = replace(model, preprocessing=Preprocessing(std=(127.5,) * 3)).predict(x)
    bias = model.network.get_weights()[1]
    np.testing.assert_allclose(changed - bias, 2 * (before - bias), atol=1e-5)


@pytest.mark.parametrize(
    ("space", "classes", "message"),
    [
        (None, (0, 3), "give its label_space"),
        (SPACE, (0,), "1 of its classes; give two"),
        (SPACE, (), "0 of its classes; give two"),
        (SPACE, (0, 0), "1 of its classes; give two"),
        (SPACE, (0, 3, 5), r"ImageNet class 5: it has no such class"),
        (SPACE, (7, 0, 3, 5, 1000), r"ImageNet class 5 \(and 2 more\): it has no such class"),
    ],
)
def test_invalid_restrictions_of_classes_are_refused(
    model: Model, space: LabelSpace | None, classes: LabelSpace, message: str
) -> None:
    with pytest.raises(ArtattackError, match=f"'dense' cannot be restricted to.*{message}"):
        replace(model, label_space=space).restricted_to(classes)


def test_a_binarized_network_that_is_gone_leaves_no_gradient_functions() -> None:
    """TensorFlow would keep those of each larq quantizer for good, and with them the network's weights."""
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    load_model("quicknet_tiny")  # imports larq, which registers its own
    before = set(registered)
    model = load_model("quicknet_tiny", weights="random", input_size=32)
    model.predict(np.zeros((1, 32, 32, 3), np.float32))
    assert set(registered) == before
    with tf.GradientTape() as tape:  # its gradient stays there all the same
        x = tf.constant(np.full((1, 32, 32, 3), 0.5, np.float32))
        tape.watch(x)
        loss = tf.reduce_sum(model.logits(x) ** 2)
    assert np.abs(tape.gradient(loss, x)).max() > 0
