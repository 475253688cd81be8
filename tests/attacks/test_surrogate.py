"""Surrogate gradients: the same output to the last bit, the gradient of the closed form."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from artattack.attacks.surrogate import surrogate, with_gradient
from artattack.errors import ArtattackError

POINTS = np.array([-3.0, -1.0, -0.6, -1e-8, 0.0, 0.3, 1.0, 1.2, 40.0], np.float32)


def swish_sign_slope(x: np.ndarray) -> np.ndarray:
    b = 5.0
    with np.errstate(over="ignore"):
        return np.where(
            np.abs(x) > 10, 0.0, b * (2 - b * x * np.tanh(b * x / 2)) / (1 + np.cosh(b * np.clip(x, -10, 10)))
        )


@pytest.mark.parametrize(
    ("name", "closed_form"),
    [
        ("identity", np.ones_like),
        ("approx-sign", lambda x: np.maximum(0, 2 - 2 * np.abs(x))),
        ("swish-sign", swish_sign_slope),
        ("tanh", lambda x: 1 / np.cosh(x) ** 2),
        ("tanh:0.5", lambda x: 2 / np.cosh(2 * x) ** 2),
    ],
)
def test_output_is_untouched_and_gradient_is_the_closed_form(name: str, closed_form: object) -> None:
    assert callable(closed_form)
    sign = lq.quantizers.SteSign()
    x = tf.constant(POINTS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = with_gradient(sign, surrogate(name))(x)
    np.testing.assert_array_equal(y, sign(x))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(tape.gradient(y, x), closed_form(POINTS), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["aprox-sign", "tanh:x", "identity:2"])
def test_unknown_surrogate_is_named(name: str) -> None:
    with pytest.raises(ArtattackError, match="unknown surrogate"):
        surrogate(name)


@pytest.mark.parametrize("name", ["tanh:0", "tanh:-1", "tanh:nan", "tanh:inf"])
def test_a_temperature_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ArtattackError, match="a temperature above 0"):
        surrogate(name)
