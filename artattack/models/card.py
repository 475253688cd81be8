"""The card beside a model file: the settings for loading it, and facts about it. No TensorFlow here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from artattack.errors import ArtattackError
from artattack.inputs.labels import LabelSpace, own_classes
from artattack.validation import Section, explain


class Card(Section):
    """The card `NAME.json` of the network in `NAME.keras` or `NAME.pt`.

    `load_model` takes its default settings from the card; the facts are for readers.
    """

    title: str = Field(description="short description of the network")
    preprocessing: str | dict[str, Any] = Field(description="preprocessing that the network expects")
    label_space: tuple[int, ...] | None = Field(
        None, description="ImageNet class of each output; null for other classes"
    )
    classes: tuple[str, ...] = Field((), description="name of each output, for other classes than ImageNet's")
    style_layers: tuple[str, ...] = Field((), description="style layers; if empty, spread over the depth")
    content_layers: tuple[str, ...] = Field((), description="content layers")
    input_size: tuple[int, int] | None = Field(None, description="(H, W) in pixels, for a file that fixes none")
    distilled_from: str = Field("", description="the teacher, if the network was distilled")
    family: str = Field("", description="family of the architecture; models of one family are kin")
    facts: dict[str, Any] = Field({}, description="facts for readers: data, recipe, time, accuracy")

    @property
    def space(self) -> LabelSpace | None:
        """The classes of the outputs: ImageNet's, the network's own by name, or None if the card gives neither."""
        if self.label_space is not None:
            return LabelSpace(self.label_space)
        return own_classes(self.classes) if self.classes else None


def card_path(model: str | Path) -> Path:
    """Return the path of a model file's card."""
    return Path(model).with_suffix(".json")


def read_card(model: str | Path) -> Card | None:
    """Return the card beside a model file, or None if it does not exist.

    Raises:
        ArtattackError: the card cannot be read or has another format.
    """
    path = card_path(model)
    if Path(model).suffix not in (".keras", ".h5", ".pt") or not path.is_file():
        return None
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        wrong = explain(error, lambda place: (".".join(map(str, place)) or "card", Card))
        raise ArtattackError(f"{path}: not a model card: {wrong}; move the file away, or give preprocessing") from error
