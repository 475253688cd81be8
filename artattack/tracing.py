"""Compiling TensorFlow functions without rewriting their source, and freeing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import tensorflow as tf
from tensorflow.python.framework import ops

# Autograph rewrites the source of every function that a trace or a larq layer calls, which takes longer than tracing.
# So loops over tensors call `tf.while_loop`, functions are `compiled`, and `unconverted` ones build networks.
compiled = partial(tf.function, autograph=False)
unconverted = tf.autograph.experimental.do_not_convert


@contextmanager
def forgetting_gradients() -> Iterator[None]:
    """Let TensorFlow free the functions and Keras networks built in this context once they are unused.

    For every custom gradient in a trace, such as that of each `sign` of a binarized network, TensorFlow registers a
    function for the life of the process, which keeps the whole graph and its constants alive. This context removes
    these functions at its end. So take gradients inside the context; later gradients through its functions fail.
    """
    registered = ops.gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        for name in registered.keys() - before:
            del registered[name]
