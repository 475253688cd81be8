"""Pictures of a run as a page holds them: read in pairs, made small, and what a classifier saw in them."""

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
        classifier: its name.
        untrained: whether its weights are random.
        white_box: whether the attack read it.
        before, after: the most likely class and the confidence in it: `tabby 75%`.
        outcome: `success`, `flip` or nothing.
    """

    classifier: str
    untrained: bool
    white_box: bool
    before: str
    after: str
    outcome: str


def original_file(row: Mapping[Any, Any]) -> str:
    """Return where the original of a record's image lies, relative to the run folder."""
    return f"images/original/{row['image']}.png"


def read_pair(run: RunFolder, row: Mapping[Any, Any]) -> Pair | None:
    """Return the image of a record before and after, or None where the files are gone or do not fit each other."""
    try:
        pair = Pair(read_image(run.path / original_file(row)), read_image(run.path / str(row["file"])))
    except ArtattackError:
        return None
    return pair if pair.original.shape == pair.perturbed.shape else None


def data_uri(pixels: np.ndarray, side: int, quality: int) -> str:
    """Return an image as a WebP file within a page.

    Args:
        pixels: uint8 (H, W, 3).
        side: px, the most that it is wide and high; a larger one is made smaller.
        quality: of the file, up to 100.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "webp", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def views(rows: pd.DataFrame) -> list[SeenBy]:
    """Return what each classifier sees in a picture, from the picture's records."""
    read = read_by_attack(rows).fillna(False)
    columns = rows[_SEEN_BY].to_dict("records")  # a record is wide, and a page has many
    return [_seen_by(row, bool(seen)) for row, seen in zip(columns, read, strict=True)]


def _seen_by(row: Mapping[Any, Any], white_box: bool) -> SeenBy:
    outcomes = ("success", "flip")  # a success is a flip, and says more
    outcome = next((name for name in outcomes if pd.notna(row[name]) and row[name]), "")
    before, after = (
        f"{text(row[f'top1_name_{when}'])} {row[f'top1_confidence_{when}']:.0%}" for when in ("before", "after")
    )
    untrained = text(row["classifier_weights"]) == "random"
    return SeenBy(text(row["classifier"]), untrained, white_box, before, after, outcome)


def distances(row: Mapping[Any, Any]) -> str:
    """Say how far a record's image was moved."""
    return f"L2 {row['l2']:.1f}, Linf {row['linf']:.3f}, SSIM {row['ssim']:.2f}"


def text(value: Any) -> str:
    """Return a value of a column of text; empty where it is missing."""
    return "" if pd.isna(value) else str(value)
