"""Writing the cards of trained networks, as JSON and as readable Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from artattack import bound
from artattack.attacks.painter_card import PainterCard, styles_path
from artattack.files import write_file
from artattack.inputs.labels import names_of
from artattack.models.card import Card, card_path
from artattack.results.statistics import pooled_rate
from artattack.training.best_epoch import best_epoch

if TYPE_CHECKING:
    from artattack.models.classifier import Classifier


def rate(outcomes: npt.ArrayLike, photos: npt.ArrayLike | None = None) -> dict[str, float]:
    """Return a rate with its count and its 95 % interval, for a card's facts.

    Args:
        outcomes: (N,) True or False.
        photos: (N,) photo of each outcome, if photos are repeated, for example in several crops. The interval
            resamples photos, and the facts include their number and the design effect.
    """
    yes = np.asarray(outcomes, np.bool_)
    found = pooled_rate(yes, range(len(yes)) if photos is None else photos)
    repeats: dict[str, float] = {} if found.clusters == found.n else {"photos": found.clusters}
    if repeats and found.design_effect == found.design_effect:
        repeats["design_effect"] = round(found.design_effect, 2)
    return {
        "rate": found.mean,
        "low": found.low,
        "high": found.high,
        "count": int(yes.sum()),
        "n": found.n,
        **repeats,
    }


def course_facts(history: pd.DataFrame) -> dict[str, float]:
    """Return a card's facts about a training: epochs, best epoch and minutes, from the history of `fitting.fit`."""
    found = best_epoch(history["val_loss"])
    assert found is not None  # `fit` raises without a finite loss
    best = int(history["epoch"].iloc[found])
    minutes = round(float(history["seconds"].sum()) / 60, 2)
    return {"epochs": len(history), "best_epoch": best + 1, "minutes": minutes}


def classes_of(teacher: Classifier) -> dict[str, Any]:
    """Return the fields of a card that hold a student's classes, which are its teacher's."""
    space = teacher.label_space
    names = names_of(space)
    if space is not None and not names:
        return {"label_space": space}
    return {"classes": tuple(names[k] for k in space) if space else tuple(map(str, range(teacher.classes)))}


def in_words(value: Any) -> str:
    """Format a fact of a card as text: a rate with its interval, a number, or any other value."""
    if isinstance(value, dict) and {"rate", "low", "high"} <= set(value):
        told = f"{value['rate']:.1%} [{value['low']:.1%}, {value['high']:.1%}], {value['count']} of {value['n']}"
        of = f" of {value['photos']} photos" if "photos" in value else ""
        return told + of + (f", design effect {value['design_effect']:.1f}" if "design_effect" in value else "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {in_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def write_card(card: Card, model: Path) -> None:
    """Write a model file's card beside it: NAME.json, which `load_model` reads, and NAME.md."""
    write_file(card_path(model), (card.model_dump_json(indent=2) + "\n").encode())
    classes = len(card.label_space or card.classes)
    of = "of ImageNet's" if card.label_space else "of its own"
    rows = {
        "preprocessing": in_words(card.preprocessing),
        "classes": f"{classes} {of}",
        **({"distilled from": card.distilled_from} if card.distilled_from else {}),
        **{key.replace("_", " "): in_words(value) for key, value in card.facts.items()},
    }
    use = f"a backbone, a source and a classifier by its path; `{card_path(model).name}` beside it tells artattack how"
    _write_readable(model, card.title, f"`{model.name}`, {use} to open it.", rows)


def write_painter_card(card: PainterCard, painter: Path) -> None:
    """Write a painter's card beside its file: NAME.json, which the attack `painter` reads, and NAME.md."""
    write_file(card_path(painter), (card.model_dump_json(indent=2) + "\n").encode())
    rows = {
        "styles": ", ".join(card.names),
        "backbone": card.backbone,
        **({"guides": ", ".join(card.guides)} if card.guides else {}),
        "balls" if len(card.balls) > 1 else "ball": bound.in_words(card.balls),
        "initial image": card.init_in_words,
        **({"residual blocks": "1-bit weights and activations"} if card.binary else {}),
        "spectrum": f"1 / max(f, {card.lowest:g})^{card.decay:g}, f in cycles per pixel",
        **{key.replace("_", " "): in_words(value) for key, value in card.facts.items()},
    }
    use = f"painter of the attack `painter` by its path; `{card_path(painter).name}` beside it names its styles"
    use += f", and `{styles_path(painter).name}` holds them." if card.init == "style" else "."
    _write_readable(painter, card.title, f"`{painter.name}`, a {use}", rows)


def _write_readable(file: Path, title: str, use: str, rows: Mapping[str, str]) -> None:
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    text = f"# {title}\n\n{use}\n\n| fact | value |\n| --- | --- |\n{table}\n"
    write_file(file.with_suffix(".md"), text.encode())
