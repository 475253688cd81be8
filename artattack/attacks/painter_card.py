"""Painter files, their cards and pictures of styles, read without TensorFlow."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import AliasChoices, Field, ValidationError

from artattack.bound import Bound
from artattack.errors import ArtattackError, nearest
from artattack.files import sha256_file
from artattack.inputs.images import read_image, to_float
from artattack.inputs.styles import style_files
from artattack.models.bundled import FOLDER
from artattack.models.card import card_path
from artattack.validation import Balls, Section, explain

STYLE_SIZE = 224  # px; style images are cropped and scaled to this size, whatever the size of the photos
BUNDLED = "bundled"  # the word for the painter that comes with the package
_BUNDLED_FILE = FOLDER / "painter.keras"


class PainterStyle(Section):
    """A style that a painter has learnt."""

    name: str = Field(description="name of the style; of an image file its name without suffix")
    sha256: tuple[str, ...] = Field((), description="hash of each image of the style; several are a blend")


class PainterCard(Section):
    """The card `NAME.json` of the painter in `NAME.keras`."""

    title: str = Field(description="short description of the painter")
    styles: tuple[PainterStyle, ...] = Field(min_length=1, description="styles, in the order of the network's rows")
    backbone: str = Field(description="model whose features measured style in training")
    backbone_sha256: str = Field("", description="hash of the backbone's weights")
    guides: tuple[str, ...] = Field((), description="classifiers that training fooled")
    balls: Balls = Field(
        min_length=1,
        validation_alias=AliasChoices("balls", "budget"),  # earlier cards have one, as `budget`
        description="balls of training: one in linf, l2 or psnr, or several in psnr, from large to small",
    )
    init: Literal["style", "content"] = Field(
        "content", description="initial image: the photo itself, or the photo blended with the style up to the ball"
    )
    reach: float | None = Field(
        None,
        gt=0,
        description="largest change that the network makes to the initial image, as a share of the ball's radius",
    )
    binary: bool = Field(False, description="whether residual blocks have 1-bit weights and activations")
    decay: float = Field(ge=0, description="power of the spectrum that smooths the change")
    lowest: float = Field(gt=0, description="frequency below which the spectrum is flat, in cycles per pixel")
    facts: dict[str, Any] = Field({}, description="facts for readers: data, settings, time, measured distances")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the styles."""
        return tuple(style.name for style in self.styles)

    @property
    def budget(self) -> Bound:
        """The largest ball of training."""
        return self.balls[0]

    @property
    def rows(self) -> int:
        """The number of rows of normalization parameters: row s B + b belongs to style s and ball b of B balls."""
        return self.rows_of(len(self.styles))

    def rows_of(self, styles: int) -> int:
        """Return the number of rows of so many styles, each in every ball."""
        return styles * len(self.balls)

    def ball_for(self, budget: Bound | None, values: int) -> tuple[Bound, np.ndarray]:
        """Return the ball for which the network paints, and the weights (B,) float32 of the balls of training.

        Between two balls of training, their weights are linear in dB. Outside all of them, the nearest counts, and the
        painting has to be scaled. A budget in `linf` gets the largest.

        Args:
            budget: ball of the paintings; by default the largest of training.
            values: number of values of an image, H * W * 3.
        """
        count = len(self.balls)
        if count == 1 or budget is None or budget.distance == "linf":
            return self.budget, np.eye(count, dtype=np.float32)[0]
        known = [ball.value for ball in self.balls]
        level = float(np.clip(budget.as_psnr(values), known[0], known[-1]))
        weights = [np.interp(level, known, own) for own in np.eye(count)]
        return Bound("psnr", level), np.asarray(weights, np.float32)

    @property
    def init_in_words(self) -> str:
        """The initial image, and how far the network changes it."""
        first = "the photo" if self.init == "content" else "the photo blended with the style up to the ball"
        return first if self.reach is None else f"{first}, changed by at most {self.reach:g} of the ball's radius"


