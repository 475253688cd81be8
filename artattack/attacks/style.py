"""Neural style transfer as an evasion attack in ART's sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow as tf
from art.estimators import BaseEstimator
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from artattack.attacks.budget import match
from artattack.attacks.descent import Descent, compiled_options
from artattack.attacks.failing import ImagesFailedError
from artattack.attacks.guidance import Guidance
from artattack.attacks.objective import Objective
from artattack.attacks.options import StyleOptions, parse_options
from artattack.attacks.settable import SettableAttack
from artattack.distances import DISTANCES
from artattack.errors import ArtattackError, nearest, unknown
from artattack.inputs.images import fit, read_image, to_float
from artattack.inputs.styles import load_styles, style_files
from artattack.models.model import Model, Preprocessing
from artattack.models.network import default_layers
from artattack.tracing import forgetting_gradients

_DEFAULTS = StyleOptions().model_dump()
_SIZES_KEPT = 4  # image sizes whose compiled descents an attack keeps: 30 MB each for a small network
_KINDS_KEPT = 2  # sets of compiled options that an attack keeps: without and within a budget
_ROUNDING = 1e-4  # of the range: tolerance for values outside it

Style = str | Path | np.ndarray


class StyleTransferAttack(SettableAttack):
    """Paints images in a style by gradient descent on their pixels (Gatys, Ecker & Bethge, CVPR 2016).

    The attack minimizes, for each image x independently,

        style_weight * style + content_weight * content + tv_weight * total variation + guide_weight * guides

    with the terms of `artattack.attacks.objective` and, with guides, `artattack.attacks.guidance`. It returns the best
    iterate: the one of lowest loss, with iterates that fool every guide first.

    The estimator is the source: the backbone whose features measure style and content. Gradients reach the pixels of a
    binarized network through its own straight-through estimator, or a surrogate.

    Args:
        estimator: an estimator from `artattack.models.estimator.to_estimator`, or any ART TensorFlow classifier around
            a functional Keras model.
        styles: one or more styles, each a name, an image file, or an array (H, W, 3) in [0, 1] of the images' size.
            A name `a+b` counts as two styles.
        blend: whether to blend several styles; otherwise images take them in turn, one each.
        keep: `best` to return the best iterate, `last` for the last.
        guides: classifiers to fool, as ART estimators.
        batch_size: number of images painted at once; by default as many as fit in about 2 GiB, 32 at most.
        seed: seed of jitter, random views and the noise of `init="noise"`.
        verbose: whether to show a progress bar.
        options: the fields of `artattack.attacks.options.StyleOptions`, described there.

    Raises:
        ArtattackError: an option is unknown or out of range, or a layer, style, mask or class does not exist.
    """

    attack_params: ClassVar[list[str]] = [
        *SettableAttack.attack_params,
        "styles",
        "blend",
        "keep",
        "guides",
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
        blend: bool = True,
        keep: Literal["best", "last"] = "best",
        guides: Sequence[Any] = (),
        batch_size: int | None = None,
        seed: int = 0,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(estimator=estimator)
        parse_options(options)  # rejects unknown options before they become attributes
        self.styles = styles
        self.blend = blend
        self.keep = keep
        self.guides = guides
        self.batch_size = batch_size
        self.seed = seed
        self.verbose = verbose
        for name, value in (_DEFAULTS | options).items():
            setattr(self, name, value)
        self._model = _model_of(estimator)
        objective: Callable[[StyleOptions], Objective] = lru_cache(_KINDS_KEPT)(partial(Objective, self._model))
        self._descents = lru_cache(_KINDS_KEPT)(partial(Descents, objective))
        self._check_params()

    @property
    def options(self) -> StyleOptions:
        """The current options, validated."""
        return parse_options({name: getattr(self, name) for name in StyleOptions.model_fields})

    def _no_parameter(self, name: str) -> ArtattackError:
        return ArtattackError(f"{name}: cannot be set on a style attack{nearest(name, self.attack_params)}")

    def _check_params(self) -> None:
        super()._check_params()
        if self.batch_size is not None and not _is_whole(self.batch_size, 1):
            raise ArtattackError(f"batch_size: a whole number above 0, not {self.batch_size!r}")
        if not _is_whole(self.seed, 0):
            raise ArtattackError(f"seed: a whole number from 0 on, not {self.seed!r}")
        if self.keep not in ("best", "last"):
            raise ArtattackError(f"keep: best or last, not {self.keep!r}")
        if not isinstance(self.blend, bool):
            raise ArtattackError(f"blend: True or False, not {self.blend!r}")
        if not isinstance(self.guides, Sequence):
            raise ArtattackError(f"guides: a list of estimators, not {type(self.guides).__name__}")
        for style in self._styles():
            _check_style(style)
        options = self.options
        _check_together(options, self.guides)
        self._descents(compiled_options(options), tuple(self.guides))

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return painted versions of images.

        Args:
            x: images (N, H, W, 3) within the estimator's clip values.
            y: labels, part of ART's contract; ignored, because guides take their own predictions.
            kwargs: part of ART's contract; ignored.

        Returns:
            (N, H, W, 3) float32 within the clip values; with `match`, on the 8-bit grid.

        Raises:
            ArtattackError: the images have another shape, or values outside the clip values; the file of a style, a
                mask or an initial image cannot be read; or a parameter that was set as an attribute is invalid.
            ImagesFailedError: the loss of some image is never finite; the error holds the other images' results.
        """
        self._check_params()  # attributes may have changed
        options = self.options
        low, high = clip_values(self.estimator)
        images = unit_images(x, low, high)
        if len(images) == 0:
            return images
        size = (images.shape[1], images.shape[2])
        descents = self._descents(compiled_options(options), tuple(self.guides))
        descent = descents.of_size(size)
        mask, style_mask = _mask(options.mask, size), _mask(options.style_mask, size)
        style_images = self._style_images(size)
        styles = descents.objective.style_targets(tf.constant(style_images), style_mask, blend=self.blend)
        turns = np.arange(len(images)) % (1 if self.blend else len(style_images))
        firsts = self._first_images(images, style_images, turns)
        batch_size = self.batch_size or (1 if len(images) == 1 else descents.batch_size(size))
        with tqdm(total=len(images) * options.steps, desc="style", unit="step", disable=not self.verbose) as bar:
            parts: list[np.ndarray] = []
            why: dict[int, str] = {}
            for b in (slice(i, i + batch_size) for i in range(0, len(images), batch_size)):
                aims = [tf.gather(style, turns[b]) for style in styles]
                further: dict[str, Any] = {"mask": mask, "seed": self.seed, "keep": self.keep, "on_steps": bar.update}
                try:
                    parts.append(descent(images[b], firsts[b], aims, options, **further))
                except ImagesFailedError as error:
                    parts.append(error.made)
                    why |= {b.start + i: reason for i, reason in error.why.items()}
        painted: np.ndarray = np.concatenate(parts)
        painted[list(why)] = images[list(why)]
        if wanted := options.match:
            painted = match(images, painted, wanted.value, wanted.distance)
        painted = painted * (high - low) + low
        if why:
            raise ImagesFailedError(painted, why)
        return painted

    def style_distance(self, x: np.ndarray) -> np.ndarray:
        """Return the style distance of images to the blended styles, in the backbone's features.

        It is the style loss with the arithmetic mean over layers, whatever `style_mean` is.

        Args:
            x: images (N, H, W, 3) in [0, 1].

        Returns:
            (N,) float32; 0 for the style itself, 1 for all-zero statistics. NaN if `style_weight` is 0.

        Raises:
            ArtattackError: as in `generate`.
        """
        self._check_params()
        options, images = self.options, unit_images(x, np.float32(0), np.float32(1))
        if not (options.style_weight and len(images)):
            return np.full(len(images), np.nan, np.float32)
        size = (images.shape[1], images.shape[2])
        objective = self._descents(compiled_options(options), tuple(self.guides)).objective
        mask, style_mask = _mask(options.mask, size), _mask(options.style_mask, size)
        targets = objective.style_targets(tf.constant(self._style_images(size)), style_mask)
        return objective.style_distance(images, targets, mask)

    def _styles(self) -> Sequence[Style]:
        return [self.styles] if isinstance(self.styles, Style) else self.styles

    def _style_images(self, size: tuple[int, int]) -> np.ndarray:
        """Return the styles, (S, H, W, 3) float32 in [0, 1]."""
        images: list[np.ndarray] = []
        for style in self._styles():
            if not isinstance(style, np.ndarray):
                images += list(load_styles(style, size))
            elif style.shape == (*size, 3):
                images.append(to_float(style) if style.dtype == np.uint8 else style.astype(np.float32).clip(0.0, 1.0))
            else:
                raise ArtattackError(f"a style given as an array has shape {(*size, 3)}, not {style.shape}")
        return np.stack(images)

    def _first_images(self, images: np.ndarray, styles: np.ndarray, turns: np.ndarray) -> np.ndarray:
        """Return the initial images of the descent, (N, H, W, 3), chosen by `init`; all share one noise image.

        Args:
            images: (N, H, W, 3) in [0, 1].
            styles: (S, H, W, 3) in [0, 1].
            turns: (N,) index of each image's style; 0 is the mean of blended styles.
        """
        options, size = self.options, images.shape[1:3]
        if options.init == "content" or (options.init == "style" and not options.budget):
            return images
        if options.init == "style":  # projecting onto the ball blends it with the image
            return np.asarray((styles.mean(0, keepdims=True) if self.blend else styles)[turns])
        if options.init == "noise":
            first = np.random.default_rng(self.seed).random((*size, 3), np.float32)
        else:
            first = to_float(fit(read_image(Path(options.init)), size, crop=1.0))  # type: ignore[arg-type]
        return np.broadcast_to(first, images.shape)


