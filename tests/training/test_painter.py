"""Training painters: what is learnt, resuming, added styles, and what is refused."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pydantic import ValidationError
from typer.testing import CliRunner

import artattack.models
from artattack import cli
from artattack.attacks import painter_network
from artattack.attacks.painter_card import PainterFile
from artattack.attacks.painter_network import Painter, style_layers
from artattack.bound import Bound
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.inputs.image_sets import open_image_set
from artattack.inputs.images import read_image, save_png, to_uint8
from artattack.inputs.styles import load_styles
from artattack.models.network import is_binary_convolution
from artattack.training import painter as painters
from artattack.training.painter import PainterSettings, plan_painter, train_painter
from artattack.training.painter_fitting import limited

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(6):
        coarse = rng.integers(0, 256, (5, 6, 3), np.uint8)
        save_png(folder / f"{number}.png", np.kron(coarse, np.ones((8, 8, 1), np.uint8)))
    return folder


@pytest.fixture(scope="module", autouse=True)
def small_networks_and_epochs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painters, "_CROPS_PER_EPOCH", 5)
        patch.setattr(painter_network, "FILTERS", (4, 8))
        patch.setattr(painter_network, "BINARY_FILTERS", (4, 32))
        patch.setattr(painter_network, "BLOCKS", 1)
        yield


def settings(photos: Path, **options: Any) -> PainterSettings:
    given = {"style": ("marble", "waves"), "backbone": "quicknet_tiny", "size": 32, "batch": 5, "steps": 3}
    return PainterSettings(images=str(photos), **{**given, **options})


@pytest.fixture(scope="module")
def trained(
    photos: Path, tmp_path_factory: pytest.TempPathFactory, small_networks_and_epochs: None, eager: None
) -> Path:
    """The folder of a training of three epochs of one step."""
    out = tmp_path_factory.mktemp("trained") / "out"
    train_painter(settings(photos), out)
    return out


def test_a_training_writes_a_painter_its_card_and_pictures(trained: Path) -> None:
    file = PainterFile(trained / "painter.keras")
    card = file.card
    assert card.names == ("marble", "waves")
    assert (card.backbone, card.guides, str(card.budget)) == ("quicknet_tiny", (), "psnr=20")
    assert card.decay == 1.5
    assert len(card.backbone_sha256) == 64
    assert (card.facts["images_trained_on"], card.facts["images_measured_on"]) == (5, 1)
    assert (card.facts["epochs"], card.facts["crops"]) == (3, 15)
    assert set(card.facts["style_distance"]) == {"marble", "waves"}
    assert "| styles | marble, waves |" in (trained / "painter.md").read_text()
    assert read_image(trained / "samples" / "0003.png").shape == (32, 3 * 32, 3)  # one crop: itself, and two styles
    assert sorted(path.name for path in trained.iterdir()) == [
        "painter.csv", "painter.json", "painter.keras", "painter.md", "painter.png", "samples", "settings.json"
    ]  # fmt: skip
    assert (card.init, card.reach) == ("style", 0.7)
    first = "the photo blended with the style up to the ball, changed by at most 0.7 of the ball's radius"
    assert f"| initial image | {first} |" in (trained / "painter.md").read_text()
    pictures = [to_uint8(load_styles(name, 224)[0]) for name in card.names]
    assert np.array_equal(read_image(trained / "painter.png"), np.concatenate(pictures, 1))


@pytest.mark.usefixtures("compiled")
def test_training_lowers_the_style_loss(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painters, "_CROPS_PER_EPOCH", 60)  # twelve steps
    alone = settings(photos, init="content", size=40, steps=60, learning_rate=0.003, budget="psnr=5", decay=0.5)
    train_painter(alone, tmp_path / "out")
    history = pd.read_csv(tmp_path / "out" / "painter.csv")
    assert len(history) == 5
    assert history["style"].iloc[-1] < 0.95 * history["style"].iloc[0]
    assert history["val_style"].iloc[-1] < history["val_style"].iloc[0]


def test_a_training_that_was_stopped_ends_with_identical_weights(photos: Path, trained: Path, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("painting") and done == 2:  # in the second epoch, before its checkpoint
            raise KeyboardInterrupt

    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train_painter(settings(photos), out, on_progress=stop)
    assert not (out / "painter.keras").exists()
    with pytest.raises(ArtattackError, match="add --resume"):
        train_painter(settings(photos), out)
    card = train_painter(settings(photos), out, resume=True)
    assert card.facts["epochs"] == 3
    whole, resumed = (Painter(PainterFile(f / "painter.keras")).network.get_weights() for f in (trained, out))
    for one, other in zip(whole, resumed, strict=True):
        assert np.array_equal(one, other)


def test_a_training_for_several_balls_continues_from_one(photos: Path, trained: Path, tmp_path: Path) -> None:
    """Each ball of a style starts with the style's parameters; the added style has both balls, too."""
    balls = ("psnr=26", "psnr=20")
    both = settings(photos, start=str(trained / "painter.keras"), budget=balls, learning_rate=1e-9, size=40)
    card = train_painter(both, tmp_path / "both")
    assert [*map(str, card.balls)] == ["psnr=20", "psnr=26"]
    assert set(card.facts["style_distance"]) == {
        f"{style} inside psnr={level}" for style in ("marble", "waves") for level in (20, 26)
    }
    assert "| balls | psnr=20, psnr=26 |" in (tmp_path / "both" / "painter.md").read_text()
    one, two = (Painter(PainterFile(folder / "painter.keras")) for folder in (trained, tmp_path / "both"))
    for layer in style_layers(one.network):
        rows, more = (made.get_layer(layer.name).get_weights()[0] for made in (one.network, two.network))
        np.testing.assert_allclose(more, np.repeat(rows, 2, 0), atol=1e-6)  # style by style
    x = np.random.default_rng(3).uniform(0, 1, (2, 32, 36, 3)).astype(np.float32)
    np.testing.assert_allclose(one.paint(x, np.array([0, 1])), two.paint(x, np.array([0, 1])), atol=1e-4)
    start = str(tmp_path / "both" / "painter.keras")
    card = train_painter(settings(photos, start=start, add_style=True, style=("woodcut",)), tmp_path / "more")
    assert card.rows == 6  # the balls are those of the start
    three = Painter(PainterFile(tmp_path / "more" / "painter.keras"))
    for layer in style_layers(two.network):
        rows, more = (made.get_layer(layer.name).get_weights()[0] for made in (two.network, three.network))
        np.testing.assert_array_equal(more[:4], rows)
        if layer.name == "up_norm_scale":
            assert (np.abs(more[4:] - rows.reshape(2, 2, -1).mean(0)) > 1e-6).any(1).all()  # both rows have learnt


