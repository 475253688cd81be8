"""Controls: perturbations with no adversary in them, at the same distance. What an attack must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from artattack.attacks.budget import match
from artattack.errors import unknown


def noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise to one image (H, W, 3)."""
    return x + rng.standard_normal(x.shape).astype(np.float32)


CONTROLS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {"noise": noise}


def control(name: str, x: np.ndarray, target: np.ndarray, seeds: Sequence[int], distance: str = "l2") -> np.ndarray:
    """Perturb each image by a control until it stands at its target distance.

    Args:
        name: a name in `CONTROLS`.
        x: originals (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        target: wanted distances (N,).
        seeds: one for each image, so that an image's noise does not depend on its batch.
        distance: a name in `artattack.distances.DISTANCES`.

    Returns:
        (N, H, W, 3) float32 on the 8-bit grid.

    Raises:
        ArtattackError: no such control or distance.
    """
    if name not in CONTROLS:
        raise unknown("control", name, CONTROLS)
    moved = np.stack([CONTROLS[name](image, np.random.default_rng(seed)) for image, seed in zip(x, seeds, strict=True)])
    return match(x, moved, target, distance, beyond=True)
