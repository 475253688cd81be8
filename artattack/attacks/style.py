"""Neural style transfer as an evasion attack in ART's sense."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from art.attacks import EvasionAttack
from art.estimators import BaseEstimator
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from artattack.attacks.descent import Descent
from artattack.attacks.objective import Objective
from artattack.config import StyleOptions, parse_options
from artattack.errors import ArtattackError
from artattack.models.model import Model, Preprocessing
from artattack.models.network import default_layers
from artattack.styles import load_styles

_DEFAULTS = StyleOptions().model_dump()

Style = str | Path | np.ndarray


class StyleTransferAttack(EvasionAttack):  # type: ignore[misc]
    """Paints images in a style by gradient descent on their pixels (Gatys, Ecker & Bethge, CVPR 2016).

    For each image x by itself, and starting from it, minimises

        style_weight * style + content_weight * content + tv_weight * total variation

    with the terms of `artattack.attacks.objective`, by Adam, clipping x to the estimator's clip values after
    each step. The iterate of least loss is returned.

    The estimator is the source: the backbone whose features say what style and content are. Gradients reach
    the pixels of a binarized network through its own straight-through estimator.

    Args:
        estimator: what `artattack.models.estimator.to_estimator` gives, or any ART TensorFlow classifier around
            a functional Keras model.
        styles: one or more styles, each a name, an image file, or an array (H, W, 3) in [0, 1], H and W being
            the images'. Several are blended; so are those of a name `a+b`.
        batch_size: images painted at once.
        seed: of the noise that `init="noise"` starts from.
        verbose: whether to show a progress bar.
        options: the fields of `artattack.config.StyleOptions`, where each is described.

    Raises:
        ArtattackError: an option is unknown or out of range, or a layer or style is not there.
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        "styles",
        "batch_size",
        "seed",
        "verbose",
        *StyleOptions.model_fields,
    ]
    _estimator_requirements = (BaseEstimator,)

    def __init__(
        self,
        estimator: Any,
        *,
        styles: Style | Sequence[Style] = "stained-glass",
        batch_size: int = 10,
        seed: int = 0,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(estimator=estimator)
        parse_options(options)  # names an unknown option, before it is taken for an attribute
        self.styles = styles
        self.batch_size = batch_size
        self.seed = seed
        self.verbose = verbose
        for name, value in (_DEFAULTS | options).items():
            setattr(self, name, value)
        self._model = _model_of(estimator)
        self._built_for: StyleOptions | None = None
        self._check_params()

    @property
    def options(self) -> StyleOptions:
        """The options as they stand, validated."""
        return parse_options({name: getattr(self, name) for name in StyleOptions.model_fields})

    def _check_params(self) -> None:
        super()._check_params()
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ArtattackError(f"batch_size: a whole number above 0, not {self.batch_size!r}")
        options = self.options
        if options == self._built_for:
            return
        self._built_for = options
        style_layers = self._model.style_layers if options.style_layers is None else options.style_layers
        content_layers = self._model.content_layers if options.content_layers is None else options.content_layers
        self._objective = Objective(self._model, style_layers, content_layers)
        self._descent = Descent(self._objective, options)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return painted versions of images.

        Args:
            x: images (N, H, W, 3) within the estimator's clip values.
            y: labels, part of ART's contract; style does not read them.
            kwargs: part of ART's contract; none is read.

        Returns:
            (N, H, W, 3) float32 within the clip values.

        Raises:
            ArtattackError: the images have another shape, or values outside the clip values.
        """
        low, high = _clip_values(self.estimator)
        images = (np.asarray(x, np.float32) - low) / (high - low)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ArtattackError(f"images have shape (N, H, W, 3), not {images.shape}")
        if len(images) == 0:
            return images
        if not (images.min() >= -1e-4 and images.max() <= 1 + 1e-4):  # also where there is a NaN
            raise ArtattackError(f"images lie within the clip values, {low:g} to {high:g}; these do not")
        starts = self._starts(images)
        styles = self._objective.style_targets(tf.constant(self._style_images(*images.shape[1:3])))
        with tqdm(total=len(images) * self.steps, desc="style", unit="step", disable=not self.verbose) as bar:
            painted = [
                self._descent(images[batch], starts[batch], styles, on_steps=bar.update)
                for batch in (slice(i, i + self.batch_size) for i in range(0, len(images), self.batch_size))
            ]
        return np.concatenate(painted) * (high - low) + low  # type: ignore[no-any-return]

    def _starts(self, images: np.ndarray) -> np.ndarray:
        if self.init == "content":
            return images
        return np.random.default_rng(self.seed).random(images.shape, np.float32)

    def _style_images(self, height: int, width: int) -> np.ndarray:
        styles = [self.styles] if isinstance(self.styles, Style) else self.styles
        images: list[np.ndarray] = []
        for style in styles:
            if isinstance(style, np.ndarray):
                if style.shape != (height, width, 3):
                    raise ArtattackError(f"a style given as an array has shape {(height, width, 3)}, not {style.shape}")
                images.append(style.astype(np.float32))
            else:
                images += list(load_styles(style, (height, width)))
        return np.stack(images)


def _clip_values(estimator: Any) -> tuple[np.float32, np.float32]:
    values = (0.0, 1.0) if estimator.clip_values is None else estimator.clip_values
    return np.float32(values[0]), np.float32(values[1])


def _model_of(estimator: Any) -> Model:
    """Return the model behind an ART classifier: ours, or one made of a stock classifier's Keras network."""
    if isinstance(model := getattr(estimator, "artattack_model", None), Model):
        return model
    network: Any = getattr(estimator, "model", None)
    if not hasattr(network, "get_layer") or not isinstance(getattr(network, "output_shape", None), tuple):
        raise ArtattackError(
            f"StyleTransferAttack needs a classifier around a functional Keras model, not {type(estimator).__name__}: "
            "artattack.load_model gives one by name or from a file"
        )
    if estimator.preprocessing_defences:
        raise ArtattackError("StyleTransferAttack does not see through preprocessing defences; leave them out")
    low, high = _clip_values(estimator)
    mean, std = (estimator.preprocessing.mean, estimator.preprocessing.std) if estimator.preprocessing else (0.0, 1.0)
    # The network sees (low + (high - low) x - mean) / std of our x in [0, 1].
    span = 255.0 / (high - low)
    preprocessing = Preprocessing(
        tuple(np.broadcast_to((np.asarray(mean, float) - low) * span, 3)),
        tuple(np.broadcast_to(np.asarray(std, float) * span, 3)),
    )
    layers = default_layers(network)
    return Model(
        network.name,
        "file",
        "",
        False,
        network,
        tuple(estimator.input_shape[:2]),
        preprocessing,
        None,
        *layers,
    )