class PainterFile:
    """A painter's file, its card and, if it blends, the picture of its styles.

    Args:
        painter: path of a `.keras` file with the others beside it, or `bundled`.

    Attributes:
        path: path of the `.keras` file.
        card: the painter's card.

    Raises:
        ArtattackError: the file or its card is missing, or the card cannot be read.
    """

    def __init__(self, painter: str | Path) -> None:
        self.path = _found(painter)
        self.card = read_painter_card(self.path)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that a painting depends on: the network, its card and, if initial images need it, the styles."""
        styles = (styles_path(self.path),) if self.card.init == "style" else ()
        return self.path, card_path(self.path), *styles

    def read_styles(self) -> np.ndarray | None:
        """Return the styles (S, 224, 224, 3) float32 in [0, 1] that initial images blend in; None without any.

        Raises:
            ArtattackError: the picture of the styles is missing, cannot be read or has another size.
        """
        if self.card.init == "content":
            return None
        shape = STYLE_SIZE, len(self.card.styles) * STYLE_SIZE, 3
        try:
            picture = read_image(styles_path(self.path))
        except ArtattackError as error:
            raise ArtattackError(f"painter '{self.path}': its styles: {error}") from error
        if picture.shape != shape:
            raise ArtattackError(
                f"painter '{self.path}': {styles_path(self.path).name} has {picture.shape[1]}x{picture.shape[0]} px "
                f"instead of {shape[1]}x{shape[0]}; `artattack train-painter` writes it with the painter"
            )
        return to_float(np.stack(np.split(picture, len(self.card.styles), axis=1)))

    @property
    def backbone(self) -> str:
        """The backbone: a registry name or a path; a relative path of a file beside the painter gets its folder."""
        return self._near(self.card.backbone)

    @property
    def guides(self) -> tuple[str, ...]:
        """The guides, like the backbone."""
        return tuple(map(self._near, self.card.guides))

    def _near(self, model: str) -> str:
        beside = self.path.parent / model
        return str(beside) if Path(model).suffix and beside.is_file() else model

    @cached_property
    def _by_hash(self) -> dict[tuple[str, ...], int]:
        return {style.sha256: number for number, style in enumerate(self.card.styles) if style.sha256}

    def mix(self, style: str) -> np.ndarray:
        """Return the weights (S,) float32 of the painter's styles, which sum to 1, for a style or a blend `a+b`.

        Images identify styles: an image file or the name of a bundled style stands for the style learnt from an image
        of the same content. A name that stands for no image stands for the painter's style of that name.

        Raises:
            ArtattackError: the painter has not learnt the style; one line lists those it has.
        """
        found = self._place(style)
        places = [found] if found is not None else [self._place(part.strip()) for part in style.split("+")]
        weights = np.zeros(len(self.card.styles), np.float32)
        for place in places:
            if place is None:
                raise ArtattackError(
                    f"painter '{self.path}' has not learnt the style '{style}'{nearest(style, self.card.names)} "
                    f"(it has: {', '.join(self.card.names)}; `artattack train-painter --add-style` teaches it more)"
                )
            weights[place] += 1.0 / len(places)
        return weights

    def _place(self, style: str) -> int | None:
        try:
            files = style_files(style)
        except ArtattackError:
            files = []
        if files and all(file.is_file() for file in files):
            return self._by_hash.get(tuple(sha256_file(file) for file in files))
        return self.card.names.index(style) if style in self.card.names else None


def styles_path(painter: Path) -> Path:
    """Return the picture `NAME.png` of a painter's styles, side by side; without blending, a painter has none."""
    return painter.with_suffix(".png")


def read_painter_card(painter: Path) -> PainterCard:
    """Return the card beside a painter's file.

    Raises:
        ArtattackError: the card is missing, cannot be read or belongs to another kind of network.
    """
    path = card_path(painter)
    try:
        return PainterCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtattackError(f"painter '{painter}': its card {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        wrong = explain(error, lambda place: (".".join(map(str, place)) or "card", PainterCard))
        raise ArtattackError(
            f"{path}: not a painter's card, which `artattack train-painter` writes: {wrong}"
        ) from error


def _found(painter: str | Path) -> Path:
    if str(painter) != BUNDLED:
        path = Path(painter).expanduser()
        if not path.is_file():
            raise ArtattackError(f"painter '{painter}': no such file; `artattack train-painter` writes one")
        return path
    if not _BUNDLED_FILE.is_file():
        raise ArtattackError(
            "painter: no painter comes with this version of artattack; give a file, which `artattack train-painter` "
            "writes"
        )
    return _BUNDLED_FILE
