"""Shape or texture: rates of a classifier's decisions, with intervals."""

from __future__ import annotations

from typing import Any

import pandas as pd

from artattack.report.page_tables import Field, number, rates, words
from artattack.studies.measures import interval_over_photos

CLASSIFIER = words("classifier", "who is asked", "classifier", named=True)
FIELDS: tuple[Field, ...] = (
    number("shape", "it says the class of the shape", "shape", "d"),
    number("texture", "it says the class of the texture", "texture", "d"),
    number("neither", "it says another class", "neither", "d"),
    rates("shape bias", "shape, of all that is one of the two", "shape_bias", "shape", "decided"),
)


def tally(shape: pd.Series, texture: pd.Series, photos: pd.Series) -> dict[str, Any]:
    """Count decisions for the shape, for the texture and for neither.

    Args:
        shape: (N,) bool, whether a classifier predicts the class of each image's shape.
        texture: (N,) bool, whether it predicts the class of the texture.
        photos: (N,) name of the photo that gives each image its shape.

    Returns:
        `n`, `shape`, `texture`, `neither`, `decided` (shape or texture) and `shape_bias`: `shape` divided by `decided`
        (Geirhos et al., ICLR 2019), with its 95 % interval, which accounts for repeated photos, and its design effect;
        NaN where nothing is decided.
    """
    of_shape, of_texture = int(shape.sum()), int(texture.sum())
    decided = of_shape + of_texture
    either = shape | texture
    return {
        "n": len(shape),
        "shape": of_shape,
        "texture": of_texture,
        "neither": len(shape) - decided,
        "decided": decided,
        "shape_bias": of_shape / decided if decided else float("nan"),
        **interval_over_photos("shape_bias", shape[either], photos[either]),
    }
