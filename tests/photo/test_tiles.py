"""Painting tile by tile."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artattack.errors import ArtattackError
from artattack.photo.tiles import paint_tiles


@settings(max_examples=30, deadline=None)
@given(height=st.integers(8, 60), width=st.integers(8, 60))
def test_tiles_left_alone_give_the_image_back(height: int, width: int) -> None:
    image = np.random.default_rng(height).random((height, width, 3)).astype(np.float32)
    np.testing.assert_allclose(paint_tiles(image, 8, lambda tiles: tiles), image, atol=1e-6)


def test_every_tile_is_painted_in_one_batch_and_faded_by_hand() -> None:
    # Two tiles of side 4 on a strip of 7 start at 0 and 3, so they share column 3, where each lies at its edge.
    image = np.zeros((4, 7, 1), np.float32)

    def paint(tiles: np.ndarray) -> np.ndarray:
        assert tiles.shape == (2, 4, 4, 1)
        return np.stack([np.full((4, 4, 1), 1.0), np.full((4, 4, 1), 3.0)])

    np.testing.assert_allclose(paint_tiles(image, 4, paint)[0, :, 0], [1, 1, 1, 2, 3, 3, 3])


def test_an_image_of_one_tile_is_painted_whole() -> None:
    image = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(paint_tiles(image, 8, lambda tiles: 1 - tiles), 1 - image, atol=1e-6)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ArtattackError, match="do not fit"):
        paint_tiles(np.zeros((4, 9, 3), np.float32), 8, lambda tiles: tiles)
