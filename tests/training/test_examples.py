"""Examples for a painter: which images of a run they are, their crops, and how a painter is compared with them."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import artattack.models
from artattack.attacks.features import Features
from artattack.attacks.objective import Objective
from artattack.attacks.options import StyleOptions
from artattack.attacks.painter_card import PainterCard, PainterStyle
from artattack.attacks.painter_network import build_network, mirrored
from artattack.bound import Bound
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.files import sha256_file
from artattack.inputs.images import read_image, save_png
from artattack.inputs.styles import load_styles, style_files
from artattack.training.card_writing import write_painter_card
from artattack.training.examples import Examples, read_examples
from artattack.training.networks import save_network
from artattack.training.painter_fitting import PainterTraining, band_distance

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]

SIZE = 40
STYLES = ["marble", "waves"]
BALL = Bound("psnr", 20.0)
ATTACK: dict[str, Any] = {"attack": "style", "backbone": "quicknet_tiny", "style": STYLES, "steps": 2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(3):
        save_png(folder / f"{number}.png", np.kron(rng.integers(0, 256, (5, 6, 3), np.uint8), np.ones((9, 9, 1), "B")))
    return folder


@cache
def weights(model: str = "quicknet_tiny") -> str:
    return artattack.models.load_model(model).weights_sha256


def run(photos: Path | str, out: Path, *attacks: dict[str, Any]) -> str:
    benchmark = {
        "images": {"set": str(photos), "size": SIZE, "limit": 3},
        "classifiers": "quicknet_tiny",
        "feature_model": "quicknet_tiny",
        "style_judges": "quicknet_tiny",
        "attacks": list(attacks),
    }
    run_benchmark(benchmark, out=out, cache=False)
    return str(out)


@pytest.fixture(scope="module")
def painted(photos: Path, tmp_path_factory: pytest.TempPathFactory, models_load_once: None) -> str:
    """The folder of a run of the style attack in two styles and two balls."""
    small = ATTACK | {"name": "small", "budget": "psnr=26"}
    return run(photos, tmp_path_factory.mktemp("runs") / "run", small, ATTACK, {"attack": "noise", "like": "style"})


def test_examples_are_the_attacks_images_in_the_order_of_the_styles(photos: Path, painted: str) -> None:
    examples = read_examples(painted, ["waves", "marble"], [BALL], SIZE, weights())
    assert examples.size == (SIZE, SIZE)
    assert len(examples.files) == 3
    for files in examples.files:
        assert files[0].parts[-2:] == ("original", files[1].name)
        assert [path.parent.name for path in files[1:]] == [
            "style--waves--quicknet_tiny", "style--marble--quicknet_tiny"
        ]  # fmt: skip
    trained, held = examples.parted({sha256_file(photos / "1.png")}, 0.2, 0)
    assert [files[0].stem for files in held.files] == ["1"]
    assert [files[0].stem for files in trained.files] == ["0", "2"]
    trained, held = examples.parted({"of another photo"}, 0.2, 0)
    assert (len(trained.files), len(held.files)) == (2, 1)
    assert {*trained.files, *held.files} == {*examples.files}


def test_each_ball_has_the_images_of_its_attack(painted: str) -> None:
    """Turns go through the balls of a style, then through the styles. An attack's own ball counts before its images."""
    examples = read_examples(painted, STYLES, [BALL, Bound("psnr", 26.0)], SIZE, weights())
    for files in examples.files:
        assert [path.parent.name for path in files[1:]] == [
            "style--marble--quicknet_tiny", "small--marble--quicknet_tiny",
            "style--waves--quicknet_tiny", "small--waves--quicknet_tiny",
        ]  # fmt: skip
    (*_, turns, _), *_ = examples.crops_of_epoch(32, 5, 1, 7, 1)
    assert turns.tolist() == [1, 2, 3, 0, 1]
    for balls, message in (
        ([BALL, Bound("psnr", 40.0)], "no attack's images all lie inside psnr=40; run one .* with `budget: psnr=40`"),
        ([Bound("psnr", 19.0)], "several attacks' images lie inside psnr=19: small through quicknet_tiny, style thr"),
    ):
        with pytest.raises(ArtattackError, match=message):
            read_examples(painted, STYLES, balls, SIZE, weights())


def test_crops_are_of_one_place_and_follow_from_the_seed_and_the_epoch(painted: str) -> None:
    examples = read_examples(painted, STYLES, [BALL], 32, weights())
    whole = {path: read_image(path) for files in examples.files for path in files}
    drawn = list(examples.crops_of_epoch(32, 3, 2, 7, 1))
    assert [turns.tolist() for _, _, turns, _ in drawn] == [[0, 1, 0], [1, 0, 1]]  # crops 6 to 11 of the training
    shown = []
    for originals, paintings, turns, corners in drawn:
        assert originals.shape == paintings.shape == (3, 32, 32, 3)
        for original, painting, turn, (top, left) in zip(originals, paintings, turns, corners, strict=True):
            part = np.s_[top : top + 32, left : left + 32]
            (files,) = (f for f in examples.files if np.array_equal(whole[f[0]][part], original))
            assert np.array_equal(whole[files[1 + turn]][part], painting)
            shown.append(files[0])
    assert sorted(map(shown[:3].count, set(shown))) == [1, 1, 1]  # each image once before any comes again
    for (first, _, _, _), (again, _, _, _) in zip(drawn, examples.crops_of_epoch(32, 3, 2, 7, 1), strict=True):
        assert np.array_equal(first, again)
    (other, *_), *_ = examples.crops_of_epoch(32, 3, 2, 7, 0)
    assert not np.array_equal(drawn[0][0], other)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("init", ["content", "style"])
