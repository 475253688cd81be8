"""The picture gallery of a run: original, perturbed image, change, and predictions, small enough for one page."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from artattack.report.pictures import SeenBy, data_uri, distances, original_file, read_pair, text, views
from artattack.results.order import most_accurate_first
from artattack.results.records import CONTROL, at_own_distance, perturbed_of, variant_labels
from artattack.results.run_folder import RunFolder

LIMIT = 96  # pictures on the page
_CONTROLS = 24  # pictures of controls among them
_SIDE = 224  # px, maximum width and height of a picture
_QUALITY = 76
_CLIPPED = 2.0  # per cent of the values that amplification may clip


class Picture(NamedTuple):
    """One image under one attack.

    Attributes:
        image: id of the image.
        true_name: name of its true class; empty if unlabelled.
        attack: label of the attack or control.
        kind: kind of the attack, as in the records.
        original: key of the original image in `Gallery.files`.
        perturbed: key of the perturbed image, likewise.
        change: key of the amplified change, likewise.
        factor: factor that amplifies the change.
        distances: distances of the image from its original, as text.
        views: each classifier's predictions.
    """

    image: str
    true_name: str
    attack: str
    kind: str
    original: str
    perturbed: str
    change: str
    factor: int
    distances: str
    views: list[SeenBy]

    @property
    def flipped(self) -> bool:
        """Whether the prediction of any classifier flipped."""
        return any(view.outcome for view in self.views)


class Gallery(NamedTuple):
    """The pictures on the page.

    Attributes:
        pictures: the pictures.
        total: number of all pictures of the run at attacks' own distances.
        files: the image files as data URIs, by key.
    """

    pictures: list[Picture]
    total: int
    files: dict[str, str]


def gallery(run: RunFolder, limit: int = LIMIT) -> Gallery:
    """Return pictures of attacks, and some of controls, at their own distance.

    If there are more than `limit`, every attack gets an equal share, on the same images, evenly spread over the set.
    The choice does not depend on the results.

    Args:
        run: a finished run.
        limit: maximum number of pictures.
    """
    records = most_accurate_first(run.records, run.summary)
    shown = perturbed_of(at_own_distance(records))
    shown = shown[shown["error"].isna() & shown["file"].notna()]
    shown = shown.assign(label=variant_labels(shown))
    images = list(shown["image"].drop_duplicates())
    counts = shown.drop_duplicates(["label", "image"]).groupby("label", sort=False)["kind"].agg(["first", "size"])
    total = int(counts["size"].sum())
    controls = [label for label, kind in counts["first"].items() if kind == CONTROL]
    attacks = [label for label in counts.index if label not in controls]
    if total <= limit:
        shares = dict.fromkeys(counts.index, len(images))
    else:
        kept = min(_CONTROLS, limit // 4) if controls else 0
        shares = _shares(attacks, limit - kept) | _shares(controls, kept)
    pictures: list[Picture] = []
    files: dict[str, str] = {}
    for label, rows in shown.groupby("label", sort=False):
        share = min(shares[label], len(images))
        chosen = [images[i * len(images) // share] for i in range(share)]
        by_image = dict(iter(rows[rows["image"].isin(chosen)].groupby("image", sort=False)))
        for image in chosen:
            if image in by_image and (picture := _picture(run, str(label), by_image[image], files)) is not None:
                pictures.append(picture)
    return Gallery(pictures, total, files)


def _shares(labels: list[Any], limit: int) -> dict[Any, int]:
    """Share out pictures equally among labels; the first labels get the remainder."""
    return {label: limit // len(labels) + (n < limit % len(labels)) for n, label in enumerate(labels)}


def _picture(run: RunFolder, label: str, rows: pd.DataFrame, files: dict[str, str]) -> Picture | None:
    """Return one picture and add its files to `files`; None if the image files no longer exist."""
    first = rows.iloc[0].to_dict()
    pair = read_pair(run, first)
    if pair is None:
        return None
    factor, change = amplified(*pair)
    keys = original_file(first), str(first["file"]), f"change {first['file']}"
    for key, pixels in zip(keys, (*pair, change), strict=True):
        if key not in files:
            files[key] = data_uri(pixels, _SIDE, _QUALITY)
    return Picture(
        str(first["image"]),
        text(first["true_name"]),
        label,
        str(first["kind"]),
        *keys,
        factor,
        distances(first),
        views(rows),
    )


def amplified(original: np.ndarray, perturbed: np.ndarray) -> tuple[int, np.ndarray]:
    """Return an amplification factor, and the amplified change on grey, uint8 (H, W, 3).

    The factor is the largest whole number, at least 1, that clips no more than 2 % of the values.
    """
    change = perturbed.astype(np.float32) - original
    largest = float(np.percentile(np.abs(change), 100.0 - _CLIPPED))
    factor = int(max(1.0, 127.0 / max(1.0, largest)))
    return factor, (127.5 + factor * change).clip(0, 255).astype(np.uint8)
