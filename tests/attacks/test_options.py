"""Options of the style attack: each has an effect, the documented one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from artattack.attacks.objective import total_variation
from artattack.attacks.options import StyleOptions
from artattack.attacks.style import StyleTransferAttack
from artattack.distances import DISTANCES, l2, linf
from artattack.errors import ArtattackError
from artattack.inputs.images import quantize
from artattack.models.estimator import ArtEstimator, to_estimator
from artattack.models.model import Model

pytestmark = pytest.mark.slow

Paint = Callable[..., np.ndarray]
Attack = Callable[..., StyleTransferAttack]
SIZE = 24  # of the images in conftest.py
CONTENT_ONLY = {"style_weight": 0.0, "tv_weight": 0.0}
STYLE_ONLY = {"content_weight": 0.0, "tv_weight": 0.0}


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({"style_layers": ("stem",)}, {}),
        ({"style_layer_weights": (1, 5)}, {}),
        ({"content_layers": ("binary:0",)}, {}),
        ({"style_weight": 0.2}, {}),
        ({"content_weight": 0.0}, {}),
        ({"steps": 20}, {}),
        ({"learning_rate": 0.1}, {}),
        ({"statistics": "mean-variance"}, {}),
        ({"statistics": "histogram"}, {}),
        ({"pooling": "average"}, {}),
        ({"parametrization": "fourier"}, {}),
        ({"parametrization": "fourier", "spectrum_decay": 1.5}, {"parametrization": "fourier"}),
        (
            {"parametrization": "fourier", "budget": "l2=3", "spectrum_decay": 1},
            {"parametrization": "fourier", "budget": "l2=3"},
        ),
        ({"style_mean": "arithmetic"}, {}),
        ({"init": "style", "budget": "l2=2"}, {"init": "content", "budget": "l2=2"}),
        ({"surrogate": "tanh:0.3"} | STYLE_ONLY, STYLE_ONLY),
    ],
    ids=lambda options: next(iter(options), ""),
)
def test_option_counts(paint: Paint, options: dict[str, Any], plain: dict[str, Any]) -> None:
    assert np.abs(paint(**options) - paint(**plain)).max() > 1e-3


# ---- what is minimised


def test_content_alone_is_there_from_the_start(images: np.ndarray, paint: Paint) -> None:
    np.testing.assert_array_equal(paint(**CONTENT_ONLY), images)


def test_content_layers_do_not_matter_to_style_alone(paint: Paint) -> None:
    np.testing.assert_allclose(paint(content_layers=("binary:0",), **STYLE_ONLY), paint(**STYLE_ONLY), atol=1e-5)


def test_total_variation_weight_smooths(paint: Paint) -> None:
    rough, smooth = (total_variation(tf.constant(paint(tv_weight=w, steps=20))) for w in (0.0, 3.0))
    assert (smooth.numpy() < 0.8 * rough.numpy()).all()


def test_jitter_shifts_images_and_content_alike(images: np.ndarray, paint: Paint) -> None:
    # So the content loss is 0 from the start, and no iterate is better.
    np.testing.assert_array_equal(paint(jitter=5, **CONTENT_ONLY), images)


def test_jitter_counts_and_follows_from_the_seed(attack: Attack, images: np.ndarray, paint: Paint) -> None:
    np.testing.assert_array_equal(attack(jitter=5).generate(images), paint(jitter=5))
    assert np.abs(paint(jitter=5, seed=2) - paint(jitter=5)).max() > 1e-3
    assert np.abs(paint(jitter=5) - paint()).max() > 1e-3


# ---- where it starts


@pytest.mark.parametrize("seed", [1, 2])
def test_starts_from_noise_that_follows_from_the_seed_and_not_from_an_images_place(paint: Paint, seed: int) -> None:
    out = paint(init="noise", seed=seed, steps=1, learning_rate=1e-9)
    expected = np.random.default_rng(seed).random((SIZE, SIZE, 3), np.float32)
    np.testing.assert_allclose(out, np.stack([expected] * 3), atol=1e-6)


def test_starts_from_an_image_file(paint: Paint, tmp_path: Path) -> None:
    values = np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "first.png")
    out = paint(init=tmp_path / "first.png", steps=1, learning_rate=1e-9)
    np.testing.assert_allclose(out, np.broadcast_to(values / 255, out.shape), atol=1e-6)


# ---- where it may go


@pytest.mark.parametrize("parametrization", ["pixel", "fourier"])
@pytest.mark.parametrize(("norm", "distance", "radius"), [("linf", linf, 8 / 255), ("l2", l2, 0.7)])
def test_budget_is_kept(
    images: np.ndarray, paint: Paint, parametrization: str, norm: str, distance: Any, radius: float
) -> None:
    options = {} if parametrization == "pixel" else {"parametrization": parametrization}
    out = paint(budget=f"{norm}={radius:g}", **options)
    assert (distance(images, out) <= radius + 1e-4).all()
    assert (distance(images, out) > 0.3 * radius).all()


def test_spectrum_and_steps_are_as_suits_the_budget() -> None:
    for given, decay, rate in (
        ({}, 1.5, 0.02),
        ({"budget": "none"}, 1.0, 0.03),
        ({"spectrum_decay": 0.5, "learning_rate": 0.1}, 0.5, 0.1),
        ({"spectrum_decay": 0, "budget": "none", "learning_rate": 0.02}, 0, 0.02),
    ):
        assert StyleOptions(**given).decay == decay
        assert StyleOptions(**given).rate == rate


def test_a_first_step_is_as_long_as_suits_the_budget(images: np.ndarray, paint: Paint) -> None:
    for budget, rate in (("none", 0.03), ("linf=0.5", 0.02)):
        out = paint(steps=1, budget=budget, learning_rate=None, jitter=0, init="content")
        assert np.abs(out - images).max() == pytest.approx(rate, rel=1e-2)


def test_starts_from_the_style_as_far_as_the_budget_goes(images: np.ndarray, stripes: np.ndarray, paint: Paint) -> None:
    still = {"steps": 1, "learning_rate": 1e-9, "init": "style"}
    change = stripes - images
    share = 2.0 / np.sqrt(np.square(change).sum((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(paint(budget="l2=2", **still, **STYLE_ONLY), images + share * change, atol=1e-5)
    np.testing.assert_allclose(paint(**still, **STYLE_ONLY), images, atol=1e-6)  # without a budget there is no share


def test_starts_from_several_styles_in_turn_or_from_their_mean(
    estimator: ArtEstimator, images: np.ndarray, stripes: np.ndarray, plain: dict[str, Any]
) -> None:
    still = plain | {"steps": 1, "learning_rate": 1e-9, "init": "style", "budget": "linf=1"}  # all of a style fits
    for blend, expected in ((False, [stripes, 1 - stripes, stripes]), (True, [np.full_like(stripes, 0.5)] * 3)):
        attack = StyleTransferAttack(estimator, styles=[stripes, 1 - stripes], blend=blend, keep="last", **still)
        np.testing.assert_allclose(attack.generate(images), expected, atol=1e-5)


def test_budget_and_mask_are_kept_from_the_start(images: np.ndarray, half_mask: Path, paint: Paint) -> None:
    noise = {"init": "noise", "steps": 1, "learning_rate": 1e-9}
    out = paint(budget="linf=0.05", mask=half_mask, **noise, **STYLE_ONLY)
    assert (linf(images, out) <= 0.05 + 1e-6).all()
    assert (linf(images, out) > 0.04).all()
    np.testing.assert_array_equal(out[:, :, SIZE // 2 :], images[:, :, SIZE // 2 :])


def test_nothing_changes_outside_the_mask(images: np.ndarray, half_mask: Path, paint: Paint) -> None:
    out = paint(mask=half_mask)
    np.testing.assert_array_equal(out[:, :, SIZE // 2 :], images[:, :, SIZE // 2 :])
    assert np.abs(out - images)[:, :, : SIZE // 2].max() > 0.01


def test_grey_in_a_mask_lets_half_the_change_through(images: np.ndarray, paint: Paint, tmp_path: Path) -> None:
    # The first step of Adam is as long everywhere, 0.03; then half of it passes.
    Image.new("L", (SIZE, SIZE), 128).save(tmp_path / "grey.png")
    for steps in (1, 4):
        out = paint(mask=tmp_path / "grey.png", steps=steps, **STYLE_ONLY)
        assert np.abs(out - images).max() == pytest.approx(steps * 0.03 * 128 / 255, rel=0.05)


def test_style_outside_the_style_mask_does_not_matter(
    estimator: ArtEstimator, images: np.ndarray, stripes: np.ndarray, half_mask: Path
) -> None:
    # The same image in two styles that differ on the right, from where the 3 x 3 kernels on the left do not see.
    other = stripes.copy()
    other[:, SIZE // 2 + 1 :] = 0.5
    options = {"styles": [stripes, other], "blend": False, "style_layers": ("stem",), "steps": 8, "init": "content"}
    twice = images[[0, 0]]
    left, whole = (
        StyleTransferAttack(estimator, style_mask=mask, **options).generate(twice) for mask in (half_mask, None)
    )
    np.testing.assert_allclose(left[0], left[1], atol=1e-5)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


@pytest.mark.parametrize("wanted", ["ssim=0.99", "delta_e=1.5"])
def test_match_meets_its_distance(attack: Attack, images: np.ndarray, wanted: str) -> None:
    name, _, target = wanted.partition("=")
    grid = quantize(images)
    out = attack(match=wanted, steps=20, learning_rate=0.05).generate(grid)
    np.testing.assert_allclose(DISTANCES[name](grid, out), float(target), rtol=0.02)
    np.testing.assert_array_equal(quantize(out), out)


# ---- how it gets there


def test_lbfgs_ends_lower_than_adam_in_as_many_steps(images: np.ndarray, paint: Paint) -> None:
    # The content loss alone, from noise: smooth in the float layer it is measured in.
    options = CONTENT_ONLY | {"init": "noise", "steps": 15}
    adam, lbfgs = (paint(optimizer=name, **options) for name in ("adam", "lbfgs"))
    assert (l2(images, lbfgs) < 0.5 * l2(images, adam)).all()
    assert lbfgs.min() >= 0
    assert lbfgs.max() <= 1


@pytest.mark.parametrize("parametrization", ["pixel", "fourier"])
def test_lbfgs_keeps_within_budget_and_mask(
    images: np.ndarray, half_mask: Path, paint: Paint, parametrization: str
) -> None:
    out = paint(optimizer="lbfgs", budget="linf=0.05", mask=half_mask, parametrization=parametrization)
    change = linf(images, out)
    assert (change <= 0.05 + 1e-6).all()
    assert (change > 0.02).all()
    np.testing.assert_array_equal(out[:, :, SIZE // 2 :], images[:, :, SIZE // 2 :])


def test_lbfgs_within_a_mask_alone(images: np.ndarray, half_mask: Path, paint: Paint) -> None:
    out = paint(optimizer="lbfgs", mask=half_mask)
    np.testing.assert_array_equal(out[:, :, SIZE // 2 :], images[:, :, SIZE // 2 :])
    assert (linf(images, out) > 0.02).all()


def test_bfloat16_gives_nearly_the_same_and_leaves_tensorflow_as_it_was(
    attack: Attack,
    images: np.ndarray,
    paint: Paint,
    estimator: ArtEstimator,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    optimizer, option = tf.config.optimizer, "auto_mixed_precision_onednn_bfloat16"
    before, set_options, given = optimizer.get_experimental_options(), optimizer.set_experimental_options, []
    monkeypatch.setattr(optimizer, "set_experimental_options", lambda o: (given.append(o), set_options(o)))
    out = attack(precision="bfloat16").generate(images)
    paint(precision="bfloat16", guides=(estimator,), steps=2)
    assert "bfloat16" not in capfd.readouterr().err  # on processors that have it, TensorFlow prints what it converts
    assert given[0] == {option: True}
    assert optimizer.get_experimental_options().get(option, False) == before.get(option, False)
    assert np.abs(out - paint()).mean() < 0.01
    given.clear()
    attack().generate(images)
    assert not given


# ---- guides

GUIDED = {"guide_weight": 10.0, "confidence": 0.0, "views": 0, "steps": 40}


def test_guide_is_fooled_where_style_alone_does_not_fool_it(
    model: Model, estimator: ArtEstimator, images: np.ndarray, paint: Paint
) -> None:
    near = {"budget": "linf=0.1", "learning_rate": 0.01}
    seen = model.predict(images).argmax(1)
    alone = model.predict(quantize(paint(steps=40, **near))).argmax(1)
    guided = model.predict(quantize(paint(guides=(estimator,), **GUIDED, **near))).argmax(1)
    assert (guided != seen).sum() > (alone != seen).sum()


def test_target_is_reached(model: Model, images: np.ndarray, paint: Paint) -> None:
    guide = to_estimator(replace(model, label_space=(0, 1, 2, 3, 207)))
    for output, target in ((4, "golden retriever"), (1, "1")):
        out = paint(guides=(guide,), target=target, **GUIDED)
        assert (model.predict(images).argmax(1) != output).all()
        assert (model.predict(quantize(out)).argmax(1) == output).all()


def test_early_stop_keeps_the_first_image_that_is_fooled(
    model: Model, estimator: ArtEstimator, images: np.ndarray, paint: Paint
) -> None:
    seen = model.predict(images).argmax(1)
    options = {"guides": (estimator,), **GUIDED, "confidence": 5.0}
    stopped = paint(early_stop=True, **options)
    fooled = model.predict(quantize(stopped)).argmax(1) != seen
    assert fooled.any()
    longer = paint(early_stop=True, **options | {"steps": 60})
    np.testing.assert_array_equal(longer[fooled], stopped[fooled])
    assert (l2(stopped, paint(**options)) > 0.01)[fooled].all()


def test_guides_that_stay_leave_the_iterate_of_least_loss(estimator: ArtEstimator, paint: Paint) -> None:
    # Guides with weight 0 that nothing fools: as without them. Steps are so long that the last
    # iterate is not the best, and losses differ by little.
    options = {"budget": "linf=0.01", "learning_rate": 0.01}
    idle = paint(guides=(estimator,), guide_weight=0.0, **options)
    np.testing.assert_allclose(idle, paint(**options), atol=1e-6)


def test_guides_alone_need_no_style_and_no_content(
    model: Model, estimator: ArtEstimator, images: np.ndarray, paint: Paint
) -> None:
    out = paint(guides=(estimator,), style_weight=0.0, content_weight=0.0, **GUIDED)
    assert (model.predict(quantize(out)).argmax(1) != model.predict(images).argmax(1)).all()


@pytest.mark.parametrize(
    "options",
    [
        {"guide_loss": "cross-entropy"},
        {"guide_loss": "relativistic"},
        {"guide_loss": "features"},
        {"confidence": 0.0},
        {"temperature": 3.0},
        {"views": 2},
    ],
)
def test_guide_option_counts(estimator: ArtEstimator, paint: Paint, options: dict[str, Any]) -> None:
    guided = {"guides": (estimator,), "guide_weight": 10.0, **STYLE_ONLY}
    assert np.abs(paint(**guided, **options) - paint(**guided)).max() > 1e-3


@pytest.mark.parametrize("name", ["eot", "bsr", "ssm", "si"])
def test_transforms_of_views_count(estimator: ArtEstimator, paint: Paint, name: str) -> None:
    guided = {"guides": (estimator,), "guide_weight": 10.0, "views": 2, **STYLE_ONLY}
    assert np.abs(paint(**guided, transforms=(name,)) - paint(**guided)).max() > 1e-3


def test_views_are_resized_and_padded_unless_transforms_are_named(estimator: ArtEstimator, paint: Paint) -> None:
    guided = {"guides": (estimator,), "guide_weight": 10.0, "views": 2, **STYLE_ONLY}
    np.testing.assert_array_equal(paint(**guided, transforms=("di",)), paint(**guided))


def test_lbfgs_fools_guides(model: Model, estimator: ArtEstimator, images: np.ndarray, paint: Paint) -> None:
    out = paint(guides=(estimator,), optimizer="lbfgs", **GUIDED | {"confidence": 1.0})
    assert (model.predict(quantize(out)).argmax(1) != model.predict(images).argmax(1)).all()


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"guide_layers": "conv:1"}, "guide_layers: applies to guide_loss features, but guide_loss is margin"),
        ({"guide_loss": "features", "target": "goldfish"}, "target: the loss features leads away from the original"),
        ({"guide_loss": "features", "transforms": "styless"}, "transforms: styless needs a loss of logits"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"tv_weight": "much"}, "tv_weight"),
        ({"stepz": 3}, "did you mean 'steps'"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"style_layers": ("binary:7",)}, "binarized convolutions"),
        ({"style_layer_weights": (1, 2, 3)}, "2 layers, but 3 weights"),
        ({"style_layer_weights": (0, 0)}, "not all 0"),
        ({"style_layer_weights": (3, -1)}, "from 0 on"),
        ({"surrogate": "tanhh"}, "did you mean 'tanh'"),
        ({"early_stop": True}, "no guide"),
        ({"transforms": "di"}, "transforms: applies to guides, but there is no guide"),
        ({"confidence": 30.0}, "confidence: applies to guides, but there is no guide"),
        ({"target": "tench"}, "no guide"),
        ({"views": 2}, "no guide"),
        ({"transforms": "di", "early_stop": True}, "applies to views, but `views` is 0"),
        ({"transforms": "dii", "views": 2}, "did you mean 'di'"),
        ({"style_weight": 0.0, "content_weight": 0.0}, "nothing to do"),
        ({"optimizer": "lbfgs", "jitter": 3}, "line search"),
        ({"optimizer": "lbfgs", "budget": "l2=1"}, "budget l2"),
        (
            {"budget": "ssim=0.9"},
            "ssim=0.9: no ball; give one in linf, l2, psnr, or `match: ssim=0.9`, where the attack then ends",
        ),
        ({"budget": "linf=0"}, "a finite number above 0"),
        ({"budget": "0.1"}, "is no distance"),
        ({"match": "sim=0.9"}, "did you mean 'ssim'"),
        ({"statistics": "histogram", "mask": "any.png"}, "cannot be measured in a mask"),
    ],
)
def test_invalid_options_give_one_line(attack: Attack, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message) as raised:
        attack(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tench"}, "guide 'toy' does not know the target class 'tench'"),
        ({"target": "tensh"}, "did you mean 'tench'"),
        ({"optimizer": "lbfgs", "views": 1}, "views: not with optimizer lbfgs"),
        ({"optimizer": "lbfgs", "early_stop": True}, "early_stop: not with optimizer lbfgs"),
    ],
)
def test_invalid_options_with_a_guide_give_one_line(
    attack: Attack, estimator: ArtEstimator, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtattackError, match=message):
        attack(guides=(estimator,), **options)


@pytest.mark.parametrize("option", ["mask", "style_mask", "init"])
def test_a_missing_file_is_named(attack: Attack, images: np.ndarray, option: str) -> None:
    with pytest.raises(ArtattackError, match=r"nowhere\.png"):
        attack(**{option: "nowhere.png"}).generate(images)


@pytest.mark.parametrize("option", ["mask", "style_mask"])
def test_a_black_mask_is_refused(attack: Attack, images: np.ndarray, tmp_path: Path, option: str) -> None:
    path = tmp_path / "black.png"
    Image.new("L", (8, 8)).save(path)
    with pytest.raises(ArtattackError, match="all black"):
        attack(**{option: path}).generate(images)