def test_a_painter_that_changes_nothing_differs_from_examples_by_their_change(init: Any) -> None:
    """Without a change of the network, a painting is the initial image: the photo, or its blend with the style."""
    backbone: Any = artattack.models.load_model("quicknet_tiny")
    objective, layers = Objective(backbone, StyleOptions()), tuple(backbone.style_layers)
    styles = np.concatenate([load_styles(name, 224) for name in STYLES])
    network = build_network(2, filters=(4, 8), blocks=0)
    last = network.get_layer("change")
    last.set_weights([np.zeros_like(weights) for weights in last.get_weights()])
    card = PainterCard(
        title="",
        styles=tuple(PainterStyle(name=name, sha256=("",)) for name in STYLES),
        backbone="quicknet_tiny",
        guides=(),
        balls=(BALL,),
        init=init,
        reach=None,
        binary=False,
        decay=1.5,
        lowest=1 / 32,
    )
    training = PainterTraining(
        network,
        card,
        learnt=(0, 1),
        objective=objective,
        targets=[],
        styles=styles if init == "style" else None,
        guides=(),
        guidance=None,
        options=StyleOptions(),
        imitate_weight=1,
        feature_weight=1,
        likeness=Objective(backbone, StyleOptions(style_weight=0, content_weight=1, content_layers=layers)),
        size=32,
        seed=0,
    )
    rng = np.random.default_rng(1)
    x, wanted = rng.integers(0, 256, (2, 3, 32, 32, 3), np.uint8)
    turns, corners = np.int32([1, 0, 1]), np.int32([[0, 0], [3, 8], [230, 1000]])
    crops = tf.constant(x), tf.constant(wanted), tf.constant(turns), tf.constant(corners)
    found = training._differences(*crops, seed=None)
    before, after = x / 255.0, wanted / 255.0
    first = before
    if init == "style":
        large = mirrored(styles, 300, 1100)
        parts = np.stack([large[k, i : i + 32, j : j + 32] for k, (i, j) in zip(turns, corners, strict=True)])
        share = 0.1 / np.sqrt(np.square(parts - before).mean((1, 2, 3), keepdims=True))  # 20 dB: 0.1 root mean square
        first = before + np.minimum(share, 1) * (parts - before)
    expected = np.square(first - after).sum((1, 2, 3)) / np.square(after - before).sum((1, 2, 3))
    np.testing.assert_allclose(found["unlike"], expected, rtol=1e-4)
    pairs = zip(*(Features(backbone, layers)(tf.constant(shown, tf.float32)) for shown in (first, after)), strict=True)
    shares = [np.square(a - b).sum((1, 2, 3)) / np.square(b).sum((1, 2, 3)) for a, b in pairs]
    np.testing.assert_allclose(found["unlike_features"], np.mean(shares, 0), rtol=0.02)  # signs turn within rounding
    images, one = tf.TensorSpec((None, 32, 32, 3), tf.uint8), tf.TensorSpec((None,), tf.int32)
    signature = [images, images, one, tf.TensorSpec((None, 2), tf.int32)]
    of_any_batch = tf.function(lambda *crops: training._differences(*crops, seed=None), signature)
    np.testing.assert_allclose(of_any_batch(x, wanted, turns, corners)["unlike"], expected, rtol=1e-4)

    x, wanted, losses = x // 2 + 64, x // 2 + 90, []  # brighter by 0.1: it learns from them
    optimizer = tf_keras.optimizers.Adam(0.003)
    for _ in range(20):
        with tf.GradientTape() as tape:
            found = training._differences(*map(tf.constant, (x, wanted, turns, corners)), seed=None)
            losses.append(tf.reduce_mean(found["unlike"]))
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(losses[-1], variables), variables, strict=True))
    assert losses[-1] < 0.8 * losses[0]


