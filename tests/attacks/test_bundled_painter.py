"""The bundled painter: its file, its card, and that it paints."""

from pathlib import Path

import numpy as np
import pytest

from artattack import load_run, run_benchmark
from artattack.attacks.painter import PainterAttack
from artattack.attacks.painter_card import BUNDLED, PainterFile
from artattack.distances import psnr
from artattack.files import sha256_file
from artattack.inputs.image_sets import load_images
from artattack.inputs.styles import load_styles, style_files, style_names
from artattack.models import load_model
from artattack.models.estimator import to_estimator

pytestmark = pytest.mark.usefixtures("models_load_once", "eager")

SIZE = 128


def test_it_is_small_and_has_the_styles_of_the_package() -> None:
    file = PainterFile(BUNDLED)
    assert sum(path.stat().st_size for path in file.files) < 2e6
    assert file.card.names == style_names()
    for style in file.card.styles:
        assert style.sha256 == tuple(map(sha256_file, style_files(style.name)))
    styles = file.read_styles()
    assert styles is not None
    np.testing.assert_array_equal(styles, [load_styles(name, 224)[0] for name in file.card.names])
    assert file.card.facts["images_trained_on"] > 200
    assert "samples" not in file.card.facts["data"]  # the photos that measure it


@pytest.mark.slow
def test_a_run_names_its_file_the_same_on_every_machine(tmp_path: Path) -> None:
    run_benchmark(
        {
            "attacks": [{"attack": "painter", "style": "waves"}],
            "images": {"size": 64, "limit": 1},
            "classifiers": ["quicknet_tiny"],
            "style_judges": ["quicknet_tiny"],
            "feature_model": "quicknet_tiny",
        },
        out=tmp_path,
    )
    files = load_run(tmp_path).info["config"]["files"]
    parts = {path.name: path for path in PainterFile(BUNDLED).files}
    assert set(parts) == {"painter.keras", "painter.json", "painter.png"}
    assert files == {f"artattack/models/weights/{name}": sha256_file(path) for name, path in parts.items()}


def test_it_paints_in_every_style_on_the_edge_of_its_ball() -> None:
    backbone, card = load_model("quicknet_distilled"), PainterFile(BUNDLED).card
    assert card.backbone_sha256 == backbone.weights_sha256
    attack = PainterAttack(to_estimator(backbone, input_shape=(SIZE, SIZE, 3)))
    x = load_images("samples", size=SIZE, limit=2).x
    shares = []
    for style in card.names:
        attack.set_params(style=style)
        painted = attack.generate(x)
        assert psnr(x, painted) == pytest.approx([20, 20], abs=0.01)
        before, after = attack.style_distance(x), attack.style_distance(painted)
        assert (after < (0.85 if style == "woodcut" else 0.8) * before).all(), style
        shares.append((after / before).mean())
        together = attack.distances_before(x, card.names)[:, card.names.index(style)]
        np.testing.assert_allclose(together, before, rtol=1e-6)
        assert np.array_equal(painted, attack.generate(x))
    assert np.mean(shares) < 0.6
