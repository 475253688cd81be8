"""An atlas of a real layer: the places of channels, and the picture."""

import numpy as np
import pytest

from artattack.errors import ArtattackError
from artattack.networks.atlas import make_atlas


def test_an_atlas_of_four_channels() -> None:
    done: list[tuple[int, int]] = []
    drawn = make_atlas(
        "quicknet_tiny",
        layer="sum:0",
        channels=4,
        size=32,
        steps=2,
        on_progress=lambda what, steps, total: done.append((steps, total)),
    )
    assert drawn.layer == "sum:0"
    assert sorted(drawn.channels.ravel().tolist()) == [0, 16, 32, 48]  # of 64, evenly spread
    assert drawn.picture.shape == (66, 66, 3)  # two of 32 px a side, two px between
    assert (drawn.picture[32:34] == 255).all()
    tiles = [drawn.picture[top : top + 32, left : left + 32] for top in (0, 34) for left in (0, 34)]
    assert len({tile.tobytes() for tile in tiles}) == 4  # each channel has another picture
    assert all(np.ptp(tile) > 0 for tile in tiles)
    assert done[-1] == (8, 8)


def test_too_few_channels_to_arrange() -> None:
    with pytest.raises(ArtattackError, match="needs at least 4 channels, not 3"):
        make_atlas("quicknet_tiny", layer="sum:0", channels=3, size=32, steps=1)
