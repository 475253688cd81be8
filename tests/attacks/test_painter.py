"""Painters: the pieces of their network against closed forms, their ball, their styles, and their entry in a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from typer.testing import CliRunner

from artattack.attacks import painter_card
from artattack.attacks.entries import Reading
from artattack.attacks.painter import PainterAttack
from artattack.attacks.painter_card import PainterCard, PainterFile, PainterStyle
from artattack.attacks.painter_entry import PainterEntry
from artattack.attacks.painter_network import (
    Painter,
    blended,
    build_network,
    conditional_normalization,
    mirrored,
    painted,
    style_layers,
    with_rows,
    without_grid,
)
from artattack.attacks.parametrization import Smoothing
from artattack.attacks.rounding import round_within
from artattack.bound import Bound
from artattack.cli import app
from artattack.config import load_benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.files import sha256_file
from artattack.inputs.images import as_measured, quantize, read_image, save_png, to_uint8
from artattack.inputs.styles import load_styles, style_files
from artattack.models.estimator import ArtEstimator
from artattack.runtime import load_tensorflow
from artattack.training.card_writing import write_painter_card
from artattack.training.networks import save_network

pytestmark = pytest.mark.usefixtures("models_load_once", "eager")

STYLES = ("marble", "waves")
RNG = np.random.default_rng
CARD = PainterCard(
    title="small",
    styles=(PainterStyle(name="a"), PainterStyle(name="b")),
    backbone="quicknet_tiny",
    balls=(Bound("psnr", 20.0),),
    decay=1.5,
    lowest=1 / 64,
)


def network(rows: int = 2) -> Any:
    """Return a small painter's network with lively random parameters."""
    made, rng = build_network(rows, filters=(4, 8), blocks=1), RNG(0)
    for layer in made.layers:
        layer.set_weights([v + rng.normal(0.0, 0.2, v.shape) for v in layer.get_weights()])
    return made


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A painter of two bundled styles, through quicknet_tiny."""
    return written(tmp_path_factory.mktemp("painter") / "small.keras", network())


@pytest.fixture(scope="module")
def blending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same painter, which starts from images blended with the style."""
    return written(tmp_path_factory.mktemp("blending") / "small.keras", network(), init="style")


def written(path: Path, net: Any, **card: Any) -> Path:
    """Write a painter of two bundled styles, through quicknet_tiny."""
    save_network(net, path)
    learnt = [PainterStyle(name=name, sha256=tuple(map(sha256_file, style_files(name)))) for name in STYLES]
    write_painter_card(CARD.model_copy(update={"styles": tuple(learnt), **card}), path)
    save_png(path.with_suffix(".png"), to_uint8(np.concatenate([load_styles(name, 224)[0] for name in STYLES], 1)))
    return path


def pictures(count: int, height: int, width: int) -> np.ndarray:
    return quantize(RNG(1).uniform(0.1, 0.9, (count, height, width, 3)).astype(np.float32))


# ---- the pieces


def test_a_painter_of_an_earlier_version_paints_and_takes_more_styles(tmp_path: Path) -> None:
    """Its last layer has three channels at half the resolution, which are enlarged."""
    new = network()
    layers, half = tf_keras.layers, new.get_layer("up_norm_relu").output
    rough = layers.Conv2D(3, 3, padding="same", use_bias=False, name="change")(half)
    old = tf_keras.Model(new.inputs, layers.UpSampling2D(2, interpolation="nearest", name="change_up")(rough))
    file = PainterFile(written(tmp_path / "old.keras", old))
    x = RNG(1).uniform(0.2, 0.8, (1, 32, 36, 3)).astype(np.float32)
    painted_by_file = Painter(file).paint(x, file.mix("waves"))
    assert abs(painted_by_file - x).max() > 0.01
    changes = [
        made([x, mix]).numpy()
        for made, mix in (
            (old, np.float32([[0, 1]])),
            (with_rows(Painter(file).network, np.eye(3, 2, dtype=np.float32)), np.float32([[0, 1, 0]])),
        )
    ]
    np.testing.assert_array_equal(*changes)


