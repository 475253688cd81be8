"""Painting in one pass as an evasion attack in ART's sense."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from art.estimators import BaseEstimator

from artattack.attacks.objective import Objective
from artattack.attacks.options import StyleOptions
from artattack.attacks.painter_card import BUNDLED, PainterFile
from artattack.attacks.painter_network import Painter
from artattack.attacks.settable import SettableAttack
from artattack.attacks.style import clip_values, unit_images
from artattack.bound import Bound
from artattack.errors import ArtattackError
from artattack.inputs.styles import load_styles
from artattack.tracing import forgetting_gradients

_STYLES_KEPT = 16  # styles whose statistics are kept, at one image size each


class PainterAttack(SettableAttack):
    """Paints images by a network that was trained to paint like the style attack (Johnson et al., ECCV 2016).

    Each image takes one forward pass of a small network. The change is scaled into the ball.

    Args:
        estimator: an ART estimator, whose clip values the images have. If it is one of artattack's own around the
            painter's backbone (`artattack.models.estimator.to_estimator`), `style_distance` measures in its features.
        painter: the painter's file, with its card and any picture of its styles beside it, or `bundled`.
        style: a style that the painter has learnt, by name or image file, or a blend `a+b` of such styles.
        budget: ball of the paintings, `linf`, `l2` or `psnr`; None for the largest of the painter's training.
        batch_size: images painted at once; by default equal parts, see `Painter.paint`.

    Raises:
        ArtattackError: the painter cannot be read, has not learnt the style, or an option is invalid.
    """

    attack_params: ClassVar[list[str]] = [*SettableAttack.attack_params, "painter", "style", "budget", "batch_size"]
    _estimator_requirements = (BaseEstimator,)

    def __init__(
        self,
        estimator: Any,
        *,
        painter: str | Path = BUNDLED,
        style: str = "stained-glass",
        budget: Bound | tuple[str, float] | str | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(estimator=estimator)
        self.painter = painter
        self.style = style
        self.budget = budget
        self.batch_size = batch_size
        self._loaded: tuple[str, PainterFile, Painter] | None = None
        self._objective: Objective | None = None
        self._targets = lru_cache(_STYLES_KEPT)(self._style_targets)
        self._before: dict[tuple[bytes, tuple[str, ...]], np.ndarray] = {}
        self._check_params()

    def _no_parameter(self, name: str) -> ArtattackError:
        return ArtattackError(f"{name}: not a parameter of a painter ({', '.join(self.attack_params)})")

    def _check_params(self) -> None:
        super()._check_params()
        if self.batch_size is not None and not (isinstance(self.batch_size, int | np.integer) and self.batch_size > 0):
            raise ArtattackError(f"batch_size: a whole number above 0, not {self.batch_size!r}")
        if self._loaded is None or self._loaded[0] != str(self.painter):
            file = PainterFile(self.painter)
            self._loaded = str(self.painter), file, Painter(file)
        self._file.mix(self.style)
        if self._ball:
            self._ball.as_ball()

    @property
    def _file(self) -> PainterFile:
        assert self._loaded is not None
        return self._loaded[1]

    @property
    def _ball(self) -> Bound | None:
        if self.budget is None:
            return None
        return Bound.parse(self.budget) if isinstance(self.budget, str) else Bound(*self.budget)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Return painted versions of images.

        Args:
            x: images (N, H, W, 3) within the estimator's clip values, of any size.
            y: labels, part of ART's contract; ignored, because painting reads no label.
            kwargs: part of ART's contract; ignored.

        Returns:
            (N, H, W, 3) float32 within the clip values.

        Raises:
            ArtattackError: the images have another shape, or values outside the clip values, or a parameter that was
                set as an attribute is invalid.
        """
        self._check_params()  # attributes may have changed
        assert self._loaded is not None
        low, high = clip_values(self.estimator)
        images = unit_images(x, low, high)
        painted = self._loaded[2].paint(images, self._file.mix(self.style), self._ball, self.batch_size)
        return painted * (high - low) + low

    def style_distance(self, x: np.ndarray) -> np.ndarray:
        """Return the style distance of images to the style in the estimator's features, as the style attack does.

        Args:
            x: images (N, H, W, 3) in [0, 1].

        Returns:
            (N,) float32; NaN if the estimator is not one of artattack's own with readable features.

        Raises:
            ArtattackError: the style's image cannot be read.
        """
        return self._distances_to(x, [self.style])[:, 0]

    def distances_before(self, x: np.ndarray, styles: Sequence[str]) -> np.ndarray:
        """Return the style distances of originals to several styles, with one pass through the backbone.

        The distances of originals that come again, with another style or ball, are kept.

        Args:
            x: images (N, H, W, 3) in [0, 1].
            styles: S styles, as the attack's.

        Returns:
            (N, S) float32, as `style_distance`.
        """
        key = hashlib.sha256(x.tobytes()).digest(), tuple(styles)
        if key not in self._before:
            self._before[key] = self._distances_to(x, styles)
        return self._before[key]

    def _distances_to(self, x: np.ndarray, styles: Sequence[str]) -> np.ndarray:
        model = getattr(self.estimator, "artattack_model", None)
        if model is None or model.gives != "features" or not len(x):
            return np.full((len(x), len(styles)), np.nan, np.float32)
        with forgetting_gradients():
            self._objective = self._objective or Objective(model, StyleOptions())
            targets = [self._targets(style, x.shape[1], x.shape[2]) for style in styles]
        return self._objective.style_distances(np.asarray(x, np.float32), targets)

    def _style_targets(self, style: str, height: int, width: int) -> list[tf.Tensor]:
        assert self._objective is not None
        return self._objective.style_targets(tf.constant(load_styles(style, (height, width))))
