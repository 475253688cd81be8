"""PyTorch networks as classifiers with gradients, for every gradient-based attack.

TensorFlow calls the network as a custom function whose gradient PyTorch computes. So the estimator, momentum attacks
and the style attack's guides work with PyTorch networks as with Keras networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.models.classifier import Gives
from artattack.models.load_options import LoadOptions
from artattack.models.model import parse_preprocessing, resize, without_preprocessing
from artattack.models.output_choice import chosen_output
from artattack.models.predictor import LEAST_PROBABILITY, Predictor, predictor

Array = NDArray[Any]


@dataclass(eq=False, kw_only=True, repr=False)
class TorchModel(Predictor):
    """A PyTorch network with its preprocessing, input size and label space, usable as classifier, source and guide.

    It has this attribute, besides those of every predictor.

    Attributes:
        network: the network, for outputs and gradients.
    """

    gives: ClassVar[Gives] = "gradients"

    network: TorchNetwork

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """Return differentiable logits (N, K) float32 of images (N, H, W, 3) float32 in [0, 1].

        Images of other sizes are resized to `input_size`; see `artattack.models.model.resize`.
        """
        values = self.network.in_tensorflow(self.preprocessing(resize(x, self.input_size)))
        if self.probabilities:
            values = tf.math.log(tf.maximum(values, LEAST_PROBABILITY))
        return values if self.outputs is None else tf.gather(values, self.outputs, axis=1)


class TorchNetwork:
    """A PyTorch module as a differentiable TensorFlow function.

    Args:
        module: module from preprocessed images (N, 3, h, w) to values (N, K).
        batch: fixed batch size, or None for any.
        output: the output to classify with, if there are several; see `artattack.models.output_choice`.
        name: name of the model, for messages.

    Attributes:
        module: the module.
        classes: K, set after the first call.
    """

    def __init__(
        self, module: torch.nn.Module, batch: int | None = None, output: int | str | None = None, name: str = ""
    ) -> None:
        self.module = module
        self._output = output
        self._name = name
        self._batch = batch
        self._like = next(iter(module.parameters()), torch.empty(0))
        self.classes = 0

    def values(self, x: Array) -> Array:
        """Return values (N, K) float32 of preprocessed images (N, h, w, 3) float32."""
        with torch.no_grad():
            parts = [self.called(given)[: len(part)] for part, given in self._batches(x)]
        return np.concatenate([part.float().cpu().numpy() for part in parts])

    def gradient(self, x: Array, upstream: Array) -> Array:
        """Return the gradient (N, h, w, 3) float32 of the sum of values times `upstream` (N, K)."""
        parts, start = [], 0
        for part, given in self._batches(x):
            given.requires_grad_(True)
            values = self.called(given)[: len(part)]
            weights = torch.from_numpy(upstream[start : start + len(part)]).to(values)
            (found,) = torch.autograd.grad(values, given, weights)
            parts.append(found[: len(part)].permute(0, 2, 3, 1).float().cpu().numpy())
            start += len(part)
        return np.ascontiguousarray(np.concatenate(parts))

    def in_tensorflow(self, x: tf.Tensor) -> tf.Tensor:
        """Return values (N, K) of a tensor of preprocessed images (N, h, w, 3) float32, with PyTorch's gradient."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def called(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
            values = tf.ensure_shape(tf.numpy_function(self.values, [x], tf.float32), (x.shape[0], self.classes))

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return tf.ensure_shape(tf.numpy_function(self.gradient, [x, upstream], tf.float32), x.shape)

            return values, gradient

        return called(x)

    def first_spread(self, x: Array) -> float | None:
        """Return the spread of preprocessed images (N, h, w, 3) at the first batch normalization, relative to training.

        For each channel, the spread is the standard deviation of the layer's input over its standard deviation in
        training; the result is the median over channels. None for TorchScript, which cannot be observed, and for a
        network without batch normalization, or with an untrained one.
        """
        norms = (part for part in self.module.modules() if isinstance(part, torch.nn.BatchNorm2d))
        norm = next(norms, None)
        if isinstance(self.module, torch.jit.ScriptModule) or norm is None:
            return None
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None or (not mean.any() and bool((variance == 1).all())):
            return None
        got: list[torch.Tensor] = []
        hook = norm.register_forward_pre_hook(lambda _, inputs: got.append(inputs[0].detach()))
        try:
            self.values(x)
        finally:
            hook.remove()
        if not got:
            return None
        return float((got[0].std(dim=(0, 2, 3)) / (variance + norm.eps).sqrt()).median())

    def _batches(self, x: Array) -> list[tuple[Array, torch.Tensor]]:
        """Split images into batches; return each with its tensor, zero-padded to a fixed batch size if any."""
        size = self._batch or max(len(x), 1)
        parts = [x[start : start + size] for start in range(0, max(len(x), 1), size)]
        missing = [(self._batch or len(part)) - len(part) for part in parts]
        filled = [np.pad(p, ((0, m), (0, 0), (0, 0), (0, 0))) for p, m in zip(parts, missing, strict=True)]
        return [
            (part, torch.from_numpy(np.ascontiguousarray(given.transpose(0, 3, 1, 2))).to(self._like))
            for part, given in zip(parts, filled, strict=True)
        ]

    def called(self, x: torch.Tensor) -> torch.Tensor:
        """Return values (N, K) of a tensor of preprocessed images (N, 3, h, w)."""
        values = self._chosen(self.module(x))
        return values[:, :, 0, 0] if values.ndim == 4 and values.shape[2:] == (1, 1) else values

    def _chosen(self, returned: Any) -> torch.Tensor:
        """Return the output to classify with; the only tensor of a tuple, list or mapping needs no choice."""
        named = _named(returned)
        tensors = [part for part in named.values() if isinstance(part, torch.Tensor)]
        if self._output is None and len(tensors) == 1:
            return tensors[0]
        if tensors:
            values = list(named.values())[chosen_output(self._name, list(named), self._output)]
            if isinstance(values, torch.Tensor):
                return values
            returned = values
        raise TypeError(
            f"the network returns {type(returned).__name__}, not a tensor; wrap it in a module that returns a tensor"
        )