def test_all_layers_of_a_painter_with_more_styles_can_be_trained() -> None:
    """Also if that painter was trained in its styles' parameters alone."""
    once = network()
    for layer in once.layers:
        layer.trainable = layer in style_layers(once)
    more = with_rows(once, np.eye(3, 2, dtype=np.float32))
    assert len(more.trainable_variables) == len(more.variables) > len(once.trainable_variables)


def test_the_change_has_a_kernel_for_each_of_four_neighbours() -> None:
    """Channels 3 k to 3 k + 2 of the half-resolution map become the colours of pixel k of each 2 x 2 square."""
    made = network()
    joined = tf_keras.Model(made.inputs, made.get_layer("change_joined").output)
    x, mix = RNG(1).uniform(0, 1, (1, 32, 36, 3)).astype(np.float32), np.float32([[1, 0]])
    padded = np.pad(joined([x, mix]).numpy(), ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    (kernel,) = made.get_layer("change").get_weights()
    expected = np.zeros_like(x)
    for row, column in np.ndindex(32, 36):
        part = padded[0, row // 2 : row // 2 + 3, column // 2 : column // 2 + 3]
        of_pixel = kernel[..., 3 * (2 * (row % 2) + column % 2) :][..., :3]
        expected[0, row, column] = np.tensordot(part, of_pixel, 3)
    found = made([x, mix]).numpy()
    np.testing.assert_allclose(found, without_the_grid_around(expected), rtol=1e-4, atol=1e-4)


def without_the_grid_around(change: np.ndarray) -> np.ndarray:
    """Change (1, H, W, 3) less, at each pixel, the mean of the 3 x 3 nearest pixels of its place, plus their colour."""
    height, width = change.shape[1] // 4, change.shape[2] // 4
    result = np.zeros_like(change)
    for row, column in np.ndindex(height, width):
        rows, columns = (
            [abs(k) if k < n else 2 * n - 2 - k for k in range(at - 1, at + 2)]
            for at, n in ((row, height), (column, width))
        )
        near = np.stack([change[0, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] for i in rows for j in columns])
        own = change[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        result[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = own - near.mean(0) + near.mean((0, 1, 2))
    return result


def test_the_grid_of_the_stride_goes_and_colours_stay() -> None:
    rng = RNG(0)
    noise = rng.normal(size=(1, 32, 36, 3))
    found = without_grid(tf.constant(noise, tf.float32)).numpy()
    np.testing.assert_allclose(found, without_the_grid_around(noise), atol=1e-5)
    grid = np.tile(rng.normal(size=(1, 4, 4, 3)), (1, 8, 9, 1))
    found = without_grid(tf.constant(grid, tf.float32)).numpy()
    np.testing.assert_allclose(found, np.broadcast_to(grid.mean((1, 2), keepdims=True), grid.shape), atol=1e-5)


def test_the_last_layer_sees_every_pixel_of_the_image() -> None:
    made = network()
    joined = tf_keras.Model(made.inputs, made.get_layer("change_joined").output)
    x = RNG(1).uniform(0, 1, (1, 32, 36, 3)).astype(np.float32)
    seen = joined([x, np.float32([[1, 0]])]).numpy()[0, ..., -12:]
    squares = x[0].reshape(16, 2, 18, 2, 3).transpose(0, 2, 1, 3, 4).reshape(16, 18, 12)
    np.testing.assert_allclose(seen, 2 * squares - 1, atol=1e-6)


def test_conditional_normalization_and_its_gradient_are_the_closed_forms() -> None:
    image, mix = tf_keras.Input((None, None, 3)), tf_keras.Input((2,))
    layer = tf_keras.Model([image, mix], conditional_normalization(image, mix, "norm"))
    rng = RNG(0)
    gamma, beta = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32)
    layer.get_layer("norm_scale").set_weights([gamma])
    layer.get_layer("norm_offset").set_weights([beta])
    x = rng.normal(2.0, 3.0, (2, 5, 4, 3)).astype(np.float32)
    weights = np.array([[0.0, 1.0], [0.25, 0.75]], np.float32)
    upstream = rng.normal(size=x.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        seen = tf.Variable(x)
        z = layer([seen, tf.constant(weights)])
        loss = tf.reduce_sum(z * upstream)
    slope = (weights @ gamma)[:, None, None]
    deviation = np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    unit = (x - x.mean((1, 2), keepdims=True)) / deviation
    assert z.numpy() == pytest.approx(slope * unit + (weights @ beta)[:, None, None], abs=1e-4)
    along = (upstream * unit).mean((1, 2), keepdims=True)
    gradient = slope / deviation * (upstream - upstream.mean((1, 2), keepdims=True) - unit * along)
    assert tape.gradient(loss, seen).numpy() == pytest.approx(gradient, abs=1e-4)


@pytest.mark.parametrize("size", [(17, 30), (8, 5), (64, 64)])
def test_smoothing_is_numpys_filter_of_the_whole_spectrum(size: tuple[int, int]) -> None:
    change = RNG(0).normal(size=(2, *size, 3)).astype(np.float32)
    down, right = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij")
    axis = np.fft.fftfreq(256)
    power = np.mean([np.maximum(np.hypot(axis, f), 0.1) ** -3.0 for f in axis])
    gain = np.maximum(np.sqrt(down**2 + right**2), 0.1) ** -1.5 / np.sqrt(power)
    smooth = np.fft.ifft2(np.fft.fft2(change, axes=(1, 2)) * gain[None, :, :, None], axes=(1, 2)).real
    colours = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    expected = smooth @ (colours / np.sqrt((colours**2).sum() / 3)).T
    assert Smoothing(*size, 1.5, 0.1)(tf.constant(change)).numpy() == pytest.approx(expected, abs=1e-4)


def test_smoothing_keeps_the_size_of_noise_and_spreads_a_dot_alike_in_every_image() -> None:
    noise = RNG(0).normal(size=(1, 256, 256, 3)).astype(np.float32)
    assert Smoothing(256, 256, 1.5, 1 / 16)(tf.constant(noise)).numpy().std() == pytest.approx(1.0, rel=0.05)
    dots = []
    for side in (128, 192):
        dot = np.zeros((1, side, side, 3), np.float32)
        dot[0, 64, 64, 0] = 1.0
        dots.append(Smoothing(side, side, 1.5, 1 / 16)(tf.constant(dot)).numpy()[0, 56:72, 56:72])
    # the larger image has more room for the tail; the border is periodic
    assert dots[0] == pytest.approx(dots[1], abs=0.02 * dots[1].max())


def test_painting_is_differentiable_inside_the_ball() -> None:
    rng = RNG(2)
    x, change = pictures(1, 8, 8), tf.Variable(0.01 * rng.normal(size=(1, 8, 8, 3)).astype(np.float32))
    smoothing, ball = Smoothing(8, 8, 1.5, 1 / 8), Bound("psnr", 45.0)  # nearer than the change: it is scaled
    along = rng.normal(size=change.shape).astype(np.float32)
    weights = rng.normal(size=x.shape).astype(np.float32)

    def loss(step: float) -> float:
        made = painted(
            tf.constant(x), tf.constant(x), smoothing(change + step * along), None, CARD.budget, ball
        ).numpy()
        return float((made.astype(np.float64) * weights).sum())

    with tf.GradientTape() as tape:
        made = painted(tf.constant(x), tf.constant(x), smoothing(change), None, CARD.budget, ball)
        value = tf.reduce_sum(made * weights)
    slope = float((tape.gradient(value, change).numpy() * along).sum())
    assert abs(slope) > 0.1
    assert slope == pytest.approx((loss(1e-3) - loss(-1e-3)) / 2e-3, rel=0.02)


# ---- painting


@pytest.mark.parametrize("size", [(17, 30), (4, 5), (1, 1), (33, 16), (20, 24)])
@pytest.mark.parametrize("text", ["psnr=20", "psnr=30", "l2=0.4", "linf=4/255"])
def test_paintings_of_any_size_keep_the_ball_on_the_8_bit_grid(file: Path, size: tuple[int, int], text: str) -> None:
    x, ball = pictures(2, *size), Bound.parse(text)
    made = Painter(PainterFile(file)).paint(x, np.array([0.0, 1.0]), ball)
    assert made.shape == x.shape
    assert made.min() >= 0
    assert made.max() <= 1
    files = round_within(x, made, ball)
    assert ball.contains(x, files).all()
    assert np.array_equal(quantize(files), files)
    if size != (1, 1):
        assert (files != x).any((1, 2, 3)).all()


@pytest.mark.parametrize("size", [(7, 12), (12, 7), (4, 3), (10, 26)])
def test_a_style_is_continued_by_its_mirror_images(size: tuple[int, int]) -> None:
    style = pictures(2, 5, 5)
    longer = np.pad(style, [(0, 0), (0, 30), (0, 30), (0, 0)], "symmetric")
    assert np.array_equal(mirrored(style, *size), longer[:, : size[0], : size[1]])


@pytest.mark.parametrize("size", [(224, 224), (30, 250)])
def test_a_painter_that_changes_nothing_leaves_the_blend_with_the_style(size: tuple[int, int], tmp_path: Path) -> None:
    """On the way from the image to the style, the blend is at the root mean square of 20 dB, a tenth."""
    net, x = network(), pictures(2, *size)
    net.get_layer("change").set_weights([0 * v for v in net.get_layer("change").get_weights()])
    painter = Painter(PainterFile(written(tmp_path / "small.keras", net, init="style")))
    styles = [np.pad(load_styles(name, 224)[0], [(0, 26), (0, 26), (0, 0)], "symmetric") for name in STYLES]
    marble, waves = (style[: size[0], : size[1]] for style in styles)
    for mix, style in (([0, 1], waves), ([0.5, 0.5], (marble + waves) / 2)):
        change = style - x
        farthest = np.sqrt(np.square(change).mean((1, 2, 3), keepdims=True))
        assert painter.paint(x, np.array(mix)) == pytest.approx(x + 0.1 * change / farthest, abs=1e-5)


@pytest.mark.parametrize("text", ["l2=0.5", "psnr=30", "linf=0.02"])
def test_the_network_changes_the_initial_image_within_its_reach(text: str) -> None:
    rng, ball = RNG(3), Bound.parse(text)
    x = pictures(2, 10, 12)
    first, change = x + np.float32(0.001), rng.normal(0, 0.1, x.shape).astype(np.float32)
    made = painted(tf.constant(x), tf.constant(first), tf.constant(change), 0.5, ball, Bound("linf", 1.0))
    moved = made.numpy() - first
    if ball.distance == "linf":
        expected = np.clip(change, -0.01, 0.01)
    else:
        length = 0.25 if ball.distance == "l2" else 0.5 * 10 ** (-30 / 20) * np.sqrt(10 * 12 * 3)
        expected = change * length / np.sqrt(np.square(change).sum((1, 2, 3), keepdims=True))
    assert moved == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("init", ["content", "style"])
def test_a_painter_of_several_balls_mixes_them_in_between(init: str, tmp_path: Path) -> None:
    """24 dB is a third from 26 to 20 dB: a third of the rows for 20 dB; smaller balls than 26 dB are scaled to."""
    path = written(tmp_path / "both.keras", network(4), init=init, balls=(Bound("psnr", 20.0), Bound("psnr", 26.0)))
    painter, x, mix = Painter(PainterFile(path)), pictures(2, 32, 36), np.float32([0.25, 0.75])
    for text, level, weights in (
        ("psnr=20", 20.0, (1, 0)),
        ("psnr=26", 26.0, (0, 1)),
        ("psnr=24", 24.0, (1 / 3, 2 / 3)),
        (f"l2={10 ** (-24 / 20) * np.sqrt(32 * 36 * 3)}", 24.0, (1 / 3, 2 / 3)),
        ("psnr=12", 20.0, (1, 0)),
        ("psnr=40", 26.0, (0, 1)),
        ("linf=4/255", 20.0, (1, 0)),
    ):
        budget, ball = Bound.parse(text), Bound("psnr", level)
        first = tf.constant(x)
        if init == "style":
            first = blended(first, tf.constant(painter.mixed(np.tile(mix, (2, 1)), 32, 36)), ball)
        rows = np.float32([[0.25 * weights[0], 0.25 * weights[1], 0.75 * weights[0], 0.75 * weights[1]]] * 2)
        made = painted(
            tf.constant(x), first, painter.smoothing(32, 36)(painter.network([first, rows])), None, ball, budget
        )
        assert painter.paint(x, mix, budget) == pytest.approx(made.numpy(), abs=1e-5)
    assert np.array_equal(painter.paint(x, mix), painter.paint(x, mix, Bound("psnr", 20.0)))


@pytest.mark.parametrize(
    ("balls", "message"),
    [
        (["psnr=20", "linf=0.1"], "psnr=20, linf=0.1: several balls have to be in psnr"),
        (["psnr=26", "psnr=26"], "psnr=26, psnr=26: one is there twice"),
        (["ssim=0.8"], "ssim=0.8: no ball; give one in linf, l2, psnr"),
        ([], "balls: at least one is wanted"),
    ],
)
def test_a_card_with_other_balls_is_refused(balls: list[str], message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "both.keras", network(4), balls=tuple(map(Bound.parse, balls)))
    with pytest.raises(ArtattackError, match=message):
        PainterFile(path)


def test_a_card_gives_its_balls_from_large_to_small_and_may_have_one(tmp_path: Path) -> None:
    """Cards of earlier versions have the key `budget`, with one ball."""
    both = written(tmp_path / "both.keras", network(4), balls=(Bound("psnr", 26.0), Bound("psnr", 20.0)))
    card = PainterFile(both).card
    assert [*map(str, card.balls), str(card.budget)] == ["psnr=20", "psnr=26", "psnr=20"]
    path = written(tmp_path / "one.keras", network(2))
    text = path.with_suffix(".json").read_text()
    earlier = json.loads(text) | {"budget": ["psnr", 25.0]}
    del earlier["balls"]
    path.with_suffix(".json").write_text(json.dumps(earlier))
    assert PainterFile(path).card.balls == (Bound("psnr", 25.0),)
    with pytest.raises(ArtattackError, match="for the 2 styles x 1 balls of its card"):
        Painter(PainterFile(shutil.copy(both, path)))


def test_a_painting_begins_with_the_blend_in_every_ball(blending: Path) -> None:
    painter, x, mix = Painter(PainterFile(blending)), pictures(2, 32, 36), np.float32([[0, 1], [0.5, 0.5]])
    first = blended(tf.constant(x), tf.constant(painter.mixed(mix, 32, 36)), painter.card.budget).numpy()
    smoothed = painter.smoothing(32, 36)(painter.network([first, mix]))
    for text in ("psnr=20", "psnr=30", "linf=4/255"):
        ball = Bound.parse(text)
        made = painted(tf.constant(x), tf.constant(first), smoothed, None, painter.card.budget, ball).numpy()
        assert painter.paint(x, mix, ball) == pytest.approx(made, abs=1e-5)
        assert ball.contains(x, round_within(x, made, ball)).all()


def test_a_painter_without_its_picture_of_styles_is_one_line(blending: Path, tmp_path: Path) -> None:
    for path in blending.parent.iterdir():
        shutil.copy(path, tmp_path)
    save_png(tmp_path / "small.png", np.zeros((224, 224, 3), np.uint8))
    with pytest.raises(ArtattackError, match=r"small\.png has 224x224 px instead of 448x224"):
        Painter(PainterFile(tmp_path / "small.keras"))
    (tmp_path / "small.png").unlink()
    with pytest.raises(ArtattackError, match=r"its styles: .*small\.png"):
        make_plan(parse_benchmark({"attacks": [{"attack": "painter", "painter": str(tmp_path / "small.keras")}]}))


def test_a_painting_depends_on_the_card_and_the_picture(file: Path, blending: Path) -> None:
    """So the cache and the run's hashes count them."""
    names = {
        path: [Path(word).name for word in PainterEntry(attack="painter", painter=str(path), style=("waves",)).paths()]
        for path in (file, blending)
    }
    assert list(names.values()) == [["small.keras", "small.json"], ["small.keras", "small.json", "small.png"]]


def test_the_change_of_a_psnr_ball_reaches_its_edge(file: Path) -> None:
    x = pictures(1, 32, 32)
    made = Painter(PainterFile(file)).paint(x, np.array([1.0, 0.0]))  # the ball of the card: 20 dB
    mean_square = np.square(as_measured(made) - as_measured(x)).mean()
    assert -10 * np.log10(mean_square) == pytest.approx(20.0, abs=0.2)


def test_an_image_depends_neither_on_its_neighbours_nor_on_the_batch(file: Path) -> None:
    painter, x, mix = Painter(PainterFile(file)), pictures(3, 20, 24), np.array([0.0, 1.0])
    together = painter.paint(x, mix)
    apart = np.concatenate([painter.paint(x[i : i + 1], mix) for i in range(3)])
    assert together == pytest.approx(apart, abs=1e-5)
    assert painter.paint(x, mix, batch_size=2) == pytest.approx(together, abs=1e-5)
    assert painter.paint(x[:0], mix).shape == (0, 20, 24, 3)


def test_a_large_image_is_painted_like_its_middle(file: Path) -> None:
    """The change of an inner part is that of the whole: the network is convolutional, the filter has one size."""
    tile = pictures(1, 32, 32)
    net, mix = network(), tf.constant([[0.0, 1.0]])
    small, large = (net([tf.constant(np.tile(tile, (1, n, n, 1))), mix]).numpy()[0, 64:96, 64:96] for n in (5, 7))
    assert large == pytest.approx(small, abs=0.1 * np.abs(small).max())


def test_the_file_opens_without_artattack_s_layers(file: Path) -> None:
    opened, x = tf_keras.models.load_model(file, compile=False, safe_mode=True), pictures(1, 16, 20)
    mix = tf.constant([[1.0, 0.0]])
    assert {type(layer).__module__.partition(".")[0] for layer in opened.layers} == {"tf_keras"}
    ours = Painter(PainterFile(file)).network
    assert np.array_equal(opened([tf.constant(x), mix]).numpy(), ours([tf.constant(x), mix]).numpy())


def test_added_styles_leave_the_others_bit_for_bit() -> None:
    old = network()
    mixes = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)
    new, x = with_rows(old, mixes), tf.constant(pictures(1, 16, 16))
    for place in range(2):
        before = old([x, tf.one_hot([place], 2)]).numpy()
        assert np.array_equal(new([x, tf.one_hot([place], 3)]).numpy(), before)
    middle = old([x, tf.constant([[0.5, 0.5]])]).numpy()
    assert new([x, tf.one_hot([2], 3)]).numpy() == pytest.approx(middle, abs=1e-5)


# ---- styles, and files that are no painters


def test_a_style_is_found_by_its_image(file: Path, tmp_path: Path) -> None:
    painter = PainterFile(file)
    copy = tmp_path / "anything.png"
    shutil.copyfile(style_files("waves")[0], copy)
    assert painter.mix("waves").tolist() == painter.mix(str(copy)).tolist() == [0.0, 1.0]
    assert painter.mix("marble+waves").tolist() == [0.5, 0.5]
    other = tmp_path / "waves.png"  # the same name, another image
    save_png(other, np.zeros((8, 8, 3), np.uint8))
    for word in ("woodcut", str(other), "waves+woodcut"):
        with pytest.raises(ArtattackError, match=r"has not learnt the style .*it has: marble, waves"):
            painter.mix(word)


def test_what_is_no_painter_is_said_in_one_line(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match="no such file; `artattack train-painter` writes one"):
        PainterFile(tmp_path / "nothing.keras")
    alone = tmp_path / "alone.keras"
    shutil.copyfile(file, alone)
    with pytest.raises(ArtattackError, match=r"its card .*alone\.json cannot be read"):
        PainterFile(alone)
    (tmp_path / "alone.json").write_text('{"title": "a network", "preprocessing": "tf"}')
    with pytest.raises(ArtattackError, match="not a painter's card"):
        PainterFile(alone)
    told = json.loads(file.with_suffix(".json").read_bytes())
    alone.with_suffix(".json").write_text(json.dumps(told | {"styles": told["styles"][:1]}))
    with pytest.raises(ArtattackError, match="not a painter's network for the 1 styles x 1 balls of its card"):
        Painter(PainterFile(alone))


def test_without_a_bundled_painter_a_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painter_card, "_BUNDLED_FILE", tmp_path / "painter.keras")
    with pytest.raises(ArtattackError, match="no painter comes with this version of artattack; give a file"):
        make_plan(parse_benchmark({"attacks": [{"attack": "painter"}]}))


# ---- ART's contract


def test_parameters_can_be_read_and_set(file: Path, estimator: ArtEstimator) -> None:
    attack = PainterAttack(estimator, painter=file, style="marble")
    x = pictures(2, 24, 24)
    marble = attack.generate(x)
    assert marble.dtype == np.float32
    attack.set_params(style="waves", budget="l2=0.5")
    waves = attack.generate(x, np.zeros(2))
    assert np.sqrt(np.square(waves - x).sum((1, 2, 3))) == pytest.approx([0.5, 0.5], rel=1e-3)
    for wrong in ({"style": "woodcut"}, {"budget": "ssim=0.9"}, {"batch_size": 0}, {"painter": "nowhere.keras"}):
        with pytest.raises(ArtattackError):
            attack.set_params(**wrong)
    with pytest.raises(ArtattackError, match="eps: not a parameter of a painter"):
        attack.set_params(eps=1)
    assert np.array_equal(attack.generate(x), waves)  # as it was
    with pytest.raises(ArtattackError, match=r"images have shape \(N, H, W, 3\)"):
        attack.generate(x[0])
    assert {"painter", "style", "budget", "batch_size"} <= set(attack.attack_params)


# ---- in a run


def test_an_entry_has_read_what_the_training_read(file: Path) -> None:
    benchmark = parse_benchmark(
        {"attacks": [{"attack": "painter", "painter": str(file), "style": ["waves", "marble"]}]}
    )
    (entry,) = benchmark.attacks
    assert isinstance(entry, PainterEntry)
    assert entry.kind == "style"
    assert [v.label for v in entry.variants(())] == ["painter/waves/quicknet_tiny", "painter/marble/quicknet_tiny"]
    assert [v.reads for v in entry.variants(())] == [(Reading("quicknet_tiny", "features"),)] * 2
    assert entry.own_ball == Bound("psnr", 20.0)
    assert "quicknet_tiny" in benchmark.model_names()


def test_a_style_that_it_has_not_stops_a_plan(file: Path) -> None:
    entry = {"attack": "painter", "painter": str(file), "style": "woodcut"}
    with pytest.raises(ArtattackError, match=r"attacks\.0 \(painter\): .*it has: marble, waves"):
        make_plan(parse_benchmark({"attacks": [entry]}))


def test_a_benchmark_file_names_a_painter_beside_it_and_controls_of_its_style(file: Path, tmp_path: Path) -> None:
    for path in file.parent.glob("small.*"):
        shutil.copy(path, tmp_path)
    attacks = "[{attack: painter, painter: small.keras, style: waves}, {attack: blend, like: painter}]"
    (tmp_path / "mine.yaml").write_text(f"attacks: {attacks}\n")
    planned = make_plan(load_benchmark(tmp_path / "mine.yaml"))
    assert [variant.title for variant in planned.variants[1:]] == [
        "painter/waves/quicknet_tiny",
        "blend/waves as painter/waves/quicknet_tiny",
    ]


def test_models_of_the_training_beside_a_painter_are_found_in_its_folder(file: Path, tmp_path: Path) -> None:
    shutil.copyfile(file, tmp_path / "small.keras")
    shutil.copyfile(file, tmp_path / "mine.keras")
    told = json.loads(file.with_suffix(".json").read_bytes())
    told |= {"backbone": "mine.keras", "guides": ["mine.keras", "elsewhere.keras", "efficientnet_lite0"]}
    (tmp_path / "small.json").write_text(json.dumps(told))
    found, mine = PainterFile(tmp_path / "small.keras"), str(tmp_path / "mine.keras")
    assert (found.backbone, *found.guides) == (mine, mine, "elsewhere.keras", "efficientnet_lite0")


@pytest.mark.slow
def test_a_run_beside_the_style_attack_from_a_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "100MB")
    given = {
        "images": {"size": 48, "limit": 2},
        "classifiers": "quicknet_tiny",
        "feature_model": "quicknet_tiny",
        "style_judges": "quicknet_tiny",
        "attacks": [
            {"attack": "painter", "painter": str(file), "style": "waves"},
            {"attack": "style", "backbone": "quicknet_tiny", "style": "waves", "steps": 1},
            {"attack": "noise", "like": "painter"},
        ],
        "budgets": {"l2": 2},
    }
    records = run_benchmark(given, out=tmp_path / "run")
    assert records["error"].isna().all()
    rows = records[records["attack"] == "painter"]
    free = rows[rows["budget"].isna()]
    assert len(free) == 2
    assert (free["classifier_relation"] == "seen").all()  # the backbone is the classifier
    assert (free["eps_norm"] == "psnr").all()
    assert not rows["outside_eps"].astype(bool).any()
    at = rows[rows["budget"] == 2]
    assert at["l2"].between(1.98, 2.0 + 1e-9).all()
    assert free["style_distance_after"].notna().all()
    style = records[(records["attack"] == "style") & records["budget"].isna()]
    assert free["style_distance_before"].to_numpy() == pytest.approx(style["style_distance_before"].to_numpy())
    again = run_benchmark(given, out=tmp_path / "again")
    assert again[again["attack"] == "painter"]["from_cache"].all()
    saved = [read_image(tmp_path / name / free["file"].iloc[0]) for name in ("run", "again")]
    assert np.array_equal(*saved)


def test_other_weights_of_the_backbone_stop_a_run(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    shutil.copyfile(file, other)
    told = json.loads(file.with_suffix(".json").read_bytes())
    other.with_suffix(".json").write_text(json.dumps(told | {"backbone_sha256": "0" * 64}))
    given = {
        "images": {"size": 32, "limit": 1},
        "classifiers": "quicknet_tiny",
        "feature_model": "quicknet_tiny",
        "style_judges": "quicknet_tiny",
        "attacks": [{"attack": "painter", "painter": str(other), "style": "waves"}],
    }
    with pytest.raises(ArtattackError, match="with other weights than this run's"):
        run_benchmark(given, out=tmp_path / "run")


def test_a_whole_photo_in_one_pass(file: Path, tmp_path: Path) -> None:
    load_tensorflow()  # which keeps the error stream it finds
    photo, out = tmp_path / "photo.png", tmp_path / "painted.png"
    save_png(photo, RNG(0).integers(60, 200, (37, 50, 3)).astype(np.uint8))
    words = ["attack", photo, "-s", "waves", "-o", out, "-c", "quicknet_tiny", "--painter", file]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    before, after = read_image(photo), read_image(out)
    assert after.shape == (37, 50, 3)
    assert Bound("psnr", 20.0).contains(before[None] / np.float32(255), after[None] / np.float32(255)).all()
    for further, message in (
        (["--steps", "3"], "--steps: not with a painter"),
        (["--backbone", "quicknet"], "--backbone: not with a painter"),
        (["--tile", "32"], "--tile: not with a painter"),
    ):
        done = CliRunner().invoke(app, [*map(str, words), *further])
        assert done.exit_code == 2
        assert message in done.stderr
