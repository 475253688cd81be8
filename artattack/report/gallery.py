"""Pictures of a run: original, perturbed, what changed, and what classifiers saw, small enough for one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from artattack.errors import ArtattackError
from artattack.images import read_image
from artattack.records import variant_labels
from artattack.results import RunFolder

LIMIT = 72  # pictures on the page
_SIDE = 224  # px, the most that a picture shown is wide
_QUALITY = 80


class View(NamedTuple):
    """What one classifier saw before and after."""

    classifier: str
    weights: str
    before: str
    after: str
    flipped: bool


class Picture(NamedTuple):
    """One image under one attack; images are data URIs."""

    image: str
    true_name: str
    attack: str
    kind: str
    original: str
    perturbed: str
    change: str
    factor: float
    distances: str
    views: list[View]

    @property
    def flipped(self) -> bool:
        """Whether any classifier changed its mind."""
        return any(view.flipped for view in self.views)


def pictures(run: RunFolder, limit: int = LIMIT) -> tuple[list[Picture], int]:
    """Return pictures of attacks at their own distance, and how many there are in all.

    Beyond the limit every attack keeps its share, spread evenly over the images.

    Args:
        run: a finished run.
        limit: at most so many.
    """
    records = run.records
    shown = records[records["kind"].isin(["style", "baseline"]) & records["budget"].isna() & records["error"].isna()]
    shown = shown.assign(label=variant_labels(shown))
    by_attack = shown.groupby("label", sort=False)
    groups = [(str(label), list(rows.groupby("image", sort=False))) for label, rows in by_attack]
    total = sum(len(images) for _, images in groups)
    chosen: list[Picture] = []
    for n, (label, images) in enumerate(groups):
        share = (limit - len(chosen)) // (len(groups) - n)
        for _, rows in _spread(images, share):
            if (picture := _picture(run, label, rows)) is not None:
                chosen.append(picture)
    return chosen, total


def _spread(items: Sequence[Any], share: int) -> Iterator[Any]:
    count = min(share, len(items))
    return (items[i * len(items) // count] for i in range(count))


def _picture(run: RunFolder, label: str, rows: pd.DataFrame) -> Picture | None:
    """Return one picture, or None where its files are gone."""
    first = rows.iloc[0]
    try:
        original = read_image(run.path / "images" / "original" / f"{first['image']}.png")
        perturbed = read_image(run.path / str(first["file"]))
    except ArtattackError:
        return None
    change = perturbed.astype(np.float32) - original
    factor = 127.0 / max(1.0, float(np.abs(change).max()))
    return Picture(
        str(first["image"]),
        _text(first["true_name"]),
        label,
        str(first["kind"]),
        _uri(original),
        _uri(perturbed),
        _uri((127.5 + factor * change).clip(0, 255).astype(np.uint8)),
        factor,
        f"L2 {first['l2']:.1f}, Linf {first['linf']:.3f}, SSIM {first['ssim']:.2f}",
        [
            View(
                _text(row["classifier"]),
                _text(row["classifier_weights"]),
                f"{_text(row['top1_name_before'])} {row['top1_confidence_before']:.0%}",
                f"{_text(row['top1_name_after'])} {row['top1_confidence_after']:.0%}",
                bool(row["flip"]),
            )
            for row in rows.to_dict("records")
        ],
    )


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _uri(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "webp", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
