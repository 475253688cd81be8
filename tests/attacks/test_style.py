"""The style attack: ART's contract, what it minimises, and that every option counts."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from art.attacks import EvasionAttack
from art.estimators.classification import TensorFlowV2Classifier

from artattack.attacks.objective import Objective, Targets, total_variation
from artattack.attacks.style import StyleTransferAttack
from artattack.config import StyleOptions
from artattack.errors import ArtattackError
from artattack.models.estimator import to_estimator
from artattack.models.model import Model

SIZE = 24  # of the images in conftest.py


def attack(model: Model, stripes: np.ndarray, **options: Any) -> StyleTransferAttack:
    return StyleTransferAttack(to_estimator(model), styles=stripes, **({"steps": 8} | options))


def losses(model: Model, x: np.ndarray, style: np.ndarray, original: np.ndarray) -> Any:
    objective = Objective(model, StyleOptions())
    targets = Targets(
        objective.style_targets(tf.constant(style[None])), objective.content_targets(tf.constant(original))
    )
    return objective(tf.constant(x), targets)


def test_is_an_art_attack(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    subject = attack(model, stripes)
    assert isinstance(subject, EvasionAttack)
    out = subject.generate(images, y=np.zeros(3, int))
    assert out.shape == images.shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert set(StyleOptions.model_fields) <= set(subject.attack_params)


def test_set_params_takes_effect_and_refuses_strangers(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    subject = attack(model, stripes)
    before = subject.generate(images)
    subject.set_params(steps=2)
    np.testing.assert_array_equal(subject.generate(images), attack(model, stripes, steps=2).generate(images))
    assert (subject.generate(images) != before).any()
    with pytest.raises(ValueError, match="cannot be set"):
        subject.set_params(stepz=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"tv_weight": "much"}, "tv_weight"),
        ({"stepz": 3}, "did you mean 'steps'"),
        ({"style_layers": ("binary:7",)}, "binarized convolutions"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_options_are_named(model: Model, stripes: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        attack(model, stripes, **options)


def test_style_comes_nearer(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    out = attack(model, stripes, steps=30, content_weight=0.0, tv_weight=0.0).generate(images)
    before, after = losses(model, images, stripes, images).style, losses(model, out, stripes, images).style
    assert (after.numpy() < 0.5 * before.numpy()).all()


def test_returns_the_iterate_of_least_loss(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    options = {
        "learning_rate": 0.5,
        "content_weight": 1.0,
        "tv_weight": 0.0,
    }  # steps so long that the last is not best
    totals = []
    for steps in range(1, 7):
        out = attack(model, stripes, steps=steps, **options).generate(images)
        terms = losses(model, out, stripes, images)
        totals.append((terms.style + terms.content).numpy())
    assert (np.diff(totals, axis=0) <= 1e-6).all()
    start = losses(model, images, stripes, images)
    assert (totals[-1] <= (start.style + start.content).numpy() + 1e-6).all()


def test_first_step_is_adams_by_hand(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    # Adam's first step is learning_rate * g / (|g| + tiny), whatever the gradient's size.
    x = tf.constant(images)
    objective = Objective(model, StyleOptions())
    targets = Targets(objective.style_targets(tf.constant(stripes[None])), objective.content_targets(x))
    with tf.GradientTape() as tape:
        tape.watch(x)
        terms = objective(x, targets)
        total = terms.style + 0.5 * terms.content + 0.25 * total_variation(x)
    gradient = tape.gradient(total, x).numpy()
    expected = np.clip(images - 0.01 * np.sign(gradient), 0, 1)
    out = attack(model, stripes, steps=1, learning_rate=0.01, content_weight=0.5, tv_weight=0.25).generate(images)
    clear = np.abs(gradient) > 1e-4
    assert clear.mean() > 0.5
    np.testing.assert_allclose(out[clear], expected[clear], atol=2e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"style_layers": ("stem",)},
        {"content_layers": ("binary:0",), "steps": 12},
        {"style_weight": 0.2},
        {"content_weight": 0.0},
        {"tv_weight": 5.0},
        {"steps": 20},
        {"learning_rate": 0.1},
    ],
)
def test_every_option_counts(model: Model, images: np.ndarray, stripes: np.ndarray, options: dict[str, Any]) -> None:
    plain = {"steps": options.get("steps", 8)} if "content_layers" in options else {}
    changed = np.abs(
        attack(model, stripes, **options).generate(images) - attack(model, stripes, **plain).generate(images)
    )
    assert changed.max() > 1e-3


def test_total_variation_weight_smooths(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    rough, smooth = (
        total_variation(tf.constant(attack(model, stripes, tv_weight=w, steps=20).generate(images))) for w in (0.0, 3.0)
    )
    assert (smooth.numpy() < 0.8 * rough.numpy()).all()


def test_images_do_not_depend_on_their_batch(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    together = attack(model, stripes).generate(images)
    alone = np.concatenate([attack(model, stripes, batch_size=1).generate(images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_two_runs_are_identical(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    np.testing.assert_array_equal(attack(model, stripes).generate(images), attack(model, stripes).generate(images))


def test_one_trace_per_shape(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    subject = attack(model, stripes, batch_size=2)
    subject.generate(images)  # batches of two and of one
    subject.generate(images[:1])
    assert subject._descents[SIZE, SIZE]._advance.experimental_get_tracing_count() == 1


def test_blend_lies_between_its_styles(model: Model, images: np.ndarray, stripes: np.ndarray) -> None:
    other = stripes.transpose(1, 0, 2).copy()
    blend = StyleTransferAttack(to_estimator(model), styles=[stripes, other], steps=30, content_weight=0, tv_weight=0)
    alone = StyleTransferAttack(to_estimator(model), styles=stripes, steps=30, content_weight=0, tv_weight=0)
    far = losses(model, alone.generate(images), other, images).style.numpy()
    assert (losses(model, blend.generate(images), other, images).style.numpy() < far).all()


def test_styles_by_name_are_blended_by_plus(model: Model, images: np.ndarray) -> None:
    out = [
        StyleTransferAttack(to_estimator(model), styles=styles, steps=3).generate(images)
        for styles in ("waves+marble", ["waves", "marble"], "waves")
    ]
    np.testing.assert_array_equal(out[0], out[1])
    assert (out[0] != out[2]).any()


def test_works_with_a_stock_art_classifier_in_its_own_units(
    model: Model, images: np.ndarray, stripes: np.ndarray
) -> None:
    stock = TensorFlowV2Classifier(
        model.network,
        nb_classes=5,
        input_shape=(SIZE, SIZE, 3),
        clip_values=(0, 255),
        preprocessing=(127.5, 127.5),
    )
    options = {"style_layers": model.style_layers, "content_layers": model.content_layers, "steps": 8}
    out = StyleTransferAttack(stock, styles=stripes, **options).generate(255 * images)
    expected = attack(model, stripes).generate(images)
    np.testing.assert_allclose(out / 255, expected, atol=1e-3)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8)), np.full((1, SIZE, SIZE, 3), 2.0), np.full((1, SIZE, SIZE, 3), np.nan)]
)
def test_bad_images_are_refused(model: Model, stripes: np.ndarray, bad: np.ndarray) -> None:
    with pytest.raises(ArtattackError, match="images"):
        attack(model, stripes).generate(bad)


def test_no_images_no_work(model: Model, stripes: np.ndarray) -> None:
    assert attack(model, stripes).generate(np.zeros((0, SIZE, SIZE, 3), np.float32)).shape == (
        0,
        SIZE,
        SIZE,
        3,
    )


def test_works_at_other_sizes_than_the_classifiers_own(model: Model) -> None:
    x = np.random.default_rng(0).random((1, 40, 32, 3)).astype(np.float32)
    out = StyleTransferAttack(to_estimator(model), styles=np.ones((40, 32, 3), np.float32), steps=2).generate(x)
    assert out.shape == x.shape