def test_each_turn_teaches_its_row_alone(photos: Path) -> None:
    """Turn s B + b is style s in ball b: the gradient of a crop reaches that row, and paints inside that ball."""
    given = settings(photos, budget=("psnr=20", "psnr=26"))
    card, _ = painters._begun(given)
    training = painters._compiled(given, artattack.models.load_model("quicknet_tiny"), card, None, 1)
    x = tf.constant(np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)), tf.float32)
    for turn, psnr in enumerate((20, 26, 20, 26)):
        with tf.GradientTape() as tape:
            made = training._painted((x + 1) / 2, tf.constant([turn]), tf.zeros((1, 2), tf.int32))
            loss = training._losses_of(x, tf.constant([turn]), None)["loss"]
        found = -10 * np.log10(np.square(made - (x + 1) / 2).mean())
        assert psnr - 0.01 < found < psnr + 5  # a change within reach may lead inwards
        rows = tape.gradient(loss, training.network.get_layer("up_norm_scale").trainable_variables)[0].numpy()
        assert np.abs(rows).max(1).nonzero()[0].tolist() == [turn]


def test_an_added_style_leaves_the_others_bit_for_bit(photos: Path, trained: Path, tmp_path: Path) -> None:
    start = str(trained / "painter.keras")
    more = settings(photos, start=start, add_style=True, style=("woodcut",))
    card = train_painter(more, tmp_path / "more")
    assert card.names == ("marble", "waves", "woodcut")
    assert card.facts["trained_styles"] == ["woodcut"]
    before, after = PainterFile(start), PainterFile(tmp_path / "more" / "painter.keras")
    picture = read_image(tmp_path / "more" / "painter.png")
    assert np.array_equal(picture[:, : 2 * 224], read_image(trained / "painter.png"))
    assert np.array_equal(picture[:, 2 * 224 :], to_uint8(load_styles("woodcut", 224)[0]))
    for wrong, told in (
        ({"init": "content"}, r"--init: .* has style; give the same with --add-style"),
        ({"reach": 0.5}, r"--reach: .* has 0\.7; give"),
        ({"budget": (Bound("psnr", 25.0),)}, r"--budget: .* has psnr=20; give"),
    ):
        with pytest.raises(ArtattackError, match=told):
            train_painter(more.model_copy(update=wrong), tmp_path / "other")
    old, new = Painter(before), Painter(after)
    x = np.random.default_rng(3).uniform(0, 1, (2, 32, 36, 3)).astype(np.float32)
    for name in before.card.names:
        assert np.array_equal(old.paint(x, before.mix(name)), new.paint(x, after.mix(name)))
    mean = old.paint(x, np.array([0.5, 0.5]))  # at which the new style began
    assert not np.allclose(new.paint(x, after.mix("woodcut")), mean, atol=1e-4)


