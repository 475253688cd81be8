"""One painted photo, and the picture of both photos with the classifiers' predictions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw
from typer.testing import CliRunner

from artattack.cli import app
from artattack.inputs.images import read_image, save_png
from artattack.photo.attack import Painted
from artattack.photo.side_by_side import View, draw_side_by_side
from artattack.runtime import load_tensorflow

pytestmark = pytest.mark.usefixtures("models_load_once", "eager")

CAT, DOG, BALL = (281, "tabby", 0.75), (207, "golden retriever", 0.5), (852, "tennis ball", 0.25)
BLUE, RED = map(ImageColor.getrgb, ("#0072b2", "#b00020"))


def plain(height: int, width: int, colour: int) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def written(
    monkeypatch: pytest.MonkeyPatch, views: list[View], width: int = 100
) -> list[tuple[str, tuple[float, float]]]:
    """Return the texts of a picture and where they stand."""
    texts: list[tuple[str, tuple[float, float]]] = []
    text = ImageDraw.ImageDraw.text

    def keep(self: ImageDraw.ImageDraw, place: tuple[float, float], shown: str, *rest: object, **more: object) -> None:
        texts.append((shown, place))
        text(self, place, shown, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", keep)
    draw_side_by_side(plain(100, width, 50), plain(100, width, 90), views, "painted: waves")
    return texts


def test_both_stand_beside_each_other_with_labels_and_confidences_below_each(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch, [View("lite0", "imagenet", [CAT, BALL], [DOG, CAT])])
    left = [text for text, (x, _) in texts if x <= 24 + 480]
    right = [text for text, (x, _) in texts if x > 24 + 480]
    assert left == ["original", "lite0", "75%", "tabby", "25%", "tennis ball"]
    assert right == ["painted: waves", "lite0", "50%", "golden retriever", "75%", "tabby"]
    assert min(y for text, (_, y) in texts if text in ("lite0", "tabby")) > 24 + 480


def test_the_pictures_are_enlarged_alike_and_keep_their_shape() -> None:
    shown = draw_side_by_side(plain(50, 100, 50), plain(50, 100, 90), [], "painted")
    for colour, left in ((50, 24), (90, 24 + 480 + 24)):
        rows, columns = np.nonzero((shown == colour).all(axis=-1))
        assert (np.ptp(rows) + 1, columns.min(), columns.max()) == (240, left, left + 479)


def test_a_changed_top_class_is_red_and_its_bar_is_as_long_as_the_confidence() -> None:
    def bars(after: tuple[int, str, float]) -> dict[str, int]:
        """The width of the widest line of each colour, in either half."""
        view = View("lite0", "imagenet", [CAT], [after])
        shown = draw_side_by_side(plain(100, 100, 50), plain(100, 100, 90), [view], "painted")
        halves = {"left": shown[:, : 24 + 480], "right": shown[:, 24 + 480 + 24 :]}
        return {
            f"{name} {side}": int((half == colour).all(axis=-1).sum(axis=1).max())
            for side, half in halves.items()
            for name, colour in (("blue", BLUE), ("red", RED))
        }

    assert bars(DOG) == {"blue left": 360, "red left": 0, "blue right": 0, "red right": 240}  # 0.75 and 0.5 of 480
    assert bars((281, "tabby", 0.5)) == {"blue left": 360, "red left": 0, "blue right": 240, "red right": 0}


def test_long_names_are_cut_and_untrained_networks_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a class " * 20
    texts = [text for text, _ in written(monkeypatch, [View("vgg", "random", [(1, name, 0.5)], [CAT])], width=10)]
    assert "vgg RANDOM WEIGHTS" in texts
    (cut,) = (text for text in texts if text.startswith("a class"))
    assert cut.endswith("...")
    assert 10 < len(cut) < 40  # of 160 letters


@pytest.mark.slow
def test_the_command_writes_the_painted_photo_and_both_beside_each_other(tmp_path: Path) -> None:
    load_tensorflow()  # which keeps the error stream it finds; that of a command tried here is soon closed
    photo, out = tmp_path / "photo.png", tmp_path / "deep" / "painted.png"
    save_png(photo, np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8))
    words = ["attack", photo, "-s", "waves", "-o", out, "-c", "quicknet_tiny", "--size", 32, "--steps", 1]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    beside = tmp_path / "deep" / "painted-before-after.png"
    assert f"Written: {out} and {beside}" in done.stdout
    assert read_image(out).shape == (32, 32, 3)
    shown = read_image(beside)
    assert shown.shape[1] == 2 * 480 + 3 * 24
    after = Image.fromarray(read_image(out)).resize((480, 480), Image.Resampling.LANCZOS)
    painted = np.asarray(after)
    places = [x for x in range(shown.shape[1] - 479) if (shown[100, x : x + 480] == painted[100 - 58]).all()]
    assert places == [24 + 480 + 24]


def test_a_notebook_shows_the_photo_beside_the_painting(tmp_path: Path) -> None:
    path = tmp_path / "both.png"
    save_png(path, plain(4, 8, 3))
    assert Painted([], path)._repr_png_() == path.read_bytes()


def test_the_help_names_both_files() -> None:
    text = " ".join(CliRunner().invoke(app, ["attack", "--help"]).stdout.split())
    assert "NAME-before-after.png" in text


def test_neither_file_may_be_the_photo_itself(tmp_path: Path) -> None:
    photo = tmp_path / "o-before-after.png"
    save_png(photo, plain(40, 40, 3))
    done = CliRunner().invoke(app, ["attack", str(photo), "-s", "waves", "-o", str(tmp_path / "o.png")])
    assert done.exit_code == 2
    assert "o-before-after.png is the photo itself" in done.stderr
    assert (read_image(photo) == 3).all()