def _named(returned: Any) -> dict[str, Any]:
    """Return a network's outputs by name: a mapping's keys, a named tuple's fields, or indices from 0."""
    if isinstance(returned, Mapping):
        return {str(name): part for name, part in returned.items()}
    parts = returned if isinstance(returned, tuple | list) else (returned,)
    return dict(zip(getattr(parts, "_fields", map(str, range(len(parts)))), parts, strict=True))


def load_module(
    name: str,
    module: torch.nn.Module,
    options: LoadOptions,
    *,
    weights: str,
    batch: int | None = None,
) -> TorchModel:
    """Make a model from a PyTorch network, after a trial on a few images.

    Args:
        name: name of the model.
        module: module from preprocessed images (N, 3, h, w) to values (N, K); switched to evaluation mode.
        options: options for loading; preprocessing and size are required.
        weights: kind of weights.
        batch: fixed batch size, or None for any.

    Raises:
        ArtattackError: the network fails on images, its outputs are invalid, or their number differs from
            `options.space`.
    """
    if options.preprocessing is None:
        raise without_preprocessing(name)
    if options.size is None:
        raise ArtattackError(f"model '{name}': the network does not fix its input size; give input_size")
    with suppress(NotImplementedError):  # torch.export networks have a single mode
        module.eval()
    network = TorchNetwork(module, batch, options.output, name)
    expected = parse_preprocessing(options.preprocessing)
    known = predictor(
        name,
        network.values,
        preprocessing=expected,
        input_size=options.size,
        label_space=options.space,
        outputs=options.outputs,
        weights=weights,
        weights_sha256=_weights_sha256(module),
    )
    network.classes = known.answers
    return TorchModel(**vars(known), network=network)


def _weights_sha256(module: torch.nn.Module) -> str:
    """Return the hash of a network's named weights and buffers; an exported file has the same hash."""
    digest = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values.detach().float().cpu().numpy(), "<f4").tobytes())
    return digest.hexdigest()