class Descents:
    """Costly parts of an attack: its networks, and compiled descents for the last few image sizes.

    Args:
        objective: function from options to their objective, which it caches.
        options: the result of `compiled_options`.
        guides: estimators of the classifiers to fool.

    Attributes:
        objective: the objective of the options.
        of_size: function from (H, W) to the descent for images of that size; the latest ones are kept.
    """

    def __init__(
        self, objective: Callable[[StyleOptions], Objective], options: StyleOptions, guides: tuple[Any, ...]
    ) -> None:
        with forgetting_gradients():
            self.objective = objective(options.model_copy(update={"budget": None}))  # one objective for every ball
        self._guidance = Guidance([_guide_of(guide) for guide in guides], options) if guides else None
        self._options = options
        self.of_size = lru_cache(_SIZES_KEPT)(self._make_descent)

    def _make_descent(self, size: tuple[int, int]) -> Descent:
        """Return a descent, to be compiled at its first call."""
        return Descent(self.objective, self._guidance, self._options, size)

    def batch_size(self, size: tuple[int, int]) -> int:
        """Return the default batch size of a descent for images of (H, W)."""
        with forgetting_gradients():
            return self.objective.batch_size(*size)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def _check_style(style: Any) -> None:
    """Raise ArtattackError for a style that is invalid at any image size."""
    if isinstance(style, str | Path):
        style_files(style)
    elif not isinstance(style, np.ndarray):
        raise ArtattackError(f"a style is a name, an image file or an array, not {type(style).__name__}")
    elif style.ndim != 3 or style.shape[-1] != 3:
        raise ArtattackError(f"a style given as an array has shape (H, W, 3), not {style.shape}")
    elif style.dtype != np.uint8 and not (np.issubdtype(style.dtype, np.floating) and _within(style, 0.0, 1.0)):
        raise ArtattackError("a style given as an array has floats in [0, 1], or uint8 in 0 to 255; this has neither")


