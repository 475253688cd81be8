"""The style attack: ART's contract, its objective, and its order of images and styles."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from art.attacks import EvasionAttack
from art.estimators.classification import TensorFlowV2Classifier

from artattack.attacks.objective import Losses, Objective, Targets, total_variation
from artattack.attacks.options import StyleOptions
from artattack.attacks.style import StyleTransferAttack
from artattack.distances import l2
from artattack.errors import ArtattackError
from artattack.models.estimator import ArtEstimator
from artattack.models.model import Model

pytestmark = pytest.mark.slow

Paint = Callable[..., np.ndarray]
Plain = dict[str, Any]
Attack = Callable[..., StyleTransferAttack]
SIZE = 24  # of the images in conftest.py


def losses(model: Model, x: np.ndarray, style: np.ndarray, original: np.ndarray) -> Losses:
    objective = Objective(model, StyleOptions())
    targets = Targets(
        objective.style_targets(tf.constant(style[None])), objective.content_targets(tf.constant(original))
    )
    return objective(tf.constant(x), targets)


def test_is_an_art_attack(attack: Attack, images: np.ndarray) -> None:
    subject = attack()
    assert isinstance(subject, EvasionAttack)
    out = subject.generate(images, y=np.zeros(3, int))
    assert out.shape == images.shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert set(StyleOptions.model_fields) <= set(subject.attack_params)


def test_set_params_takes_effect_and_refuses_strangers(
    estimator: ArtEstimator, images: np.ndarray, stripes: np.ndarray, paint: Paint, plain: Plain
) -> None:
    subject = StyleTransferAttack(estimator, styles=stripes, steps=8, **plain)
    subject.set_params(steps=2)
    np.testing.assert_array_equal(subject.generate(images), paint(steps=2))
    assert (paint(steps=2) != paint()).any()
    with pytest.raises(ValueError, match="cannot be set"):
        subject.set_params(stepz=3)


def test_style_comes_nearer(model: Model, images: np.ndarray, stripes: np.ndarray, paint: Paint) -> None:
    out = paint(steps=30, content_weight=0.0, tv_weight=0.0)
    before, after = losses(model, images, stripes, images).style, losses(model, out, stripes, images).style
    assert (after.numpy() < 0.5 * before.numpy()).all()


def test_returns_the_iterate_of_least_loss(model: Model, images: np.ndarray, stripes: np.ndarray, paint: Paint) -> None:
    def total(x: np.ndarray) -> np.ndarray:
        terms = losses(model, x, stripes, images)
        return (terms.style + terms.content).numpy()  # type: ignore[no-any-return]

    # Steps so long that the last iterate is not the best.
    totals = [total(images), *(total(paint(steps=n, learning_rate=0.5, tv_weight=0.0)) for n in (1, 3, 5))]
    assert (np.diff(totals, axis=0) <= 1e-6).all()


def test_first_step_is_adams_by_hand(model: Model, images: np.ndarray, stripes: np.ndarray, paint: Paint) -> None:
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
    out = paint(steps=1, learning_rate=0.01, content_weight=0.5, tv_weight=0.25)
    clear = np.abs(gradient) > 1e-4
    assert clear.mean() > 0.5
    np.testing.assert_allclose(out[clear], expected[clear], atol=2e-4)


def test_images_do_not_depend_on_their_batch(attack: Attack, images: np.ndarray, paint: Paint) -> None:
    np.testing.assert_allclose(paint(batch_size=1), paint(), atol=1e-4)
    np.testing.assert_allclose(attack().generate(images[1:2]), paint()[1:2], atol=1e-4)


def test_two_runs_are_identical(
    estimator: ArtEstimator,
    images: np.ndarray,
    stripes: np.ndarray,
    attack: Attack,
    paint: Paint,
    plain: Plain,
) -> None:
    again = StyleTransferAttack(estimator, styles=stripes, steps=8, **plain).generate(images)
    np.testing.assert_array_equal(again, paint())
    np.testing.assert_array_equal(attack().generate(images), paint())


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes for which losses were traced, or computed eagerly, in order."""
    seen = []
    losses = Objective.__call__

    def call(self: Objective, x: tf.Tensor, *rest: Any) -> Losses:
        seen.append(tuple(x.shape[1:3]))
        return losses(self, x, *rest)

    monkeypatch.setattr(Objective, "__call__", call)
    return seen


