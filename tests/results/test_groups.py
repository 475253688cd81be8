"""Statistics of a summary's row, counted by hand from its records."""

import math

import numpy as np
import pytest

from artattack.results.groups import Group
from artattack.results.statistics import newcombe


def test_the_gain_in_recognition_is_over_the_untouched_images() -> None:
    after = [True] * 8 + [False] * 2 + [True]
    before = [True] * 2 + [False] * 8 + [math.nan]  # the last is unknown
    group = Group(
        {
            "error": np.array([None] * 11, object),
            "style_identified": np.array(after, float),
            "style_identified_before": np.array(before, float),
        }
    )
    gain, low, high = group.style_gain()
    assert gain == pytest.approx(0.8 - 0.2)
    assert (low, high) == newcombe(np.array(after[:10]), np.array(before[:10], bool))
    assert 0 < low < gain < high < 1
    nobody = np.array([math.nan])
    unknown = Group(
        {
            "error": np.array([None], object),
            "style_identified": nobody,
            "style_identified_before": nobody,
        }
    )
    assert all(map(math.isnan, unknown.style_gain()))