def _within(values: np.ndarray, low: float, high: float) -> bool:
    """Return whether all values are finite and within bounds, up to rounding."""
    slack = _ROUNDING * (high - low)
    return bool(((values >= low - slack) & (values <= high + slack)).all())


def unit_images(x: np.ndarray, low: np.float32, high: np.float32) -> np.ndarray:
    """Return images as float32 in [0, 1].

    Args:
        x: images (N, H, W, 3) within the clip values: floats, or integers if the clip values are 0 and 255.
        low: the least clip value.
        high: the greatest clip value.

    Raises:
        ArtattackError: the images have another shape, another dtype, or values outside the clip values.
    """
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[-1] != 3:
        raise ArtattackError(f"images have shape (N, H, W, 3), not {x.shape}")
    if np.issubdtype(x.dtype, np.integer) and (float(low), float(high)) != (0.0, 255.0):
        raise ArtattackError(f"images of {x.dtype} have other units than {low:g} to {high:g}: divide by 255 first")
    if x.dtype.kind not in "fiu":
        raise ArtattackError(f"images have float values, not {x.dtype}")
    if not _within(x, float(low), float(high)):
        raise ArtattackError(f"images lie within the clip values, {low:g} to {high:g}; these do not")
    return ((x.astype(np.float32) - low) / (high - low)).clip(0.0, 1.0)


