"""Small coloured images that a network can learn to tell apart in seconds, and a network to harden."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artattack.attacks.painter_card import PainterCard, PainterStyle
from artattack.bound import Bound
from artattack.inputs.images import save_png
from artattack.models import load_model
from artattack.training.card_writing import write_painter_card
from artattack.training.harden import HardenSettings

COLOURS = {"blue": (40, 60, 200), "green": (40, 200, 60), "red": (200, 50, 40)}


def draw(folder: Path, count: int, side: int = 16) -> Path:
    """Write `count` noisy images of each colour, a subfolder for each."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for number in range(count):
            noise = rng.integers(-40, 41, (side, side, 3))
            image = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            save_png(folder / name / f"{number:02}.png", image)
    return folder


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("data") / "coloured", 20)


class Case:
    """Classifiers of mean colours, photos of two colours, and paint that moves blue."""

    side = 16
    # Logits are a linear map of an image's mean colour: red speaks for class 0, green for class 1, and blue, which all
    # photos have alike, against both.
    weights = np.array([[9.0, -9.0, 0.0], [-9.0, 9.0, 0.0], [-12.0, -12.0, 24.0]])

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paint = Tint()

    def network(self) -> Any:
        """Return the classifier as a Keras model."""
        import tf_keras  # here, so that collecting tests does not load TensorFlow

        image = tf_keras.Input((self.side, self.side, 3))
        pooled = tf_keras.layers.GlobalAveragePooling2D()(image)
        made = tf_keras.Model(image, tf_keras.layers.Dense(3)(pooled))
        made.layers[-1].set_weights([self.weights, np.array([0.0, 0.0, -14.0])])
        made.save(self.folder / "colours.keras")
        return load_model(self.folder / "colours.keras", preprocessing="unit")

    def painter(self) -> Path:
        """Return the file of an untrained painter of the styles `more` and `less`."""
        from artattack.attacks.painter_network import build_network
        from artattack.training.networks import save_network

        path = self.folder / "painter.keras"
        save_network(build_network(2, filters=(4, 8), blocks=1), path)
        card = PainterCard(
            title="two styles",
            styles=(PainterStyle(name="more"), PainterStyle(name="less")),
            backbone="quicknet_tiny",
            balls=(Bound("psnr", 20.0),),
            decay=1.0,
            lowest=1 / 32,
        )
        write_painter_card(card, path)
        return path

    def settings(self, count: int = 20, **options: Any) -> HardenSettings:
        """Return settings for so many photos."""
        images = self.folder / "photos"
        if not images.exists():
            images.mkdir()
            for number in range(count):
                red = 60 + 130 * (number % 2)
                colour = np.array([red, 250 - red, 102], np.uint8)
                save_png(images / f"{number:02}.png", np.full((self.side, self.side, 3), colour))
        given = {"crops": 1, "epochs": 1, "batch": 8, "held_out": 0.2, "distances": (3.2, 3.2)} | options
        return HardenSettings(model="colours", images=str(images), **given)


class Tint:
    """A painter whose styles move the blue of all pixels alike, up or, in style `less`, down."""

    styles = ("more", "less")

    def __call__(self, x: np.ndarray, styles: Sequence[str]) -> np.ndarray:
        signs = np.array([1.0 if name == "more" else -1.0 for name in styles], np.float32)
        return np.asarray(x + 0.01 * signs[:, None, None, None] * np.array([0, 0, 1], np.float32))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)
