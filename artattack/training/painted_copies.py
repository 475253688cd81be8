"""Painted copies of training images: a painter's styles, some of them held out, and the distances of the copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from artattack.errors import ArtattackError, unknown
from artattack.training.data import Array

if TYPE_CHECKING:
    import tensorflow as tf

    from artattack.attacks.painter_card import PainterFile


class Paint(Protocol):
    """A painter of several styles.

    Attributes:
        styles: names of its styles.
    """

    styles: tuple[str, ...]

    def __call__(self, x: Array, styles: Sequence[str]) -> Array:
        """Paint images (N, H, W, 3) float32 in [0, 1], each in the style of its name; same shape and range."""


class _ByPainter:
    """A painter's file as `Paint`."""

    def __init__(self, file: PainterFile) -> None:
        from artattack.attacks.painter_network import Painter

        self.styles = file.card.names
        self._painter = Painter(file)

    def __call__(self, x: Array, styles: Sequence[str]) -> Array:
        """Paint images (N, H, W, 3) float32 in [0, 1], each in the style of its name; same shape and range."""
        places = [self.styles.index(name) for name in styles]
        return self._painter.paint(x, np.eye(len(self.styles), dtype=np.float32)[places])


def painter_of(file: str | None) -> Paint:
    """Return the painter in a file, or the bundled one for None.

    Raises:
        ArtattackError: there is no such painter, or its file or card cannot be read.
    """
    from artattack.attacks.painter_card import BUNDLED, PainterFile

    return _ByPainter(PainterFile(file or BUNDLED))


@dataclass(frozen=True)
class Copies:
    """Settings for drawing painted copies.

    Attributes:
        paint: the painter.
        trained: names of the styles to train on.
        held_out: names of the styles for measuring, none of them in `trained`.
        distances: smallest and largest L2 of a copy, in image units, before its values are clipped to [0, 1]. Each copy
            draws its own L2, uniformly on a logarithmic scale.
    """

    paint: Paint
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    distances: tuple[float, float]

    @classmethod
    def of(
        cls, paint: Paint, trained: tuple[str, ...], held_out: tuple[str, ...], distances: tuple[float, float]
    ) -> Copies:
        """Return settings for copies in some of a painter's styles.

        Args:
            paint: the painter.
            trained: names of the styles to train on; if empty, all that are not held out.
            held_out: names of the styles for measuring; if empty, the last style that is not in `trained`.
            distances: smallest and largest L2 of a copy.

        Raises:
            ArtattackError: the painter lacks a style, or no style is left to train on or to measure with.
        """
        for name in (*trained, *held_out):
            if name not in paint.styles:
                raise unknown("style of the painter", name, paint.styles)
        held_out = held_out or tuple(name for name in paint.styles if name not in trained)[-1:]
        trained = trained or tuple(name for name in paint.styles if name not in held_out)
        if not trained or not held_out:
            raise ArtattackError(
                f"the painter has the styles {', '.join(paint.styles)}: at least one is needed to train on, and "
                "another to measure with"
            )
        return cls(paint, trained, held_out, distances)

    def drawn(self, x: Array, rng: np.random.Generator, *, held_out: bool = False) -> Array:
        """Return a painted copy of each image, in a style and at a distance drawn at random; same shape and range.

        Args:
            x: images (N, H, W, 3) float32 in [0, 1].
            rng: source of the draws.
            held_out: whether to draw from the held-out styles.
        """
        styles = [str(name) for name in rng.choice(self.held_out if held_out else self.trained, len(x))]
        low, high = np.log(self.distances)
        return _at(x, self.paint(x, styles), np.exp(rng.uniform(low, high, len(x))))


def with_copies(shown: tf.data.Dataset, copies: Copies, seed: int, first: int) -> tf.data.Dataset:
    """Paint half of the images of each batch, chosen at random; the seed and the batch's number determine all draws.

    Args:
        shown: batches of images (N, H, W, 3) float32 in [-1, 1], and one more tensor.
        copies: settings for drawing copies.
        seed: seed of the training.
        first: number of the first batch, counted from the start of training.
    """
    import tensorflow as tf

    def draw() -> Iterator[tuple[Array, Array]]:
        for number, (x, others) in enumerate(shown.as_numpy_iterator(), first):
            rng = np.random.default_rng((seed, 5, number))
            places = np.sort(rng.permutation(len(x))[: len(x) // 2])
            mixed = x.copy()
            mixed[places] = 2 * copies.drawn((x[places] + 1) / 2, rng) - 1
            yield mixed, others

    return tf.data.Dataset.from_generator(draw, output_signature=shown.element_spec).prefetch(2)


def _at(x: Array, painted: Array, distances: Array) -> Array:
    """Scale the changes of painted images to L2 distances (N,); values are clipped to [0, 1] afterwards."""
    change = painted - x
    lengths = np.sqrt(np.square(change).sum((1, 2, 3), dtype=np.float64))
    factors = distances / np.maximum(lengths, 1e-6)
    scaled: Array = np.clip(x + factors[:, None, None, None].astype(np.float32) * change, 0, 1)
    return scaled
