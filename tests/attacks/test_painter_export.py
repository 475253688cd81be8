"""A painter's TFLite file paints as the painter does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from artattack import cli
from artattack.attacks.painter_card import PainterCard, PainterFile, PainterStyle
from artattack.attacks.painter_export import export_painter
from artattack.attacks.painter_network import Painter, build_network
from artattack.bound import Bound
from artattack.errors import ArtattackError
from artattack.inputs.images import save_png
from artattack.training.card_writing import write_painter_card
from artattack.training.networks import save_network

pytestmark = pytest.mark.slow

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> PainterFile:
    return painter("style", tmp_path_factory.mktemp("painter") / "painter.keras")


def painter(init: str, path: Path) -> PainterFile:
    """Return a painter of two styles in two balls, with lively random parameters."""
    network, rng = build_network(4, filters=(4, 8), blocks=1), RNG(0)
    for layer in network.layers:
        layer.set_weights([values + rng.normal(0, 0.2, values.shape) for values in layer.get_weights()])
    save_network(network, path)
    given: dict[str, Any] = {
        "backbone": "quicknet_tiny",
        "balls": (Bound("psnr", 20.0), Bound("psnr", 26.0)),
        "decay": 1.5,
        "lowest": 1 / 32,
    }
    given |= {"init": init, "reach": 0.7 if init == "style" else None}
    card = PainterCard(title="two", styles=(PainterStyle(name="one"), PainterStyle(name="two")), **given)
    write_painter_card(card, path)
    save_png(path.with_suffix(".png"), RNG(5).integers(0, 256, (224, 448, 3), np.uint8))
    return PainterFile(path)


def run(path: Path, image: np.ndarray) -> np.ndarray:
    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize(
    ("init", "style", "size", "psnr"),
    [("content", "one", (32, 48), None), ("style", "two", (20, 36), 24), ("style", "one+two", (32, 32), 26)],
)
def test_the_file_paints_as_the_painter_does(
    init: str, style: str, size: tuple[int, int], psnr: float | None, tmp_path: Path
) -> None:
    file = painter(init, tmp_path / "painter.keras")
    x = RNG(1).uniform(0.2, 0.8, (1, *size, 3)).astype(np.float32)
    budget = None if psnr is None else Bound("psnr", psnr)
    expected = Painter(file).paint(x, file.mix(style), budget)
    edge = 10 ** (-(psnr or 20) / 20)  # paint that can be compared
    assert np.sqrt(np.mean((expected - x) ** 2)) == pytest.approx(edge, rel=1e-3)
    size_of_file = export_painter(file, style, size, tmp_path / "painter.tflite", budget)
    assert size_of_file == (tmp_path / "painter.tflite").stat().st_size
    np.testing.assert_allclose(run(tmp_path / "painter.tflite", x[0]), expected[0], atol=2e-4)


def test_the_command_writes_it_and_bad_input_is_one_line(file: PainterFile, tmp_path: Path) -> None:
    out = tmp_path / "one.tflite"
    words = ["export-model", str(file.path), str(out), "--to", "tflite", "--style", "one", "--size", "32x48"]
    words += ["--budget", "psnr=26"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    assert f"({out.stat().st_size} bytes)" in done.stdout
    for changed, message in (
        ({"--style": "waves"}, "has not learnt the style 'waves'"),
        ({"--size": "33x48"}, "multiples of 4"),
        ({"--size": "big"}, "--size: a number of pixels from 32 on"),
        ({"--to": "onnx"}, "unknown format 'onnx'"),
        ({"--budget": "ssim=0.8"}, "ssim=0.8: no ball; give one in linf, l2, psnr"),
    ):
        wrong = list(words)
        for option, value in changed.items():
            wrong[wrong.index(option) + 1] = value
        done = CliRunner().invoke(cli.app, wrong)
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_sizes_below_sixteen_are_refused(file: PainterFile, tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match="size 12x16: a painter's file takes sides from 16 on"):
        export_painter(file, "one", (12, 16), tmp_path / "small.tflite")
