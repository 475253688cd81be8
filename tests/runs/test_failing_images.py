"""An image on which a classifier or an attack fails does not affect the others."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pandas.testing import assert_frame_equal

import artattack.models
from artattack.attacks.descent import Descent
from artattack.attacks.failing import ImagesFailedError
from artattack.attacks.momentum import MomentumAttack
from artattack.attacks.style import StyleTransferAttack
from artattack.evaluation.run import run_benchmark
from artattack.inputs.images import read_image, to_float
from artattack.models.estimator import to_estimator

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

SIZE = 32
STYLE = {"attack": "style", "backbone": "quicknet_tiny", "style": "waves", "steps": 2}
FGSM = {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}
BENCHMARK: dict[str, Any] = {
    "images": {"size": SIZE, "limit": 4},
    "classifiers": ["mine", "quicknet_tiny"],
    "feature_model": "quicknet_tiny",
    "style_judges": "quicknet_tiny",
}


def brightness(x: np.ndarray) -> np.ndarray:
    """Logits of bright, dark and neither."""
    difference = 40 * (x.mean((1, 2, 3)) - 0.45)
    return np.stack([difference, -difference, np.full(len(x), -9.0)], 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], tuple[pd.DataFrame, Path]]:
    """Runs in which nothing fails, each done once."""
    done: dict[str, tuple[pd.DataFrame, Path]] = {}

    def run(benchmark: dict[str, Any]) -> tuple[pd.DataFrame, Path]:
        if repr(benchmark) not in done:
            path = tmp_path_factory.mktemp("whole") / "run"
            done[repr(benchmark)] = run_benchmark(benchmark, out=path, models={"mine": model(brightness)}), path
        return done[repr(benchmark)]

    return run


def model(answer: Callable[[np.ndarray], np.ndarray]) -> Any:
    return artattack.models.load_model(answer, input_size=SIZE, name="mine", label_space=["tench", "goldfish", "hen"])


def blind_to(*images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The same classifier, which gives NaN for some images."""

    def answer(x: np.ndarray) -> np.ndarray:
        values = brightness(x)
        for image in images:
            values[(np.abs(x - image) < 1e-6).all((1, 2, 3))] = np.nan
        return values

    return answer


def same(found: pd.DataFrame, expected: pd.DataFrame, failed: pd.Series) -> None:
    """All records but those that failed are as without the failure."""
    drop = ["seconds"]
    assert_frame_equal(found[~failed].drop(columns=drop), expected[~failed].drop(columns=drop), check_exact=True)


def pixels(path: Path, image: str, folder: str = "original") -> np.ndarray:
    return to_float(read_image(path / "images" / folder / f"{image}.png"))


def test_nan_for_one_untouched_image(tmp_path: Path, whole: Any) -> None:
    attacks = [FGSM, {"attack": "noise"}]
    expected, path = whole(BENCHMARK | {"attacks": attacks})
    name = expected["image"].unique()[2]
    blind = model(blind_to(pixels(path, name)))
    found = run_benchmark(BENCHMARK | {"attacks": attacks}, out=tmp_path / "run", models={"mine": blind})
    failed = (found["image"] == name) & (found["classifier"] == "mine")
    assert set(found.loc[failed, "error"]) == {"model 'mine' gave values that are not finite for the untouched image"}
    assert found.loc[failed, "flip"].isna().all()
    assert len(found[failed]) == 3
    same(found, expected, failed)


def test_nan_for_one_attacked_image(tmp_path: Path, whole: Any) -> None:
    expected, path = whole(BENCHMARK | {"attacks": [FGSM, {"attack": "noise"}]})
    rows = expected[expected["attack"] == "fgsm"]
    name = rows["image"].unique()[1]
    attacked = to_float(read_image(path / rows.loc[rows["image"] == name, "file"].iloc[0]))
    blind = model(blind_to(attacked))
    found = run_benchmark(
        BENCHMARK | {"attacks": [FGSM, {"attack": "noise"}]}, out=tmp_path / "run", models={"mine": blind}
    )
    failed = (found["image"] == name) & (found["classifier"] == "mine") & (found["attack"] == "fgsm")
    assert list(found.loc[failed, "error"]) == ["model 'mine' gave values that are not finite"]
    same(found, expected, failed)


def test_a_classifier_that_fails_on_untouched_images_fails_alone_and_is_asked_again(tmp_path: Path, whole: Any) -> None:
    attacks = [FGSM, {"attack": "noise"}]
    expected, _ = whole(BENCHMARK | {"attacks": attacks})
    loaded: list[bool] = []

    def out_of_order(x: np.ndarray) -> np.ndarray:
        if loaded:
            raise RuntimeError("no such device")
        return brightness(x)

    broken = model(out_of_order)
    loaded.append(True)
    found = run_benchmark(BENCHMARK | {"attacks": attacks}, out=tmp_path / "run", models={"mine": broken})
    failed = found["classifier"] == "mine"
    assert (
        found.loc[failed, "error"]
        .str.fullmatch(r"on the untouched images: model 'mine' failed on images of shape .*: no such device")
        .all()
    )
    same(found, expected, failed)
    loaded.clear()
    again = run_benchmark(BENCHMARK | {"attacks": attacks}, out=tmp_path / "run", models={"mine": broken}, resume=True)
    same(again, expected, again["error"].notna())
    assert again["error"].isna().all()


