"""Compiled functions that can be let go of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tensorflow.python.framework import ops


@contextmanager
def forgetting_gradients() -> Iterator[None]:
    """Compile functions within, or build Keras networks, that TensorFlow lets go of when nobody needs them.

    For every custom gradient a trace meets, such as that of each `sign` of a binarized network, TensorFlow keeps a
    function under a new name for as long as the process lives, and with it the whole graph and its constants. These
    functions are dropped at the end, so gradients must be taken within, too, and not of what was compiled here.
    """
    registered = ops.gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        for name in registered.keys() - before:
            del registered[name]
