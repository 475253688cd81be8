"""Small coloured images that a network can learn to tell apart in seconds."""

from pathlib import Path

import numpy as np
import pytest

from artattack.inputs.images import save_png

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
