"""Networks that studies derive from registry models, stored in the user's cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from artattack.files import write_file


def derived(backbone: str, name: str, title: str, make: Callable[[Any], Any], distilled_from: str = "") -> Path:
    """Return the file of a derived network, creating the file if it is missing.

    The file is in the user's cache folder, with a card beside it that describes its input and layers.

    Args:
        backbone: a model of the registry.
        name: name of the file, with `{}` for the beginning of the hash of the backbone's weights.
        title: title of the card.
        make: function from the backbone, a `Model`, to the new network.
        distilled_from: the network's teacher; by default the backbone's, if any.

    Raises:
        ArtattackError: there is no such model, or the file cannot be written.
    """
    from artattack.models.ancestry import family_of
    from artattack.models.card import Card, card_path
    from artattack.models.registry import load_registered, model_info
    from artattack.runtime import load_tensorflow
    from artattack.training.networks import save_network

    info = model_info(backbone)
    load_tensorflow()
    model = load_registered(backbone)
    path = platformdirs.user_cache_path("artattack") / "networks" / name.format(model.weights_sha256[:12])
    if path.is_file() and card_path(path).is_file():
        return path
    card = Card(
        title=title,
        preprocessing=info.preprocessing,
        label_space=model.label_space,
        style_layers=info.style_layers,
        content_layers=info.content_layers,
        distilled_from=distilled_from or info.distilled_from,
        family=family_of(info.name),
    )
    network = make(model)
    write_file(card_path(path), card.model_dump_json().encode())
    save_network(network, path)
    return path