@pytest.mark.parametrize("attack", ["square", "hopskipjump"])
def test_a_source_that_fails_on_one_image(attack: str, tmp_path: Path, whole: Any) -> None:
    options = {"square": {"eps": 0.1, "max_iter": 5}, "hopskipjump": {"max_iter": 1, "max_eval": 5, "init_eval": 2}}
    attacks = [{"attack": attack, "source": "mine", **options[attack]}, {"attack": "noise"}]
    expected, path = whole(BENCHMARK | {"attacks": attacks})
    name = expected["image"].unique()[0]
    blind = model(blind_to(pixels(path, name)))
    found = run_benchmark(BENCHMARK | {"attacks": attacks}, out=tmp_path / "run", models={"mine": blind})
    mine = found["image"] == name
    failed = mine & ((found["classifier"] == "mine") | (found["kind"] != "clean"))
    of_attack = found[mine & (found["attack"] == attack)]
    assert len(of_attack) == 2
    assert of_attack["error"].str.contains("values that are not finite").all()
    controls = found[mine & (found["kind"] == "control")]
    assert controls["error"].str.contains("which this starts from, failed").all()
    assert not list((tmp_path / "run").glob(f"images/{attack}*/{name}.png"))
    same(found, expected, failed)


def losing(which: Callable[[Any], tf.Tensor]) -> type[Descent]:
    """Return descents whose losses are NaN from the first step on, of the images of their work that are told, (N,)."""

    class Losing(Descent):
        def _loss(self, x: tf.Tensor, work: Any, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, fooled = super()._loss(x, work, step)
            return tf.where(which(work), np.float32(np.nan), loss), fooled

    return Losing


def test_a_descent_without_finite_losses_on_one_image(
    tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = [STYLE, {"attack": "noise"}, {"attack": "random-backbone"}]
    only = BENCHMARK | {"attacks": attacks, "classifiers": ["quicknet_tiny", "mine"]}
    expected, _ = whole(only)
    second = losing(lambda work: tf.range(tf.shape(work.original)[0]) == 1)
    monkeypatch.setattr("artattack.attacks.style.Descent", second)
    found = run_benchmark(only, out=tmp_path / "run", models={"mine": model(brightness)})
    failed = (found["image"] == found["image"].unique()[1]) & (found["kind"] != "clean")
    assert found.loc[failed & (found["kind"] == "style"), "error"].str.startswith("no step led to a finite loss").all()
    assert found.loc[failed & (found["kind"] == "control"), "error"].str.endswith("starts from, failed").all()
    same(found, expected, failed)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((3, SIZE, SIZE, 3), np.float32)


def failing(call: Callable[[], Any], number: int, total: int) -> np.ndarray:
    with pytest.raises(ImagesFailedError, match=rf"^1 of {total} images failed, the first so: ") as caught:
        call()
    assert list(caught.value.why) == [number]
    return caught.value.made


@pytest.mark.parametrize(
    "options", [{"jitter": 2, "parametrization": "fourier"}, {"batch_size": 2}, {"optimizer": "lbfgs", "jitter": 0}]
)
def test_failing_style_attacks_return_the_other_images(
    options: dict[str, Any], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = to_estimator(artattack.models.load_model("quicknet_tiny"), input_shape=(SIZE, SIZE, 3))
    options = {"styles": "waves", "steps": 2, **options}
    expected = StyleTransferAttack(estimator, **options).generate(images)
    third = losing(lambda work: tf.reduce_all(work.original == images[2], (1, 2, 3)))
    monkeypatch.setattr("artattack.attacks.style.Descent", third)
    made = failing(lambda: StyleTransferAttack(estimator, **options).generate(images), 2, 3)
    np.testing.assert_array_equal(made[:2], expected[:2])
    np.testing.assert_array_equal(made[2], images[2])


def test_failing_momentum_attacks_return_the_other_images(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = to_estimator(artattack.models.load_model("quicknet_tiny"), input_shape=(SIZE, SIZE, 3))
    own, breaks = estimator.loss_gradient, tf.Variable(False)  # a variable, so that one compiled program does both

    def broken(x: tf.Tensor, y: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        second = (tf.range(3)[:, None, None, None] == 1) & breaks
        return tf.where(second, np.float32(np.nan), own(x, y))

    monkeypatch.setattr(estimator, "loss_gradient", broken)
    expected = MomentumAttack(estimator, eps=0.11, max_iter=3).generate(images)
    breaks.assign(True)
    made = failing(lambda: MomentumAttack(estimator, eps=0.11, max_iter=3).generate(images), 1, 3)
    np.testing.assert_array_equal(made[[0, 2]], expected[[0, 2]])


def test_a_message_where_all_images_fail_alike() -> None:
    every = ImagesFailedError(np.zeros((2, 1, 1, 3)), {0: "so it is", 1: "so it is"})
    assert str(every) == "so it is"
    some: Sequence[str] = [str(ImagesFailedError(np.zeros((2, 1, 1, 3)), why)) for why in ({1: "so"}, {0: "a", 1: "b"})]
    assert some == ["1 of 2 images failed, the first so: so", "2 of 2 images failed, the first so: a"]