def test_a_painter_goes_on_from_another_at_a_larger_size(photos: Path, trained: Path, tmp_path: Path) -> None:
    start = str(trained / "painter.keras")
    card = train_painter(settings(photos, start=start, size=40, steps=1), tmp_path / "on")
    assert card.names == ("marble", "waves")
    assert card.init == "style"
    plan = "\n".join(plan_painter(settings(photos, start=start, init="content")))
    assert "initial    the photo\n" in plan  # without the reach of the other
    with pytest.raises(ArtattackError, match=r"has the styles marble, waves; give the same, or --add-style"):
        train_painter(settings(photos, start=start, style=("waves",)), tmp_path / "other")


def test_a_painter_with_binarized_blocks(photos: Path, trained: Path, tmp_path: Path) -> None:
    card = train_painter(settings(photos, binary=True, steps=1), tmp_path / "bits")
    assert card.binary
    assert card.title.startswith("1-bit painter")
    start = str(tmp_path / "bits" / "painter.keras")
    assert is_binary_convolution(Painter(PainterFile(start)).network.get_layer("block0b"))
    with pytest.raises(ArtattackError, match="has binarized blocks; give --binary"):
        train_painter(settings(photos, start=start), tmp_path / "other")
    with pytest.raises(ArtattackError, match="has float blocks; leave out --binary"):
        train_painter(settings(photos, start=str(trained / "painter.keras"), binary=True), tmp_path / "other")


def test_a_painter_that_starts_from_the_photo_has_no_picture_of_styles(photos: Path, tmp_path: Path) -> None:
    card = train_painter(settings(photos, init="content", steps=1), tmp_path / "out")
    assert (card.init, card.reach) == ("content", None)
    assert "| initial image | the photo |" in (tmp_path / "out" / "painter.md").read_text()
    assert not (tmp_path / "out" / "painter.png").exists()


def test_guides_are_fooled_along_with_painting(photos: Path, tmp_path: Path) -> None:
    card = train_painter(settings(photos, guide=("quicknet_tiny",), steps=1), tmp_path / "out")
    assert card.guides == ("quicknet_tiny",)
    assert card.decay == 0


@pytest.mark.parametrize(("guide_loss", "weight"), [("margin", 1), ("relativistic", 1), ("features", 30)])
def test_the_loss_of_guides_can_be_chosen_and_has_a_weight_of_its_own(
    photos: Path, guide_loss: str, weight: float
) -> None:
    chosen = settings(photos, guide=("quicknet_tiny",), guide_loss=guide_loss)
    assert (chosen.loss.guide_loss, chosen.loss.guide_weight) == (guide_loss, weight)
    assert settings(photos, guide_loss=guide_loss, guide_weight=3).loss.guide_weight == 3


def test_features_of_a_guide_move_away_from_those_of_the_photo(photos: Path, tmp_path: Path) -> None:
    options = {"guide": ("quicknet_tiny",), "guide_loss": "features", "style_weight": 0.0, "tv_weight": 0.0}
    train_painter(settings(photos, **options, steps=6, batch=4), tmp_path / "out")
    losses = pd.read_csv(tmp_path / "out" / "painter.csv")["val_loss"]
    assert losses.iloc[-1] < losses.iloc[0] <= 30  # 30 times a cosine similarity


