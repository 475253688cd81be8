"""A picture of a photo before and after, with the classifiers' predictions below each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Guess = tuple[int, str, float]  # class, its name, and its confidence


class View(NamedTuple):
    """A classifier's most likely classes with their confidences, before and after.

    Attributes:
        classifier: name of the classifier.
        weights: origin of its weights; `random` for an untrained one.
        before: classes of the photo, most likely first.
        after: classes of the painting, most likely first.
    """

    classifier: str
    weights: str
    before: list[Guess]
    after: list[Guess]


_SIDE = 480  # px, the longer side of each of the two pictures
_MARGIN = 24  # px around and between them
_GUESSES = 3  # classes shown per classifier
_LARGE, _SMALL = 21, 15  # px, font sizes
_BAR = 6  # px, height of a confidence bar
_PAPER, _INK, _FAINT, _RULE = "#ffffff", "#1c1b19", "#66635d", "#e6e3db"
_SAME, _FLIPPED, _LOUD = "#0072b2", "#b00020", "#b00020"


def draw_side_by_side(before: np.ndarray, after: np.ndarray, views: Sequence[View], title: str) -> np.ndarray:
    """Draw a photo and its painting side by side, with each classifier's classes and confidences below each.

    The most likely class is blue, or red if it differs from the photo's.

    Args:
        before: the photo, uint8 (H, W, 3); shown with a longer side of 480 px.
        after: the painting, of the same shape.
        views: the classifiers' predictions; one whose weights are "random" is marked RANDOM WEIGHTS.
        title: heading of the painting.

    Returns:
        The picture, uint8 (H', W', 3).
    """
    height, width = before.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    column = max(size[0], _SIDE * 3 // 4)  # text needs room even below a tall, narrow photo
    head, line, guess = _LARGE + 13, _SMALL + 9, _LARGE + _BAR + 17
    block = line + guess + (_GUESSES - 1) * line + _MARGIN
    canvas = Image.new(
        "RGB", (2 * column + 3 * _MARGIN, _MARGIN + head + size[1] + _MARGIN + block * len(views)), _PAPER
    )
    draw = ImageDraw.Draw(canvas)
    sides = (before, "original", [view.before for view in views]), (after, title, [view.after for view in views])
    for n, (pixels, heading, seen) in enumerate(sides):
        left = _MARGIN + n * (column + _MARGIN)
        _write(draw, (left, _MARGIN), heading, column, _LARGE, _INK)
        canvas.paste(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), (left, _MARGIN + head))
        top = 2 * _MARGIN + head + size[1]
        for view, guesses in zip(views, seen, strict=True):
            untrained = view.weights == "random"
            name = f"{view.classifier} RANDOM WEIGHTS" if untrained else view.classifier
            _write(draw, (left, top), name, column, _SMALL, _LOUD if untrained else _FAINT)
            (first, label, share), *others = guesses[:_GUESSES]
            colour = _FLIPPED if first != view.before[0][0] else _SAME
            y = top + line
            _write_guess(draw, (left, y), label, share, column, _LARGE, colour)
            bar = y + _LARGE + 8
            draw.rectangle((left, bar, left + column - 1, bar + _BAR - 1), _RULE)
            draw.rectangle((left, bar, left + max(1, round(column * share)) - 1, bar + _BAR - 1), colour)
            y += guess
            for _, label, share in others:
                _write_guess(draw, (left, y), label, share, column, _SMALL, _FAINT)
                y += line
            top += block
    return np.asarray(canvas)


def _write_guess(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], label: str, share: float, width: int, size: int, colour: str
) -> None:
    """Write a class, left-aligned, and its confidence, right-aligned."""
    percent = f"{share:.0%}"
    taken = _write(draw, (place[0] + width, place[1]), percent, width, size, colour, anchor="ra")
    _write(draw, place, label, width - taken - size, size, colour)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    width: int,
    size: int,
    colour: str,
    anchor: str = "la",
) -> int:
    """Write a line of text, cut to a width in pixels; return its width."""
    font = ImageFont.load_default(size)
    shown = text
    while shown and draw.textlength(shown, font) > width:
        text = text[:-1]
        shown = text.rstrip() + "..."
    draw.text(place, shown, colour, font, anchor=anchor)
    return round(draw.textlength(shown, font))
