"""Options of the style attack, each of which must count."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artattack.attacks.style import StyleTransferAttack
from artattack.distances import DISTANCES, l2, linf
from artattack.errors import ArtattackError
from artattack.images import quantize
from artattack.models.estimator import to_estimator
from artattack.models.model import Model

SIZE = 24  # of the images in conftest.py


def paint(model: Model, stripes: np.ndarray, images: np.ndarray, **options: Any) -> np.ndarray:
    return StyleTransferAttack(to_estimator(model), styles=stripes, **({"steps": 8} | options)).generate(images)


def half_mask(folder: Path) -> Path:
    """White on the left half."""
    white = np.zeros((SIZE, SIZE), np.uint8)
    white[:, : SIZE // 2] = 255
    path = folder / "mask.png"
    Image.fromarray(white).save(path)
    return path


def test_nothing_changes_outside_the_mask(
    model: Model, stripes: np.ndarray, images: np.ndarray, tmp_path: Path
) -> None:
    out = paint(model, stripes, images, mask=half_mask(tmp_path))
    np.testing.assert_array_equal(out[:, :, SIZE // 2 :], images[:, :, SIZE // 2 :])
    assert np.abs(out - images)[:, :, : SIZE // 2].max() > 0.01


def test_style_mask_chooses_a_part_of_the_style(
    model: Model, stripes: np.ndarray, images: np.ndarray, tmp_path: Path
) -> None:
    style = stripes.copy()
    style[:, SIZE // 2 :] = 0.5
    assert (
        np.abs(paint(model, style, images, style_mask=half_mask(tmp_path)) - paint(model, style, images)).max() > 1e-3
    )


@pytest.mark.parametrize("parametrization", ["pixel", "fourier"])
@pytest.mark.parametrize(("norm", "distance", "radius"), [("linf", linf, 8 / 255), ("l2", l2, 0.7)])
def test_budget_is_kept(
    model: Model, stripes: np.ndarray, images: np.ndarray, parametrization: str, norm: str, distance: Any, radius: float
) -> None:
    out = paint(model, stripes, images, budget=f"{norm}={radius}", parametrization=parametrization)
    assert (distance(images, out) <= radius + 1e-4).all()
    assert (distance(images, out) > 0.3 * radius).all()


def test_match_meets_its_distance(model: Model, stripes: np.ndarray, images: np.ndarray) -> None:
    grid = quantize(images)
    out = paint(model, stripes, grid, match="ssim=0.99", steps=20, learning_rate=0.05)
    np.testing.assert_allclose(DISTANCES["ssim"](grid, out), 0.99, atol=0.003)
    np.testing.assert_array_equal(quantize(out), out)


def test_jitter_counts_and_follows_from_the_seed(model: Model, stripes: np.ndarray, images: np.ndarray) -> None:
    first, again, other = (paint(model, stripes, images, jitter=5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first - paint(model, stripes, images)).max() > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"parametrization": "fourier"},
        {"statistics": "mean-variance"},
        {"statistics": "histogram"},
        {"style_layer_weights": (1, 5)},
        {"surrogate": "tanh:0.3", "content_weight": 0.0, "tv_weight": 0.0},
        {"init": "noise"},
    ],
)
def test_option_counts(model: Model, stripes: np.ndarray, images: np.ndarray, options: dict[str, Any]) -> None:
    plain = {key: value for key, value in options.items() if key.endswith("_weight")}
    assert np.abs(paint(model, stripes, images, **options) - paint(model, stripes, images, **plain)).max() > 1e-3


def test_lbfgs_ends_lower_than_adam_in_as_many_steps(model: Model, stripes: np.ndarray, images: np.ndarray) -> None:
    # The content loss alone, from noise: smooth in the float layer it is measured in.
    options = {"style_weight": 0.0, "tv_weight": 0.0, "init": "noise", "steps": 15}
    adam, lbfgs = (paint(model, stripes, images, optimizer=name, **options) for name in ("adam", "lbfgs"))
    assert np.abs(lbfgs - images).mean() < np.abs(adam - images).mean()
    assert lbfgs.min() >= 0
    assert lbfgs.max() <= 1


def test_styles_in_turn(model: Model, stripes: np.ndarray, images: np.ndarray) -> None:
    other = stripes.transpose(1, 0, 2).copy()
    out = StyleTransferAttack(to_estimator(model), styles=[stripes, other], blend=False, steps=8).generate(images)
    expected = np.where(
        np.array([True, False, True])[:, None, None, None], *(paint(model, s, images) for s in (stripes, other))
    )
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_guide_is_led_astray_where_style_alone_does_not(model: Model, stripes: np.ndarray, images: np.ndarray) -> None:
    options = {"budget": "linf=0.1", "steps": 40, "learning_rate": 0.01}
    seen = model.predict(images).argmax(1)
    guided = paint(model, stripes, images, guides=[to_estimator(model)], guide_weight=10.0, confidence=0.0, **options)
    assert (model.predict(quantize(guided)).argmax(1) != seen).sum() > (
        model.predict(quantize(paint(model, stripes, images, **options))).argmax(1) != seen
    ).sum()


def test_early_stop_keeps_a_nearer_image_that_is_astray(model: Model, stripes: np.ndarray, images: np.ndarray) -> None:
    options = {"guides": [to_estimator(model)], "guide_weight": 10.0, "confidence": 0.0, "steps": 40}
    seen = model.predict(images).argmax(1)
    stopped, went_on = (paint(model, stripes, images, early_stop=stop, **options) for stop in (True, False))
    astray = model.predict(stopped).argmax(1) != seen
    assert astray.any()
    assert (l2(images, stopped) <= l2(images, went_on) + 1e-5)[astray].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_stop": True}, "no guide"),
        ({"target": "tench"}, "no guide"),
        ({"style_weight": 0.0, "content_weight": 0.0}, "nothing to do"),
        ({"optimizer": "lbfgs", "jitter": 3}, "line search"),
        ({"optimizer": "lbfgs", "budget": "l2=1"}, "budget l2"),
        ({"budget": "ssim=0.9"}, "linf and l2"),
        ({"match": "sim=0.9"}, "did you mean 'ssim'"),
        ({"style_layer_weights": (1, 2, 3)}, "2 layers, but 3 weights"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    model: Model, stripes: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtattackError, match=message):
        StyleTransferAttack(to_estimator(model), styles=stripes, **options)


def test_target_that_a_guide_does_not_know(model: Model, stripes: np.ndarray) -> None:
    with pytest.raises(ArtattackError, match="does not know the target class 'tench'"):
        StyleTransferAttack(to_estimator(model), styles=stripes, guides=[to_estimator(model)], target="tench")


def test_a_black_mask_is_refused(model: Model, stripes: np.ndarray, images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "black.png"
    Image.new("L", (8, 8)).save(path)
    with pytest.raises(ArtattackError, match="all black"):
        paint(model, stripes, images, mask=path)
