"""Pictures of a run for a page: image pairs before and after, thumbnails, and the classifiers' predictions."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from artattack.errors import ArtattackError
from artattack.inputs.images import read_image
from artattack.results.records import read_by_attack
from artattack.results.run_folder import RunFolder


class Pair(NamedTuple):
    """An image before and after an attack, uint8 (H, W, 3) each."""

    original: np.ndarray
    perturbed: np.ndarray


_SEEN_BY = [
    "classifier",
    "classifier_weights",
    "top1_name_before",
    "top1_confidence_before",
    "top1_name_after",
    "top1_confidence_after",
    "flip",
    "success",
]


class SeenBy(NamedTuple):
    """A classifier's predictions before and after: class and confidence, and whether they are a flip or a success.

    Attributes:
        classifier: name of the classifier.
        untrained: whether its weights are random.
        white_box: whether the attack read it.
        before: top-1 class before the attack, with its confidence: `tabby 75%`.
        after: top-1 class after the attack, likewise.
        outcome: `success`, `flip` or empty.
    """

    classifier: str
    untrained: bool
    white_box: bool
    before: str
    after: str
    outcome: str


def original_file(row: Mapping[Any, Any]) -> str:
    """Return the path of a record's original image, relative to the run folder."""
    return f"images/original/{row['image']}.png"


def read_pair(run: RunFolder, row: Mapping[Any, Any]) -> Pair | None:
    """Return a record's image before and after, or None if the files no longer exist or differ in shape."""
    try:
        pair = Pair(read_image(run.path / original_file(row)), read_image(run.path / str(row["file"])))
    except ArtattackError:
        return None
    return pair if pair.original.shape == pair.perturbed.shape else None


def data_uri(pixels: np.ndarray, side: int, quality: int | None) -> str:
    """Return an image as a data URI with a WebP file.

    Args:
        pixels: uint8 (H, W, 3).
        side: maximum width and height in pixels; larger images are scaled down.
        quality: WebP quality, up to 100; None stores the pixels without loss.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "method": 4} if quality is None else {"quality": quality}
    image.save(file, "webp", **options)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def views(rows: pd.DataFrame) -> list[SeenBy]:
    """Return each classifier's predictions for a picture, from the picture's records."""
    read = read_by_attack(rows).fillna(False)
    columns = rows[_SEEN_BY].to_dict("records")  # only the needed columns, for speed
    return [_seen_by(row, bool(seen)) for row, seen in zip(columns, read, strict=True)]


def _seen_by(row: Mapping[Any, Any], white_box: bool) -> SeenBy:
    outcomes = ("success", "flip")  # every success is a flip, too
    outcome = next((name for name in outcomes if pd.notna(row[name]) and row[name]), "")
    before, after = (
        f"{text(row[f'top1_name_{when}'])} {row[f'top1_confidence_{when}']:.0%}" for when in ("before", "after")
    )
    untrained = text(row["classifier_weights"]) == "random"
    return SeenBy(text(row["classifier"]), untrained, white_box, before, after, outcome)


def distances(row: Mapping[Any, Any]) -> str:
    """Return the distances of a record's image from its original, as text."""
    return f"L2 {row['l2']:.1f}, Linf {row['linf']:.3f}, SSIM {row['ssim']:.2f}"


def text(value: Any) -> str:
    """Return a value of a text column; empty if missing."""
    return "" if pd.isna(value) else str(value)
