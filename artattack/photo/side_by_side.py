"""One picture of a photo before and after: both beside each other, and below each what classifiers see in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Guess = tuple[int, str, float]  # class, its name, and the confidence in it


class View(NamedTuple):
    """What one classifier sees: its best classes with their confidences, before and after."""

    classifier: str
    weights: str
    before: list[Guess]
    after: list[Guess]


_SIDE = 480  # px, the longer side of each of the two pictures
_MARGIN = 24  # px around and between them
_GUESSES = 3  # of each classifier
_LARGE, _SMALL = 21, 15  # px, letters
_BAR = 6  # px, the height of a confidence
_PAPER, _INK, _FAINT, _RULE = "#ffffff", "#1c1b19", "#66635d", "#e6e3db"
_SAME, _FLIPPED, _LOUD = "#0072b2", "#b00020", "#b00020"


def draw_side_by_side(before: np.ndarray, after: np.ndarray, views: Sequence[View], title: str) -> np.ndarray:
    """Draw a photo and what was painted of it, with the labels and confidences of each classifier below each.

    What a classifier sees first stands in blue; in red where that is not what it saw first in the photo.

    Args:
        before, after: uint8 (H, W, 3); they are shown with a longer side of 480 px.
        views: what classifiers see; one whose weights are "random" is marked RANDOM WEIGHTS.
        title: stands over the painted one.

    Returns:
        The picture, uint8 (H', W', 3).
    """
    height, width = before.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    column = max(size[0], _SIDE * 3 // 4)  # a tall photo is narrow, and words need room
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
    """Write a class from the left and the confidence in it to the right."""
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
    """Write a line of text, cut to a width in pixels; return how wide it is."""
    font = ImageFont.load_default(size)
    shown = text
    while shown and draw.textlength(shown, font) > width:
        text = text[:-1]
        shown = text.rstrip() + "..."
    draw.text(place, shown, colour, font, anchor=anchor)
    return round(draw.textlength(shown, font))
