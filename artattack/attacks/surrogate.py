"""Surrogate gradients of sign(): they change a quantizer's gradient, never its output.

An attack that succeeds much more often with a surrogate than with the model's own straight-through estimator reveals
masked gradients instead of robustness (Athalye et al., ICML 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from artattack.errors import ArtattackError, unknown

Quantizer = Callable[[tf.Tensor], tf.Tensor]


def identity(x: tf.Tensor) -> tf.Tensor:
    """dy/dx = 1 (Bengio et al. 2013, without clipping)."""
    return tf.ones_like(x)


def approx_sign(x: tf.Tensor) -> tf.Tensor:
    """dy/dx = 2 - 2|x| for |x| <= 1, else 0 (Liu et al., Bi-Real Net, ECCV 2018, eq. 6)."""
    return tf.nn.relu(2.0 - 2.0 * tf.abs(x))


def swish_sign(x: tf.Tensor, beta: float = 5.0) -> tf.Tensor:
    """dy/dx = beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x)) (Darabi et al., BNN+, 2018)."""
    z = beta * tf.clip_by_value(x, -10.0, 10.0)  # cosh would overflow; the derivative is 0 there
    return beta * (2.0 - z * tf.tanh(z / 2.0)) / (1.0 + tf.cosh(z))


def tanh(x: tf.Tensor, temperature: float = 1.0) -> tf.Tensor:
    """dy/dx = (1 - tanh(x / t)^2) / t: sign() softened with temperature t."""
    return (1.0 - tf.tanh(x / temperature) ** 2) / temperature


SURROGATES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "identity": identity,
    "approx-sign": approx_sign,
    "swish-sign": swish_sign,
    "tanh": tanh,
}


def surrogate(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the derivative of that name; `tanh:0.5` gives a temperature.

    Raises:
        ArtattackError: unknown surrogate or invalid temperature.
    """
    base, _, argument = name.partition(":")
    if base not in SURROGATES or (argument and base != "tanh"):
        raise unknown("surrogate", name, [*SURROGATES, "tanh:T"])
    if not argument:
        return SURROGATES[base]
    try:
        temperature = float(argument)
    except ValueError:
        raise unknown("surrogate", name, [*SURROGATES, "tanh:T"]) from None
    if not 0 < temperature < math.inf:
        raise ArtattackError(f"surrogate '{name}': T is a temperature above 0")
    return lambda x: tanh(x, temperature)


def with_gradient(quantizer: Quantizer, derivative: Callable[[tf.Tensor], tf.Tensor]) -> Quantizer:
    """Return a quantizer with the same output, to the last bit, and another derivative."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def quantize(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return quantizer(x), lambda upstream: upstream * derivative(x)

    return quantize  # type: ignore[no-any-return]
