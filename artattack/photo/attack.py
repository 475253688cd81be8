"""Paint one photo in a style, and return every classifier's predictions before and after."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from artattack.attacks.options import StyleOptions
from artattack.attacks.painter_card import PainterFile
from artattack.attacks.rounding import round_within, with_room
from artattack.attacks.style_entry import StyleEntry
from artattack.bound import Bound
from artattack.config import Benchmark, ImageSettings
from artattack.errors import ArtattackError
from artattack.evaluation.plan import sized
from artattack.inputs.images import fit, read_image, save_png, to_float, to_uint8
from artattack.inputs.styles import load_styles
from artattack.models.kinds import check_fit, gives
from artattack.models.registry import check_model
from artattack.photo.side_by_side import View, draw_side_by_side
from artattack.photo.tiles import paint_tiles
from artattack.progress import in_notebook
from artattack.results.scores import TOP, top_k
from artattack.runtime import load_tensorflow

if TYPE_CHECKING:
    from artattack.models.classifier import Classifier


_DEFAULT = Benchmark()
CLASSIFIERS = ("efficientnet_lite0", "quicknet_tiny")  # of the default benchmark, the more accurate one first
_BACKBONE = StyleEntry(attack="style").backbone[0]
_OPTIONS = StyleOptions()


class Painted(NamedTuple):
    """Result of `attack_photo`.

    Attributes:
        views: each classifier's five most likely classes before and after.
        side_by_side: PNG that shows both photos and the predictions; a notebook shows it for the result.
    """

    views: list[View]
    side_by_side: Path

    def _repr_png_(self) -> bytes:
        return self.side_by_side.read_bytes()


def attack_photo(
    photo: Path,
    out: Path,
    *,
    style: str,
    backbone: str = _BACKBONE,
    painter: str | Path | None = None,
    guides: Sequence[str] = (),
    classifiers: Sequence[str] = CLASSIFIERS,
    size: int | tuple[int, int] | Literal["original"] | None = None,
    tile: int | None = None,
    images: ImageSettings = _DEFAULT.images,
    seed: int = _DEFAULT.seed,
    options: StyleOptions = _OPTIONS,
) -> Painted:
    """Paint one photo, write it as PNG, and return each classifier's predictions on the written file.

    A second file, NAME-before-after.png, shows the photo, the painting and the predictions.

    Args:
        photo: any image file.
        out: PNG to write.
        style: a style's name or an image file; `a+b` blends two.
        backbone: model whose features measure style.
        painter: a trained painter's file, or `bundled`, to paint in one pass instead of by the style attack. A painter
            does not read `backbone`, takes no guides and no tiles, and of the options takes `budget` alone.
        guides: classifiers that the painting should fool as well.
        classifiers: models whose predictions are shown.
        size: size in pixels of the part cut from the photo: a side, or (height, width); `original` keeps the photo's
            shape and resolution. By default the input size that all classifiers share, or 224 if they differ; with a
            painter `original`.
        tile: side of the tiles in pixels, or None to paint the photo as a whole.
        images: crop and size of the classifiers' input for a photo at its own resolution, as in a benchmark.
        seed: seed of every random choice.
        options: options of the style attack. A painter paints in the largest ball of its training unless `budget` is
            set explicitly.

    Raises:
        ArtattackError: the photo, the style, the painter or a model is unusable, a painter does not take an option, or
            a file cannot be written.
    """
    before = read_image(photo)
    if painter is not None:
        mix = _learnt(painter, style, guides, tile, options)
        size = "original" if size is None else size
    if size is None:
        size = sized(_DEFAULT.model_copy(update={"classifiers": tuple(classifiers)})).images.shape
    if size != "original":
        before = fit(before, size, images.crop)
    read = (backbone,) if painter is None else ()
    names = tuple(dict.fromkeys((*read, *guides, *classifiers)))
    for name in names:
        check_model(name)
        check_fit(name, gives(name), "features" if name in read else "gradients" if name in guides else "logits")
    if painter is None:
        load_styles(style, (8, 8))
    beside = out.with_name(f"{out.stem}-before-after.png")
    for file in (out, beside):
        _check_out(file, photo)

    load_tensorflow()  # takes seconds, so only after all names are checked
    from artattack.models import load_model

    models: dict[str, Any] = {name: load_model(name, seed=seed) for name in names}
    x = to_float(before)
    if painter is None:
        after = to_uint8(_descended(x, models, backbone, style, guides, tile, seed, options))
    else:
        after = _painted(x, painter, mix, options.budget if "budget" in options.model_fields_set else None)
    save_png(out, after)
    shown = [fit(image, images.shape, images.crop) if size == "original" else image for image in (before, after)]
    views = [_view(name, models[name], to_float(np.stack(shown))) for name in classifiers]
    named = "+".join(Path(part).name for part in style.split("+"))
    save_png(beside, draw_side_by_side(before, after, views, f"painted: {named}"))
    return Painted(views, beside)


def _learnt(
    painter: str | Path, style: str, guides: Sequence[str], tile: int | None, options: StyleOptions
) -> np.ndarray:
    """Return the weights of a painter's styles for a style; raise ArtattackError for options it does not take."""
    further = sorted(options.model_fields_set - {"budget"})
    if guides or tile or further:
        words = ["guide"] * bool(guides) + ["tile"] * bool(tile) + further
        raise ArtattackError(
            f"--{words[0].replace('_', '-')}: not with a painter, which was trained before; of the options of style it "
            "takes --budget"
        )
    file = PainterFile(painter)
    file.read_styles()  # an error before TensorFlow's slow import
    return file.mix(style)


