"""Styles by name, from files and joined; and the script that draws them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from artattack.errors import ArtattackError
from artattack.inputs.images import fit, read_image
from artattack.inputs.paths import data_dir
from artattack.inputs.styles import load_styles, style_class, style_names

NAMES = ("brushstrokes", "marble", "stained-glass", "stippling", "waves", "woodcut")


@pytest.fixture(scope="module")
def make_styles() -> ModuleType:
    script = data_dir() / "make_styles.py"
    spec = importlib.util.spec_from_file_location("make_styles", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(path: Path, value: int, height: int = 8, width: int = 8) -> Path:
    Image.new("RGB", (width, height), (value, value, value)).save(path)
    return path


def refused(name: str | Path, why: str) -> None:
    with pytest.raises(ArtattackError, match=why) as caught:
        load_styles(name, 8)
    assert "\n" not in str(caught.value)


def test_names():
    assert style_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_style_is_there_and_strong(name: str):
    image = read_image(data_dir() / "styles" / f"{name}.png")
    assert image.shape == (512, 512, 3)
    assert image.std() > 40  # strong tones
    # Alike in all its parts: a style is texture, so no quarter of it is empty.
    quarters = image.reshape(2, 256, 2, 256, 3).transpose(0, 2, 1, 3, 4).reshape(4, -1)
    assert quarters.std(axis=1).min() > 20


def test_a_style_comes_in_the_size_asked_for():
    style = load_styles("waves", (32, 48))
    assert style.shape == (1, 32, 48, 3)
    assert style.dtype == np.float32
    whole = read_image(data_dir() / "styles" / "waves.png")
    np.testing.assert_array_equal(style[0] * 255, fit(whole, (32, 48), crop=1.0))
    assert load_styles("waves", 512).shape == (1, 512, 512, 3)
    np.testing.assert_array_equal(load_styles("waves", 512)[0] * 255, whole)


def test_an_image_file_is_a_style(tmp_path: Path):
    path = plain(tmp_path / "grey.png", 51, 20, 30)
    np.testing.assert_allclose(load_styles(path, 8), np.full((1, 8, 8, 3), 0.2), rtol=1e-6)
    np.testing.assert_array_equal(load_styles(str(path), 8), load_styles(path, 8))


def test_styles_are_joined_in_order(tmp_path: Path):
    grey = plain(tmp_path / "grey.png", 51)
    blend = load_styles(f"marble+{grey} + waves", 16)
    assert blend.shape == (3, 16, 16, 3)
    for part, name in zip(blend, ("marble", grey, "waves"), strict=True):
        np.testing.assert_array_equal(part, load_styles(name, 16)[0])


def test_a_file_with_a_plus_in_its_name_is_one_style(tmp_path: Path):
    path = plain(tmp_path / "marble+waves.png", 255)
    np.testing.assert_array_equal(load_styles(path, 8), np.ones((1, 8, 8, 3)))


def test_a_bundled_name_wins_over_a_file_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain(tmp_path / "file.png", 51).rename(tmp_path / "marble")
    monkeypatch.chdir(tmp_path)
    assert load_styles("marble", 8).std() > 0.1
    assert np.ptp(load_styles("./marble", 8)) == 0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "marbel",
            r"unknown style 'marbel'; did you mean 'marble'\? \(valid: brushstrokes, .*, an image file, or SET:IMAGE\)",
        ),
        ("stained_glass", "did you mean 'stained-glass'"),
        ("waves+", r"unknown style '' \(valid: "),
        ("", r"unknown style '' \(valid: "),
        ("waves+wodcut", "unknown style 'wodcut'; did you mean 'woodcut'"),
        ("../styles/waves", "no such file"),
        ("absent.png", "absent.png: no such file"),
    ],
)
def test_no_such_style(name: str, why: str):
    refused(name, why)


def test_files_that_are_no_images(tmp_path: Path):
    (tmp_path / "text.png").write_text("no image")
    refused(tmp_path / "text.png", r"text\.png: not an image")
    refused(tmp_path, "a folder")


def test_the_script_draws_every_style(make_styles: ModuleType):
    assert tuple(sorted(make_styles.STYLES)) == NAMES


@pytest.mark.parametrize("name", ["stained-glass", "waves"])  # the quickest two
def test_the_script_draws_the_committed_styles(make_styles: ModuleType, tmp_path: Path, name: str):
    kept = data_dir() / "styles" / f"{name}.png"
    drawn = make_styles.draw_style(name, tmp_path)
    if drawn.read_bytes() != kept.read_bytes():
        # Another processor or library may round a sine differently: a few pixels by a shade, no more.
        difference = np.abs(read_image(drawn).astype(int) - read_image(kept))
        assert difference.mean() < 0.5


def test_an_image_of_an_image_set_is_a_style_with_a_class(tmp_path: Path):
    plain(tmp_path / "n01440764_tench.png", 200)
    name = f"{tmp_path}:n01440764_tench"
    assert load_styles(name, 8) == pytest.approx(200 / 255)
    assert style_class(name) == 0
    assert style_class("samples:imagenet_00_243") == 243
    assert load_styles(f"waves+{name}", 8).shape == (2, 8, 8, 3)
    for other in ("waves", "waves+marble", str(plain(tmp_path / "a.png", 3)), f"waves+{name}"):
        assert style_class(other) is None
    refused("samples:imagenet_00_24", "no image 'imagenet_00_24' in image set 'samples'")
    refused("simples:imagenet_00_243", "unknown image set 'simples'")