def test_layers_of_guides_need_a_loss_that_reads_them(photos: Path) -> None:
    with pytest.raises(ValidationError, match="guide_layers: applies to guide_loss features, but guide_loss is margin"):
        settings(photos, guide=("quicknet_tiny",), guide_layers=("conv:1",))


@pytest.fixture(scope="module")
def painted_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory, models_load_once: None, eager: None) -> Path:
    """The folder of a run of the style attack in three styles."""
    out = tmp_path_factory.mktemp("painted") / "run"
    benchmark: dict[str, Any] = {
        "images": {"set": str(photos), "size": 40},
        "classifiers": "quicknet_tiny",
        "feature_model": "quicknet_tiny",
        "style_judges": "quicknet_tiny",
        "attacks": [
            {"attack": "style", "backbone": "quicknet_tiny", "style": ["marble", "waves", "woodcut"], "steps": 2}
        ],
    }
    run_benchmark(benchmark, out=out, cache=False)
    return out


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each training that reads crops of its photos."""
    reading, read = painters.fresh_batches, []
    monkeypatch.setattr(painters, "fresh_batches", lambda *given: read.append(1) or reading(*given))
    return read


def imitating(photos: Path, run: Path, **options: Any) -> PainterSettings:
    return settings(photos, imitate=str(run), imitate_weight=1000, **options)


def test_paintings_of_a_run_are_imitated(
    photos: Path, trained: Path, painted_photos: Path, read: list[int], tmp_path: Path
) -> None:
    given = imitating(photos, painted_photos)
    assert "1000 imitating 6 images" in "\n".join(plan_painter(given))
    card = train_painter(given, tmp_path / "out")
    assert card.facts["images_imitated"] == 5  # without the one that is held out
    assert card.facts["settings"]["imitate"] == "run"
    assert (card.decay, card.reach) == (0.5, None)  # examples show fine strokes, and whole changes
    history = pd.read_csv(tmp_path / "out" / "painter.csv")
    differences = [f"{split}{name}" for split in ("", "val_") for name in ("unlike", "unlike_bands", "unlike_features")]
    assert history[differences].gt(0).all(None)
    assert "style" not in history
    assert history["val_style"].gt(0).all()  # measured all the same

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("painting") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_painter(given, tmp_path / "again", on_progress=stop)
    train_painter(given, tmp_path / "again", resume=True)
    assert not read  # no crops of photos, which the loss would not see
    with pytest.raises(ArtattackError, match=r"has learnt from examples; give --imitate, .*, or --style-weight, "):
        plan_painter(settings(photos, start=str(tmp_path / "out" / "painter.keras")))
    assert PainterFile(trained / "painter.keras").card.facts["images_imitated"] == 0
    whole, resumed, alone = (
        Painter(PainterFile(folder / "painter.keras")).network.get_weights()
        for folder in (tmp_path / "out", tmp_path / "again", trained)
    )
    assert all(map(np.array_equal, whole, resumed))
    assert not any(map(np.allclose, whole[:1], alone[:1]))


def test_guides_and_added_styles_learn_from_examples(
    photos: Path, trained: Path, painted_photos: Path, tmp_path: Path
) -> None:
    guided = train_painter(
        imitating(photos, painted_photos, guide=("quicknet_tiny",), feature_weight=0.0), tmp_path / "guided"
    )
    assert guided.guides == ("quicknet_tiny",)
    history = pd.read_csv(tmp_path / "guided" / "painter.csv")
    assert history["unlike"].gt(0).all()
    assert "unlike_features" not in history
    start = str(trained / "painter.keras")
    more = imitating(photos, painted_photos, start=start, add_style=True, style=("woodcut",))
    assert train_painter(more, tmp_path / "more").names == ("marble", "waves", "woodcut")


def test_the_style_loss_counts_beside_examples(
    photos: Path, trained: Path, painted_photos: Path, read: list[int], tmp_path: Path
) -> None:
    card = train_painter(imitating(photos, painted_photos, style_weight=10.0), tmp_path / "beside")
    assert len(read) == 1
    assert card.facts["settings"]["style_weight"] == 10
    assert pd.read_csv(tmp_path / "beside" / "painter.csv")["style"].gt(0).all()
    held = [
        {style: far["before"] for style, far in facts["style_distance"].items()}
        for facts in (card.facts, PainterFile(trained / "painter.keras").card.facts)
    ]
    assert held[0] == held[1]  # the same held-out crops
    assert min(held[0].values()) > 0
    with pytest.raises(ArtattackError, match="--style-weight: 0 leaves nothing to learn; give a weight above 0"):
        plan_painter(settings(photos, style_weight=0.0))


def test_gradients_are_shortened_and_infinite_ones_are_dropped() -> None:
    gradients = [np.array([30.0, 0.0], np.float32), np.array([[40.0]], np.float32)]
    made = limited([tf.constant(gradient) for gradient in gradients])
    np.testing.assert_allclose(made[0], [12, 0], rtol=1e-6)  # a norm of 50 becomes 20
    np.testing.assert_allclose(made[1], [[16]], rtol=1e-6)
    short = limited([tf.constant([3.0, 4.0])])
    np.testing.assert_allclose(short[0], [3, 4])
    for wrong in (np.inf, np.nan):
        assert [float(part) for part in limited([tf.constant(wrong), tf.constant(1.0)])] == [0, 0]


def test_bundled_samples_are_refused_under_any_name(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(photos, folder)
    shutil.copyfile(open_image_set("samples").samples[0].path, folder / "mine.jpg")
    with pytest.raises(ArtattackError, match=r"mine\.jpg is one of the bundled samples"):
        train_painter(settings(folder), tmp_path / "out")
    with pytest.raises(ArtattackError, match="is one of the bundled samples"):
        plan_painter(settings(folder).model_copy(update={"images": "samples"}))
    assert not (tmp_path / "out").exists()


def test_a_plan_says_what_is_trained_and_how_long(photos: Path) -> None:
    plan = "\n".join(plan_painter(settings(photos)))
    assert "styles     marble, waves" in plan
    assert "initial    the photo blended with the style up to the ball" in plan
    assert "3 epochs of 1 steps of 5 crops" in plan
    assert "inside psnr=20" in plan


def test_the_time_is_measured_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def timed(*_: Any) -> float:
        asked.append(1)
        return 30.0

    monkeypatch.setattr(painters, "_seconds_of_a_step", timed)
    given = settings(photos, minutes=1.0)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("painting") and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_painter(given, tmp_path / "out", on_progress=stop)
    card = train_painter(given, tmp_path / "out", resume=True)
    assert card.facts["epochs"] == 2  # two steps of 30 s
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style", "wavs"], "unknown style 'wavs'; did you mean 'waves'"),
        (["--style", "waves", "--add-style"], "--add-style: give the painter to add styles to, with --start"),
        (["--budget", "none"], "--budget: 'none' is no distance"),
        (["--budget", "ssim=0.8"], "--budget: ssim=0.8: no ball; give one in linf, l2, psnr"),
        (["--budget", "psnr=20", "--budget", "l2=5"], "--budget: psnr=20, l2=5: several balls have to be in psnr"),
        (["--budget", "psnr=20", "--budget", "psnr=20.0"], "--budget: psnr=20, psnr=20: one is there twice"),
        (["--budget", "psnr"], "--budget: 'psnr' is no distance"),
        (["--budget", "l2=22.17"], "psnr=20 is l2=22.17 at 128 px; or give --init content"),
        (["--size", "33"], "--size"),
        (["--start", "nowhere.keras"], "painter 'nowhere.keras': no such file"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, photos: Path, tmp_path: Path) -> None:
    words = ["train-painter", "--images", str(photos), "--out", str(tmp_path / "out"), *arguments]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_every_style_counts_in_the_validation_loss_in_every_ball(photos: Path) -> None:
    """Also if fewer crops are held out than there are styles in balls."""
    given = settings(photos, style=("marble", "waves", "woodcut"), budget=["psnr=26", ("psnr", 20)])
    assert given.budget == (Bound("psnr", 20.0), Bound("psnr", 26.0))
    assert settings(photos, budget=Bound("l2", 3.0)).budget == (Bound("l2", 3.0),)
    card, _ = painters._begun(given)
    material = painters._read(given, None, card, sorted(photos.iterdir()), lambda *_: None)
    assert (len(material.held), material.validated) == (1, 6)
