"""Writing the cards of trained networks, as JSON and as readable Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artattack.files import write_file
from artattack.models.card import Card, card_path
from artattack.results.statistics import wilson


def rate(count: int, n: int) -> dict[str, float]:
    """Return a rate with its count and 95 % Wilson interval, for a card's facts."""
    low, high = wilson(count, n)
    return {"rate": count / n, "low": float(low), "high": float(high), "count": count, "n": n}


def in_words(value: Any) -> str:
    """Format a fact of a card as text: a rate with its interval, a number, or any other value."""
    if isinstance(value, dict) and {"rate", "low", "high"} <= set(value):
        return f"{value['rate']:.1%} [{value['low']:.1%}, {value['high']:.1%}], {value['count']} of {value['n']}"
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
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    text = (
        f"# {card.title}\n\n"
        f"`{model.name}`, a backbone, a source and a classifier by its path; `{card_path(model).name}` beside it "
        f"tells artattack how to open it.\n\n| fact | value |\n| --- | --- |\n{table}\n"
    )
    write_file(model.with_suffix(".md"), text.encode())
