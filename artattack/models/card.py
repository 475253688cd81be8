"""The card beside a model's file: what opens it without being told, and what is known of it. No TensorFlow here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from artattack.errors import ArtattackError
from artattack.validation import Section, explain


class Card(Section):
    """What `NAME.json` says of the network in `NAME.keras`, beside which it lies.

    `load_model` takes from it what it is not told; the rest is for readers.
    """

    title: str = Field(description="what the network is, in a few words")
    preprocessing: str | dict[str, Any] = Field(description="what the network expects of its input")
    label_space: tuple[int, ...] | None = Field(None, description="ImageNet class of each output; null: its own")
    classes: tuple[str, ...] = Field((), description="name of each output, where the classes are its own")
    style_layers: tuple[str, ...] = Field((), description="layers for style; none: spread over the depth")
    content_layers: tuple[str, ...] = Field((), description="layers for content")
    distilled_from: str = Field("", description="the model it was trained to imitate, if any")
    facts: dict[str, Any] = Field({}, description="data, recipe, time, accuracy: whatever a reader should know")


def card_path(model: str | Path) -> Path:
    """Return where the card of a model's file lies."""
    return Path(model).with_suffix(".json")


def read_card(model: str | Path) -> Card | None:
    """Return the card beside a model's file, or None if there is none.

    Raises:
        ArtattackError: there is one, and it is none that this program wrote.
    """
    path = card_path(model)
    if Path(model).suffix not in (".keras", ".h5") or not path.is_file():
        return None
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        wrong = explain(error, lambda place: (".".join(map(str, place)) or "card", Card))
        raise ArtattackError(f"{path}: no card of a model: {wrong}; move it away, or say preprocessing") from error
