"""Controls: perturbations with no adversary in them, at the same distance. What an attack must beat.

Each moves an image along a path of growing strength, and as far as it is told. One more control, the style attack
through a backbone that was never trained, needs no code of its own: it is the style attack.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from artattack.attacks.budget import match, within
from artattack.errors import unknown
from artattack.inputs.images import quantize, to_float, to_uint8

_HALVINGS = 10  # of a path: the rest of the way is met on a straight line
_WIDEST = 0.25  # standard deviation of the strongest blur, over the longer side

Line = Callable[[np.ndarray, np.random.Generator, np.ndarray | None], np.ndarray]
Path = Callable[[np.ndarray, float], np.ndarray]


def noise(x: np.ndarray, rng: np.random.Generator, style: np.ndarray | None = None) -> np.ndarray:
    """Add white Gaussian noise to one image (H, W, 3)."""
    return x + rng.standard_normal(x.shape).astype(np.float32)


def colour(x: np.ndarray, rng: np.random.Generator, style: np.ndarray | None = None) -> np.ndarray:
    """Shift one image's red, green and blue, each by the same random amount everywhere."""
    return x + rng.standard_normal(3).astype(np.float32)


def blend(x: np.ndarray, rng: np.random.Generator, style: np.ndarray | None) -> np.ndarray:
    """Return the style image (H, W, 3), towards which one image is blended by alpha."""
    assert style is not None
    return style


def blur(x: np.ndarray, strength: float) -> np.ndarray:
    """Blur one image (H, W, 3) by a Gaussian; a strength of 1 is a quarter of the longer side."""
    sigma = strength * _WIDEST * max(x.shape[:2])
    return np.asarray(gaussian_filter(x, (sigma, sigma, 0.0)))


def jpeg(x: np.ndarray, strength: float) -> np.ndarray:
    """Compress one image (H, W, 3); strengths 0 to 1 are qualities 100 to 1."""
    file = io.BytesIO()
    Image.fromarray(to_uint8(x)).save(file, "jpeg", quality=round(100 - 99 * strength))
    return to_float(np.asarray(Image.open(file)))


LINES: dict[str, Line] = {"noise": noise, "colour": colour, "blend": blend}
PATHS: dict[str, Path] = {"blur": blur, "jpeg": jpeg}


def control(
    name: str,
    x: np.ndarray,
    target: np.ndarray,
    seeds: Sequence[int],
    distance: str = "l2",
    style: np.ndarray | None = None,
) -> np.ndarray:
    """Perturb each image by a control until it stands at its target distance.

    Between two strengths of a path, and beyond its strongest, images move on a straight line.

    Args:
        name: a name in `LINES` or `PATHS`.
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        target: wanted distances (N,).
        seeds: one for each image, so that an image's noise does not depend on its batch.
        distance: a name in `artattack.distances.DISTANCES`.
        style: what `blend` blends in, (H, W, 3).

    Returns:
        (N, H, W, 3) float32 on the 8-bit grid.

    Raises:
        ArtattackError: no such control or distance.
    """
    if name in LINES:
        rngs = map(np.random.default_rng, seeds)
        moved = [LINES[name](image, rng, style) for image, rng in zip(x, rngs, strict=True)]
    elif name in PATHS:
        moved = [_just_beyond(PATHS[name], x[i], target[i], distance) for i in range(len(x))]
    else:
        raise unknown("control", name, [*LINES, *PATHS])
    return match(x, np.stack(moved), target, distance, beyond=True)


def _just_beyond(path: Path, x: np.ndarray, target: float, distance: str) -> np.ndarray:
    """Return one image from a path that is as far as the target or little farther; the strongest if none is."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if within(x[None], quantize(path(x, middle))[None], target, distance)[0]:
            low = middle
        else:
            high = middle
    return path(x, high)
