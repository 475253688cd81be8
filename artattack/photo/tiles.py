"""Large images painted tile by tile: memory stays that of one batch of tiles, whatever the image's size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from artattack.errors import ArtattackError

_OVERLAP = 0.25  # of a tile's side, at least, shared with its neighbour and faded over


def paint_tiles(image: np.ndarray, tile: int, paint: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Paint square tiles that overlap, and fade them into one another.

    Args:
        image: (H, W, C) float32; each side at least that of a tile.
        tile: side of a tile in pixels.
        paint: from tiles (N, tile, tile, C) to painted tiles of the same shape.

    Returns:
        The painted image, (H, W, C) float32. Each pixel is the mean of the tiles that cover it, weighted by
        how far inside the tile it lies.

    Raises:
        ArtattackError: the image is smaller than a tile.
    """
    height, width, _ = image.shape
    if min(height, width) < tile:
        raise ArtattackError(f"tiles of {tile} px do not fit an image of {width} x {height}: choose smaller ones")
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
    """Return where tiles start along one side: evenly spread, from end to end, overlapping enough."""
    count = 1 + int(np.ceil((length - tile) / (tile * (1 - _OVERLAP))))
    return [round(start) for start in np.linspace(0, length - tile, count)]
