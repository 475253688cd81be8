"""Losses and decisions of guides, with logits worked out by hand."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.attacks.guidance import Guidance, margin, rounded
from artattack.attacks.options import StyleOptions
from artattack.attacks.transforms import bsr, di, eot, ssm
from artattack.errors import ArtattackError
from artattack.inputs.images import quantize
from artattack.models.model import Model, Preprocessing

RNG = np.random.default_rng(0)
SEED = tf.constant([3, 4])


def guide(slope: float = 10.0) -> Model:
    """A classifier whose logits are `slope` times the mean red, green and blue."""
    image = tf_keras.Input((4, 4, 3))
    mean = tf_keras.layers.GlobalAveragePooling2D()(image)
    network = tf_keras.Model(image, tf_keras.layers.Dense(3, use_bias=False, name="logits")(mean))
    network.get_layer("logits").set_weights([slope * np.eye(3, dtype=np.float32)])
    return Model("mean", "file", "", False, network, (4, 4), Preprocessing(), (0, 207, 440), (), ())


def plain(*colours: tuple[float, float, float]) -> np.ndarray:
    return np.array(colours, np.float32)[:, None, None] * np.ones((1, 4, 4, 1), np.float32)


# Logits (6, 4, 2) and (2, 6, 4); the originals' are (8, 0, 0), which is class 0.
IMAGES = plain((0.6, 0.4, 0.2), (0.2, 0.6, 0.4))
ORIGINALS = plain((0.8, 0.0, 0.0), (0.8, 0.0, 0.0))


def loss(*models: Model, x: np.ndarray = IMAGES, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """By default of the images themselves, and with a margin of 1."""
    subject = Guidance(models or [guide()], StyleOptions(**{"views": 0, "confidence": 1.0} | options))
    originals = ORIGINALS[: len(x)]
    values, fooled = subject.loss(tf.constant(x), tf.constant(originals), subject.references(originals), SEED)
    return values.numpy(), fooled.numpy()


def cross_entropy(logits: np.ndarray, output: int) -> np.ndarray:
    return np.log(np.exp(logits).sum(1)) - logits[:, output]  # type: ignore[no-any-return]


def test_margin_by_hand() -> None:
    logits = tf.constant([[3.0, 1.0, -1.0], [0.0, 2.0, 5.0]])
    np.testing.assert_allclose(margin(logits, tf.constant([0, 1])), [2.0, -3.0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [3.0, 0.0]),  # class 0 leads by 2 and lags by 4; content at a lag of 1
        ({"confidence": 0.0}, [2.0, 0.0]),
        ({"confidence": 5.0}, [7.0, 1.0]),
        ({"temperature": 4.0}, [1.5, 0.0]),
        ({"target": "440"}, [5.0, 3.0]),  # class 440, the last, lags by 4 and by 2
        ({"target": "golden retriever", "confidence": 3.0}, [5.0, 1.0]),  # class 207, the second, lags by 2, leads by 2
    ],
)
def test_margin_loss_by_hand(options: dict[str, Any], expected: list[float]) -> None:
    np.testing.assert_allclose(loss(**options)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("target", "output", "sign"), [(None, 0, -1), ("440", 2, 1)])
@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_cross_entropy_loss_against_numpy(target: str | None, output: int, sign: int, temperature: float) -> None:
    logits = np.array([[6.0, 4.0, 2.0], [2.0, 6.0, 4.0]]) / temperature
    values, _ = loss(guide_loss="cross-entropy", target=target, temperature=temperature)
    np.testing.assert_allclose(values, sign * cross_entropy(logits, output), rtol=1e-4)


@pytest.mark.parametrize(("target", "output", "sign"), [(None, 0, -1), ("440", 2, 1)])
@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_relativistic_loss_against_numpy(target: str | None, output: int, sign: int, temperature: float) -> None:
    moved = np.array([[-2.0, 4.0, 2.0], [-6.0, 6.0, 4.0]]) / temperature  # less the originals' logits, (8, 0, 0)
    values, _ = loss(guide_loss="relativistic", target=target, temperature=temperature)
    np.testing.assert_allclose(values, sign * cross_entropy(moved, output), rtol=1e-4)


def test_relativistic_loss_sees_originals_through_the_same_views() -> None:
    moved, over = np.array([[-2.0, 4.0, 2.0], [-6.0, 6.0, 4.0]]), 2.0 ** np.arange(5)  # of `si`
    values, _ = loss(guide_loss="relativistic", views=5, transforms=("si",))
    np.testing.assert_allclose(values, np.mean([-cross_entropy(moved / by, 0) for by in over], 0), rtol=1e-4)


def test_relativistic_gradient_does_not_vanish_where_the_guide_is_sure() -> None:
    # Of cross-entropy, the gradient is the slope times the other classes' share, here exp(-80).
    sure = tf.constant(plain((0.8, 0.0, 0.0)))
    for guide_loss, expected in (("cross-entropy", 0.0), ("relativistic", 100 * 2 / 3 / 16)):
        subject = Guidance([guide(100.0)], StyleOptions(guide_loss=guide_loss, views=0))
        with tf.GradientTape() as tape:
            tape.watch(sure)
            values, _ = subject.loss(sure, sure, [tf.constant([0])], SEED)
        np.testing.assert_allclose(tape.gradient(values, sure)[0, 0, 0, 0], expected, rtol=1e-4, atol=1e-8)


def looking(colours: np.ndarray) -> Model:
    """A classifier whose layer `middle` mixes the colours of each pixel, (3, 2), before the mean over pixels."""
    image = tf_keras.Input((4, 4, 3))
    middle = tf_keras.layers.Conv2D(2, 1, use_bias=False, name="middle")
    logits = tf_keras.layers.Dense(3, use_bias=False)(tf_keras.layers.GlobalAveragePooling2D()(middle(image)))
    middle.set_weights([colours[None, None].astype(np.float32)])
    network = tf_keras.Model(image, logits)
    return Model("mix", "file", "", False, network, (4, 4), Preprocessing(), (0, 207, 440), (), ("middle",))


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (y.reshape(len(y), -1) for y in (a, b))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)  # type: ignore[no-any-return]


def test_feature_loss_is_the_cosine_similarity_with_the_original_and_its_gradient_that_of_the_formula() -> None:
    x, originals = (quantize(RNG.random((2, 4, 4, 3)).astype(np.float32)) for _ in range(2))
    mix = RNG.normal(size=(3, 2))
    subject = Guidance([looking(mix)], StyleOptions(guide_loss="features", views=0))
    with tf.GradientTape() as tape:
        tape.watch(images := tf.constant(x))
        values, fooled = subject.loss(images, tf.constant(originals), [tf.constant([0, 0])], SEED)
    ours, theirs = x @ mix, originals @ mix
    np.testing.assert_allclose(values, cosine(ours, theirs), rtol=1e-5)
    assert fooled.dtype == tf.bool
    norms = [np.linalg.norm(f.reshape(2, -1), axis=1)[:, None, None, None] for f in (ours, theirs)]
    slope = theirs / norms[0] / norms[1] - values.numpy()[:, None, None, None] * ours / norms[0] ** 2
    np.testing.assert_allclose(tape.gradient(values, images), slope @ mix.T, rtol=1e-3, atol=1e-6)


def test_feature_loss_reads_named_layers_of_each_guide_through_the_same_views() -> None:
    x, originals = (quantize(RNG.random((2, 4, 4, 3)).astype(np.float32)) for _ in range(2))
    guides = [looking(mix) for mix in (np.eye(3, 2), RNG.normal(size=(3, 2)))]
    options = StyleOptions(guide_loss="features", guide_layers=("conv:0",), views=2, transforms=("ssm",))
    values, _ = Guidance(guides, options).loss(tf.constant(x), tf.constant(originals), [tf.constant([0, 0])] * 2, SEED)
    expected = []
    for view in range(2):
        seen = [ssm(tf.constant(y), SEED + tf.constant([view, 0])).numpy() for y in (x, originals)]
        for model in guides:
            (mix,) = (layer.get_weights()[0][0, 0] for layer in model.network.layers if layer.name == "middle")
            expected.append(cosine(*(y @ mix for y in seen)))
    np.testing.assert_allclose(values, np.mean(expected, 0), rtol=1e-5)


def test_feature_loss_of_a_guide_without_layers_is_refused() -> None:
    with pytest.raises(ArtattackError, match="guide_loss features: 'mean' is no TensorFlow network with known layers"):
        Guidance([guide()], StyleOptions(guide_loss="features"))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("guide_loss", ["margin", "cross-entropy", "relativistic"])
def test_decisions_are_those_of_the_logits_for_every_loss(temperature: float, guide_loss: str) -> None:
    options = {"temperature": temperature, "guide_loss": guide_loss}
    np.testing.assert_array_equal(loss(**options)[1], [False, True])  # away from class 0
    np.testing.assert_array_equal(loss(target="207", **options)[1], [False, True])
    np.testing.assert_array_equal(loss(target="0", **options)[1], [True, False])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradients_go_through_the_temperature_and_the_rounding(temperature: float) -> None:
    subject = Guidance([guide()], StyleOptions(temperature=temperature, confidence=0.5, views=0))
    x = tf.constant(IMAGES + np.float32(0.001))
    with tf.GradientTape() as tape:
        tape.watch(x)
        values, _ = subject.loss(x, tf.constant(ORIGINALS), subject.references(ORIGINALS), SEED)
    # Red less green, each a mean of 16 pixels; the second image is content.
    expected = np.array([[10.0, -10.0, 0.0], [0.0, 0.0, 0.0]]) / 16 / temperature
    np.testing.assert_allclose(tape.gradient(values, x), expected[:, None, None] * np.ones((1, 4, 4, 1)), rtol=1e-5)


def test_several_guides_are_averaged_and_fooled_only_together() -> None:
    # The second guide sees (-6, -4, -2) and (-2, -6, -4); in the originals (-8, 0, 0), which is class 1, the first
    # of two alike. That lags by 2 in the first image and by 4 in the second.
    values, fooled = loss(guide(), guide(-10.0))
    np.testing.assert_allclose(values, [1.5, 0.0], atol=1e-5)
    np.testing.assert_array_equal(loss(guide(-10.0))[1], [True, True])
    np.testing.assert_array_equal(fooled, [False, True])


def test_guides_see_images_as_a_png_holds_them() -> None:
    # Class 0 leads by less than half an 8-bit step; rounding turns that into a whole step or none.
    lead = np.float32(0.4 / 255)
    same, other = plain((0.6 + lead, 0.6, 0.0)), plain((0.6, 0.6 - 2 * lead, 0.0))
    np.testing.assert_allclose(loss(x=same, confidence=0.0)[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(loss(x=other, confidence=0.0)[0], 10 / 255, rtol=1e-3)
    views = {"views": 2, "confidence": 9.0}
    np.testing.assert_array_equal(loss(x=same, **views)[0], loss(x=plain((0.6, 0.6, 0.0)), **views)[0])


def test_rounding_is_that_of_a_png_to_the_bit_and_lets_gradients_pass() -> None:
    x = np.concatenate([RNG.random(10_000), np.arange(256) / 255, [np.nan]]).astype(np.float32)
    expected = np.append(quantize(x[:-1]), np.float32(0))
    np.testing.assert_array_equal(tf.function(rounded)(tf.constant(x)), expected)
    with tf.GradientTape() as tape:
        tape.watch(values := tf.constant(x))
        y = tf.reduce_sum(rounded(values) * tf.range(float(len(x))))
    np.testing.assert_array_equal(tape.gradient(y, values), np.arange(len(x)))


def test_the_loss_is_the_mean_over_views_and_early_stopping_asks_about_the_image_itself() -> None:
    x = quantize(RNG.random((2, 4, 4, 3)).astype(np.float32))
    model = guide()
    lost = []
    for view in range(3):
        seen = eot(tf.constant(x), SEED + tf.constant([view, 0]))
        lost.append(np.maximum(0, margin(model.logits(seen), tf.constant([0, 0])).numpy() + 9))
    of_eot = {"x": x, "views": 3, "transforms": ("eot",), "confidence": 9.0}
    for early_stop, expected in ((False, [False, False]), (True, loss(model, x=x)[1])):
        values, fooled = loss(model, early_stop=early_stop, **of_eot)
        np.testing.assert_allclose(values, np.mean(lost, 0), rtol=1e-5)
        np.testing.assert_array_equal(fooled, expected)
    assert np.abs(values - loss(model, x=x, confidence=9.0)[0]).max() > 0.01


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_views_equal_the_transforms_by_hand(temperature: float) -> None:
    # Five views in turn are the images over 1, 2, 4, 8 and 16; class 0 leads by 2 and lags by 4, over as much.
    over = 2.0 ** np.arange(5) * temperature
    expected = [np.maximum(0, 2 / over + 1).mean(), np.maximum(0, -4 / over + 1).mean()]
    values, fooled = loss(views=5, transforms=("si",), temperature=temperature, early_stop=True)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_array_equal(fooled, [False, True])


def test_transforms_follow_one_another_in_their_order() -> None:
    x = quantize(RNG.random((2, 4, 4, 3)).astype(np.float32))
    model, second = guide(), SEED + tf.constant([2**24, 0])
    for names, seen in (
        (("bsr", "di"), di(bsr(tf.constant(x), SEED), second)),
        (("di", "bsr"), bsr(di(tf.constant(x), SEED), second)),
    ):
        expected = np.maximum(0, margin(model.logits(seen), tf.constant([0, 0])).numpy() + 9)
        np.testing.assert_allclose(loss(model, x=x, views=1, transforms=names, confidence=9.0)[0], expected, rtol=1e-5)


def test_several_guides_see_the_same_views() -> None:
    x = quantize(RNG.random((2, 4, 4, 3)).astype(np.float32))
    guides = [guide(), guide(-10.0)]
    lost = []
    for model in guides:
        outputs = tf.constant(model.predict(ORIGINALS).argmax(1), tf.int32)
        for view in range(2):
            seen = ssm(tf.constant(x), SEED + tf.constant([view, 0]))
            lost.append(np.maximum(0, margin(model.logits(seen), outputs).numpy() + 9))
    values = loss(*guides, x=x, views=2, transforms=("ssm",), confidence=9.0)[0]
    np.testing.assert_allclose(values, np.mean(lost, 0), rtol=1e-5)


def test_target_that_a_guide_does_not_know() -> None:
    with pytest.raises(ArtattackError, match="guide 'mean' does not know the target class 'goldfish'"):
        Guidance([guide()], StyleOptions(target="goldfish"))


def test_transferring_attacks_use_di_and_a_margin_of_30_and_early_stopping_ones_do_not() -> None:
    x = quantize(RNG.random((2, 4, 4, 3)).astype(np.float32))
    given = tf.constant(x), tf.constant(ORIGINALS), [tf.constant([0, 0])], SEED
    by_default = Guidance([guide()], StyleOptions()).loss(*given)[0]
    explicit = {"views": 1, "transforms": ("di",), "confidence": 30.0}
    np.testing.assert_array_equal(by_default, loss(x=x, **explicit)[0])
    stopping = Guidance([guide()], StyleOptions(early_stop=True)).loss(*given)[0]
    np.testing.assert_array_equal(stopping, loss(x=x, views=0, confidence=1.0)[0])