def test_bands_are_compared_by_their_shares_of_the_energy() -> None:
    """Waves of 1/16 and 1/4 cycles per pixel; the size of the whole change does not matter."""
    places = np.arange(32)
    slow, fast = (np.cos(2 * np.pi * places * cycles / 32)[None, None, :, None] for cycles in (2, 8))
    both = np.ones((1, 32, 1, 3)) * (slow + fast)
    coarse = np.ones((1, 32, 1, 3)) * (3 * slow + fast)
    pairs = np.concatenate([both, both, both]), np.concatenate([0.1 * both, coarse, 2 * slow + 0 * both])
    found = band_distance(*(tf.constant(change, tf.float32) for change in pairs))
    faint = 1e-5
    expected = [
        0,
        (np.log((0.5 + faint) / (0.9 + faint)) ** 2 + np.log((0.5 + faint) / (0.1 + faint)) ** 2) / 6,
        (np.log((0.5 + faint) / (1 + faint)) ** 2 + np.log((0.5 + faint) / faint) ** 2) / 6,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_what_does_not_fit_is_refused(photos: Path, painted: str, tmp_path: Path) -> None:
    for given, message in (
        ((painted, ["marble", "woodcut"], [BALL], SIZE), "style 'woodcut': the run has no images in it; run"),
        ((painted, STYLES, [BALL], SIZE + 4), "its images have 40 x 40 px, and crops have 44: lower --size"),
        ((painted, STYLES, [Bound("psnr", 30.0)], SIZE), "no attack's images all lie inside psnr=30; run one"),
        ((painted, STYLES, [Bound("l2", 3.0)], SIZE), "give --budget in psnr or linf"),
        ((str(tmp_path), STYLES, [BALL], SIZE), "run"),
    ):
        with pytest.raises(ArtattackError, match=message):
            read_examples(*given, weights())
    both = run(photos, tmp_path / "both", ATTACK, ATTACK | {"name": "longer", "steps": 3})
    with pytest.raises(
        ArtattackError, match="several attacks' images lie inside psnr=20: style through quicknet_tiny, longer th"
    ):
        read_examples(both, STYLES, [BALL], SIZE, weights())
    samples = run("samples", tmp_path / "samples", ATTACK)
    with pytest.raises(ArtattackError, match="the bundled samples measure painters; attack other photos"):
        read_examples(samples, STYLES, [BALL], SIZE, weights())


def test_an_attack_that_read_other_models_than_the_painter_names_is_refused(
    photos: Path, painted: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtattackError, match="its attack 'style' reads quicknet_tiny; give that model as --backbone"):
        read_examples(painted, STYLES, [BALL], SIZE, weights("quicknet_distilled"))
    guided = run(photos, tmp_path / "guided", ATTACK | {"guide": "quicknet_tiny"})
    with pytest.raises(ArtattackError, match="its attack 'style' has guides; imitate one without"):
        read_examples(guided, STYLES, [BALL], SIZE, weights())


def test_a_painter_teaches_another_unless_it_read_guides(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "teacher.keras"
    save_network(build_network(2, filters=(4, 8), blocks=0), file)
    styles = tuple(PainterStyle(name=name, sha256=(sha256_file(style_files(name)[0]),)) for name in STYLES)
    card = PainterCard(
        title="", styles=styles, backbone="quicknet_tiny", balls=(BALL,), init="content", decay=1.5, lowest=1 / 32
    )
    write_painter_card(card, file)
    attack = {"attack": "painter", "painter": str(file), "style": STYLES, "budget": "psnr=20"}
    taught = run(photos, tmp_path / "run", attack, attack | {"name": "small", "budget": "psnr=26"})
    examples = read_examples(taught, STYLES, [BALL], SIZE, weights())
    assert [path.parent.name for path in examples.files[0][1:]] == [
        "painter--marble--quicknet_tiny", "painter--waves--quicknet_tiny"
    ]  # fmt: skip
    write_painter_card(card.model_copy(update={"guides": ("quicknet_distilled",)}), file)
    with pytest.raises(ArtattackError, match="its attack 'painter' has guides; imitate one without"):
        read_examples(taught, STYLES, [BALL], SIZE, weights())
    file.unlink()
    with pytest.raises(ArtattackError, match=r"--imitate: .*: painter '.*teacher\.keras': no such file"):
        read_examples(taught, STYLES, [BALL], SIZE, weights())


def test_crops_beside_training_images_go_on_where_a_training_resumes() -> None:
    """Batches of a resumed training are those of an uninterrupted one."""
    from artattack.training.fitting import Course

    class Numbered(Examples):
        def crops_of_epoch(self, side: int, batch: int, steps: int, seed: int, epoch: int) -> Any:
            for step in range(steps):
                images = np.full((batch, side, side, 3), 10 * epoch + step, np.uint8)
                yield images, images, np.zeros(batch, np.int32), np.zeros((batch, 2), np.int32)

    def numbers(start: int) -> list[tuple[int, int]]:
        shown = tf.data.Dataset.from_tensor_slices((np.arange(2 * start, 6)[:, None, None],)).map(lambda x: (x,))
        both = Numbered((), (), (8, 8)).beside(shown, 8, Course(3, 4, 3, 0), 2, start)
        return [(int(x[0, 0]), int(original[0, 0, 0, 0])) for x, original, *_ in both]

    assert numbers(0) == [(0, 0), (1, 1), (2, 10), (3, 11), (4, 20), (5, 21)]
    assert numbers(1) == numbers(0)[2:]
