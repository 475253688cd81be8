"""Bounds: parsed, written, checked, and the images within them."""

import numpy as np
import pytest

from artattack.attacks.options import StyleOptions, parse_options
from artattack.bound import Bound
from artattack.errors import ArtattackError


def test_a_bound_is_read_and_written_alike() -> None:
    bound = Bound.parse("linf = 8/255")
    assert (bound.distance, bound.value) == ("linf", 8 / 255)
    assert str(Bound.parse("l2=5")) == "l2=5"
    assert f"at {Bound('ssim', 0.8)}" == "at ssim=0.8"
    assert isinstance(StyleOptions().budget, Bound)
    assert isinstance(parse_options({"budget": ["l2", 5]}).budget, Bound)
    assert parse_options({"budget": "l2=5"}).model_dump(mode="json")["budget"] == ["l2", 5.0]


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (Bound("l3", 1.0), "unknown distance 'l3'"),
        (Bound("linf", 8.0), r"linf=8: values lie in \[0, 1\], and so does a distance; did you mean 8/255\?"),
        (Bound("ssim", 1.0), "ssim=1: a similarity lies between 0 and 1"),
        (Bound("l2", 0.0), "l2=0: a distance is a finite number above 0"),
        (Bound("l2", 14.0), r"l2=14: two images of 8 x 8 px with values in \[0, 1\] are at most 13.86 apart"),
    ],
)
def test_a_bound_that_no_image_can_keep_is_refused(bound: Bound, message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        bound.checked((8, 8))


def test_images_are_projected_into_some_distances_alone() -> None:
    assert Bound("psnr", 20.0).as_ball() == ("psnr", 20.0)
    with pytest.raises(ArtattackError, match=r"^ssim=0\.8: no ball; give one in linf, l2, psnr$"):
        Bound("ssim", 0.8).as_ball()
    with pytest.raises(ArtattackError, match="a finite number above 0"):
        Bound("linf", 0.0).as_ball()


def test_images_within_a_ball() -> None:
    x = np.full((3, 12, 12, 3), 100 / 255, np.float32)
    moved = x.copy()
    moved[1, 0, 0] += 3 / 255  # three values by three levels: an L2 of sqrt(27) / 255
    moved[2] += 100 / 255
    assert Bound("linf", 3 / 255).contains(x, moved).tolist() == [True, True, False]
    assert Bound("l2", np.sqrt(26.9) / 255).contains(x, moved).tolist() == [True, False, False]
    assert Bound("l2", np.sqrt(27) / 255).contains(x, moved).tolist() == [True, True, False]
    assert Bound("psnr", 20.0).contains(x, moved).tolist() == [True, True, False]  # -20 log10(100 / 255) = 8.1


def test_equal_but_for_rounding() -> None:
    assert Bound("linf", 8 / 255).equals(Bound("linf", 8 / 255 * (1 + 1e-12)))
    assert not Bound("linf", 8 / 255).equals(Bound("l2", 8 / 255))
    assert not Bound("linf", 8 / 255).equals(None)
