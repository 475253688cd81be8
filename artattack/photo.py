"""One photo: paint it in a style, and ask every classifier what it sees before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from artattack.config import StyleOptions
from artattack.images import fit, read_image, save_png, to_float, to_uint8
from artattack.models import load_model
from artattack.models.estimator import to_estimator
from artattack.scoring import top_k

TOP = 5


class View(NamedTuple):
    """What one classifier sees: its five best classes with their confidences, before and after."""

    classifier: str
    weights: str
    before: list[tuple[int, str, float]]
    after: list[tuple[int, str, float]]


def attack_photo(
    photo: Path,
    out: Path,
    *,
    style: str,
    backbone: str,
    classifiers: Sequence[str],
    size: int,
    crop: float,
    seed: int,
    options: StyleOptions,
    weights: dict[str, str] | None = None,
) -> list[View]:
    """Paint one photo, write it as PNG, and return each classifier's view of the file written.

    Args:
        photo: any image file.
        out: the PNG to write.
        style: a style's name or an image file; `a+b` blends two.
        backbone: model whose features say what style is.
        classifiers: models asked what they see.
        size, crop: the square cut from the photo, as in a benchmark's `images`.
        seed: every random choice follows from it.
        options: of the style attack.
        weights: weights of a model other than its default, by model name.

    Raises:
        ArtattackError: the photo, the style or a model is not usable.
    """
    from artattack.attacks.style import StyleTransferAttack

    before = fit(read_image(photo), size, crop)
    models = {
        name: load_model(name, weights=(weights or {}).get(name)) for name in dict.fromkeys((backbone, *classifiers))
    }
    attack = StyleTransferAttack(
        to_estimator(models[backbone], input_shape=(size, size, 3)),
        styles=style,
        seed=seed,
        **options.model_dump(),
    )
    after = to_uint8(attack.generate(to_float(before)[np.newaxis])[0])
    save_png(out, after)
    pair = to_float(np.stack([before, after]))
    views = []
    for name in classifiers:
        model = models[name]
        logits: Any = model.predict(pair)
        first, second = (top_k(logits[i : i + 1], model.label_space, TOP)[0] for i in (0, 1))
        views.append(View(name, model.weights, first, second))
    return views
