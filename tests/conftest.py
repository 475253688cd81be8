"""Shared by all tests."""

import artattack  # noqa: F401  (chooses Keras 2 before a test imports TensorFlow)