def _check_together(options: StyleOptions, guides: Sequence[Any]) -> None:
    """Reject incompatible options."""
    if options.budget:
        options.budget.as_ball(f", or `match: {options.budget}`, where the attack then ends")
    if options.match and options.match.distance not in DISTANCES:
        raise unknown("distance in match", options.match.distance, DISTANCES)
    if options.statistics == "histogram" and (options.mask or options.style_mask):
        raise ArtattackError("statistics 'histogram' cannot be measured in a mask: use gram or mean-variance")
    if not (options.style_weight or options.content_weight or guides):
        raise ArtattackError("nothing to do: style_weight and content_weight are 0, and there is no guide")
    if not guides:
        for name in ("target", "early_stop", "views", "transforms", "confidence"):
            if getattr(options, name):
                raise ArtattackError(f"{name}: applies to guides, but there is no guide")
    if options.optimizer == "lbfgs":
        for name in ("jitter", "views", "early_stop"):
            if getattr(options, name):
                raise ArtattackError(f"{name}: not with optimizer lbfgs, whose line search needs the same loss twice")
        if options.budget and options.budget.distance != "linf" and options.parametrization == "pixel":
            raise ArtattackError(
                f"budget {options.budget.distance}: not with optimizer lbfgs on pixels; use adam, or match afterwards"
            )


def _mask(path: Path | str | None, size: tuple[int, int]) -> tf.Tensor | None:
    """Return a mask file as (1, H, W, 1) in [0, 1], cropped at its centre to the shape of the images."""
    if path is None:
        return None
    mask = to_float(fit(read_image(Path(path)), size, crop=1.0)).mean(-1)[None, :, :, None]
    if not mask.any():
        raise ArtattackError(f"{path}: a mask is white where it counts; this one is all black")
    return tf.constant(mask)


def clip_values(estimator: Any) -> tuple[np.float32, np.float32]:
    """Return the least and the greatest value of an estimator's images; by default 0 and 1."""
    values = (0.0, 1.0) if estimator.clip_values is None else estimator.clip_values
    return np.float32(values[0]), np.float32(values[1])


def _guide_of(estimator: Any) -> Any:
    """Return the model behind an ART classifier: artattack's own if it has gradients, else a new one around it."""
    model = getattr(estimator, "artattack_model", None)
    return model if model is not None and model.gives != "logits" else _model_of(estimator)


def _model_of(estimator: Any) -> Model:
    """Return the model behind an ART classifier: artattack's own, or a new one around its Keras network."""
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
    low, high = clip_values(estimator)
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
