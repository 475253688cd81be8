"""Isolates the images that an attack fails on, so that the rest of the batch keeps its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artattack.errors import ArtattackError

Array = NDArray[Any]


class ImagesFailedError(ArtattackError):
    """An attack failed on some images of a batch.

    Attributes:
        made: all images, (N, H, W, 3) float32; failed ones hold arbitrary values.
        why: from the index of each failed image to the reason.
    """

    def __init__(self, made: Array, why: Mapping[int, str]) -> None:
        """Make the message: how many images failed, and why the first one did."""
        first = why[min(why)]
        everywhere = len(why) == len(made) and len(set(why.values())) == 1
        super().__init__(first if everywhere else f"{len(why)} of {len(made)} images failed, the first so: {first}")
        self.made = made
        self.why = dict(why)


def settled(
    x: Array,
    generate: Callable[[], Array],
    source: str = "",
    seen: Array | None = None,
    unfit: Mapping[int, str] = MappingProxyType({}),
) -> tuple[Array, dict[int, str]]:
    """Run an attack on a batch, and isolate the images that it fails on.

    Images that cannot be attacked stay in the batch: removing them might change the last digits of the others.

    Args:
        x: originals (N, H, W, 3) float32.
        generate: function that returns the perturbed images.
        source: name of the attacked model, if its logits matter.
        seen: its logits for the originals, (N, K).
        unfit: from indices of images that cannot be attacked to the reason.

    Returns:
        The images (N, H, W, 3) float32, originals where the attack failed, and from the index of each failed image to
        the reason.

    Raises:
        Exception: any exception of `generate` other than ImagesFailedError.
    """
    why = dict(unfit) | ({} if seen is None else not_finite(source, seen))
    try:
        made = generate()
    except ImagesFailedError as error:
        made, why = error.made, error.why | why
    broken = np.flatnonzero(~np.isfinite(made).all((1, 2, 3)))
    why = {int(i): "the attack gave values that are not finite" for i in broken} | why
    failed = np.isin(np.arange(len(x)), list(why))[:, None, None, None]
    return np.where(failed, x, made), why


def not_finite(name: str, logits: Array) -> dict[int, str]:
    """Return a message for each image with non-finite logits (N, K), by index."""
    places = np.flatnonzero(~np.isfinite(logits).all(1))
    return {int(i): f"model '{name}' gave values that are not finite" for i in places}
