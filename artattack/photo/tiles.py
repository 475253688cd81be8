"""Painting large images tile by tile, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from artattack.errors import ArtattackError

_OVERLAP = 0.25  # minimum overlap of neighbouring tiles, as a share of a tile's side


def paint_tiles(image: np.ndarray, tile: int, paint: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Paint overlapping square tiles, and blend them.

    Args:
        image: (H, W, C) float32; each side at least `tile`.
        tile: side of a tile in pixels.
        paint: function from tiles (N, tile, tile, C) to painted tiles of the same shape.

    Returns:
        The painted image, (H, W, C) float32. Each pixel is the mean of the tiles that cover it, weighted by its
        distance from the tile's edge.

    Raises:
        ArtattackError: the image is smaller than a tile.
    """
    height, width, _ = image.shape
    if min(height, width) < tile:
        raise ArtattackError(f"tiles of {tile} px do not fit an image of {width} x {height} px; choose smaller tiles")
    corners = [(top, left) for top in _starts(height, tile) for left in _starts(width, tile)]
    painted = paint(np.stack([image[top : top + tile, left : left + tile] for top, left in corners]))
    inside = np.minimum(np.arange(tile) + 1, tile - np.arange(tile)).astype(np.float32)  # 1 at the edge
    weight = np.minimum.outer(inside, inside)[:, :, None]
    total, weights = np.zeros_like(image), np.zeros((height, width, 1), np.float32)
    for (top, left), piece in zip(corners, painted, strict=True):
        total[top : top + tile, left : left + tile] += weight * piece
        weights[top : top + tile, left : left + tile] += weight
    return total / weights


def _starts(length: int, tile: int) -> list[int]:
    """Return the start of each tile along one side: evenly spread from end to end, with enough overlap."""
    count = 1 + int(np.ceil((length - tile) / (tile * (1 - _OVERLAP))))
    return [round(start) for start in np.linspace(0, length - tile, count)]