def test_one_trace_per_size(
    estimator: ArtEstimator,
    images: np.ndarray,
    stripes: np.ndarray,
    traces: list[tuple[int, ...]],
    plain: Plain,
) -> None:
    subject = StyleTransferAttack(estimator, styles=stripes, steps=1, batch_size=2, **plain)
    subject.generate(images)  # batches of two and of one
    subject.generate(images[:1])
    assert traces == [(SIZE, SIZE)]


def test_blend_lies_between_its_styles(
    model: Model, estimator: ArtEstimator, images: np.ndarray, stripes: np.ndarray, paint: Paint, plain: Plain
) -> None:
    options = {"steps": 30, "content_weight": 0.0, "tv_weight": 0.0}
    other = stripes.transpose(1, 0, 2).copy()
    blend = StyleTransferAttack(estimator, styles=[stripes, other], **plain | options).generate(images)
    far = losses(model, paint(**options), other, images).style.numpy()
    assert (losses(model, blend, other, images).style.numpy() < far).all()


def test_styles_in_turn(
    attack: Attack, estimator: ArtEstimator, images: np.ndarray, stripes: np.ndarray, plain: Plain
) -> None:
    other = stripes.transpose(1, 0, 2).copy()
    out = StyleTransferAttack(estimator, styles=[stripes, other], blend=False, steps=8, **plain).generate(images)
    alone = StyleTransferAttack(estimator, styles=other, steps=8, **plain).generate(images[1:2])
    np.testing.assert_allclose(out[::2], attack().generate(images[::2]), atol=1e-4)
    np.testing.assert_allclose(out[1:2], alone, atol=1e-4)


def test_styles_by_name_are_blended_by_plus(paint: Paint) -> None:
    out = [paint(styles=styles, steps=3) for styles in ("waves+marble", ("waves", "marble"), "waves")]
    np.testing.assert_array_equal(out[0], out[1])
    assert (out[0] != out[2]).any()


def test_works_with_a_stock_art_classifier_in_its_own_units(
    model: Model, images: np.ndarray, stripes: np.ndarray, paint: Paint, plain: Plain
) -> None:
    stock = TensorFlowV2Classifier(
        model.network,
        nb_classes=5,
        input_shape=(SIZE, SIZE, 3),
        clip_values=(0, 255),
        preprocessing=(127.5, 127.5),
    )
    layers = {"style_layers": model.style_layers, "content_layers": model.content_layers}
    out = StyleTransferAttack(stock, styles=stripes, steps=8, **layers, **plain).generate(255 * images)
    np.testing.assert_allclose(out / 255, paint(), atol=1e-3)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8)), np.full((1, SIZE, SIZE, 3), 2.0), np.full((1, SIZE, SIZE, 3), np.nan)]
)
def test_bad_images_are_refused(attack: Attack, bad: np.ndarray) -> None:
    with pytest.raises(ArtattackError, match="images"):
        attack().generate(bad)


def test_images_a_rounding_error_outside_are_brought_inside(attack: Attack, images: np.ndarray) -> None:
    # A ball around -5e-5 would reach outside the clip values.
    out = attack(budget="l2=0.7").generate(np.where(images < 0.5, np.float32(-5e-5), images))
    assert out.min() >= 0


def test_no_images_no_work(attack: Attack) -> None:
    assert attack().generate(np.zeros((0, SIZE, SIZE, 3), np.float32)).shape == (0, SIZE, SIZE, 3)


def test_works_at_other_sizes_than_the_classifiers_own(estimator: ArtEstimator) -> None:
    x: Any = np.random.default_rng(0).random((1, 40, 32, 3)).astype(np.float32)
    out = StyleTransferAttack(estimator, styles=np.ones((40, 32, 3), np.float32), steps=2).generate(x)
    assert out.shape == x.shape


def test_the_last_iterate_is_kept_where_it_is_asked_for(
    attack: Callable[..., StyleTransferAttack], images: np.ndarray
) -> None:
    # Content alone is least at the original, which a first step of any length leaves where there is another loss.
    options = {"style_weight": 1e-3, "tv_weight": 0.0, "steps": 3}
    best, last = (attack(keep=keep, **options).generate(images) for keep in ("best", "last"))
    np.testing.assert_array_equal(best, images)
    assert (l2(images, last) > 0.3).all()
    with pytest.raises(ArtattackError, match="keep: best or last, not 'first'"):
        attack(keep="first")