def _painted(x: np.ndarray, painter: str | Path, mix: np.ndarray, budget: Bound | None) -> np.ndarray:
    """Return a painter's painting uint8 (H, W, 3) of a photo (H, W, 3) in [0, 1], on the 8-bit grid in its ball."""
    from artattack.attacks.painter_network import Painter

    file = PainterFile(painter)
    ball = budget or file.card.budget
    made = Painter(file).paint(x[np.newaxis], mix, with_room(ball, x.size))
    return to_uint8(round_within(x[np.newaxis], made, ball)[0])


def _descended(
    x: np.ndarray,
    models: dict[str, Any],
    backbone: str,
    style: str,
    guides: Sequence[str],
    tile: int | None,
    seed: int,
    options: StyleOptions,
) -> np.ndarray:
    """Return the style attack's painting (H, W, 3) float32 of a photo (H, W, 3) in [0, 1], whole or in tiles."""
    from artattack.attacks.style import StyleTransferAttack
    from artattack.models.estimator import to_estimator

    shape: Any = (tile, tile, 3) if tile else x.shape
    attack = StyleTransferAttack(
        to_estimator(models[backbone], input_shape=shape),
        styles=style,
        guides=[to_estimator(models[name], input_shape=shape) for name in guides],
        seed=seed,
        verbose=sys.stderr.isatty() or in_notebook(),
        **options.model_dump(),
    )
    return np.asarray(paint_tiles(x, tile, attack.generate) if tile else attack.generate(x[np.newaxis])[0])


def _check_out(out: Path, photo: Path) -> None:
    """Check that the PNG can be written, before a minute of painting."""
    if out.suffix.lower() != ".png":
        raise ArtattackError(f"{out}: paintings are PNG files; give a name that ends in .png")
    if out.is_dir():
        raise ArtattackError(f"{out} is a folder; give the name of a PNG file")
    if out.exists() and out.samefile(photo):
        raise ArtattackError(f"{out} is the photo itself; give the painting another name")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ArtattackError(f"{out}: cannot be written: {error.strerror}") from error


def _view(name: str, model: Classifier, pair: np.ndarray) -> View:
    before, after = top_k(model.predict(pair), model.label_space, TOP)
    return View(name, model.weights, before, after)
