"""Plain style transfer loops in TensorFlow and PyTorch, in the form of common tutorials, for comparison.

They use content, Gram style and total variation losses in the attack's layers, with each library's Adam. Losses are
means, as in tutorials; their scale does not change the amount of work.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

STYLE_WEIGHT, CONTENT_WEIGHT, TV_WEIGHT, LEARNING_RATE = 1e-2, 1e4, 30.0, 0.02


class Task(NamedTuple):
    """The task of all loops.

    Attributes:
        network: truncated copy of a backbone, with the outputs of the style layers, then of the content layers.
        preprocessing: from images in [0, 1] to the network's input.
        style_layers, content_layers: layer names.
        images: (N, H, W, 3) float32 in [0, 1].
        style: (H, W, 3) float32 in [0, 1].
    """

    network: Any
    preprocessing: Any
    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    images: np.ndarray
    style: np.ndarray


class TensorFlowLoop:
    """A loop with GradientTape and a Keras optimizer on a variable, eager or with a tf.function per step."""

    def __init__(self, task: Task, *, compiled: bool) -> None:
        self._task = task
        self._image = tf.Variable(task.images)
        self._optimizer = tf_keras.optimizers.Adam(LEARNING_RATE)
        self._optimizer.build([self._image])
        self._style_targets = [gram(features) for features in self._outputs(task.style[None])[0]]
        self._content_targets = self._outputs(task.images)[1]
        self._step = tf.function(self._plain_step) if compiled else self._plain_step

    def __call__(self, steps: int) -> np.ndarray:
        """Return the images (N, H, W, 3) after some steps. The optimizer keeps its moments between calls."""
        self._image.assign(self._task.images)
        for _ in range(steps):
            self._step()
        return self._image.numpy()  # type: ignore[no-any-return]

    def _outputs(self, x: Any) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        outputs = self._task.network(self._task.preprocessing(tf.convert_to_tensor(x)), training=False)
        count = len(self._task.style_layers)
        return outputs[:count], outputs[count:]

    def loss(self, x: tf.Tensor) -> tf.Tensor:
        """Return the loss, summed over images."""
        styles, contents = self._outputs(x)
        style = [
            tf.reduce_mean(tf.square(gram(f) - target), (1, 2))
            for f, target in zip(styles, self._style_targets, strict=True)
        ]
        content = [
            tf.reduce_mean(tf.square(f - target), (1, 2, 3))
            for f, target in zip(contents, self._content_targets, strict=True)
        ]
        return tf.reduce_sum(
            STYLE_WEIGHT / len(style) * tf.add_n(style)
            + CONTENT_WEIGHT / len(content) * tf.add_n(content)
            + TV_WEIGHT * tf.image.total_variation(x)
        )

    def _plain_step(self) -> None:
        with tf.GradientTape() as tape:
            loss = self.loss(self._image)
        self._optimizer.apply_gradients([(tape.gradient(loss, self._image), self._image)])
        self._image.assign(tf.clip_by_value(self._image, 0.0, 1.0))


def gram(features: tf.Tensor) -> tf.Tensor:
    """Return Gram matrices (N, C, C) of features (N, H, W, C), divided by H W."""
    positions = tf.cast(tf.shape(features)[1] * tf.shape(features)[2], tf.float32)
    return tf.einsum("nhwc,nhwd->ncd", features, features) / positions


class TorchLoop:
    """A loop with autograd and torch.optim.Adam on VGG19 in torch.nn, with the Keras network's weights."""

    _STAGES = (2, 2, 4, 4, 4)  # 3 x 3 convolutions per stage; max pooling between stages

    def __init__(self, task: Task) -> None:
        self._torch: Any = importlib.import_module("torch")  # optional, so unknown to type checkers
        torch, nn = self._torch, self._torch.nn
        self._task = task
        self._layers: list[tuple[str, Any]] = []
        known = {layer.name: layer for layer in task.network.layers}
        for stage, count in enumerate(self._STAGES, 1):
            for name in (f"block{stage}_conv{k}" for k in range(1, count + 1)):
                if name in known:  # others are beyond the deepest layer used
                    kernel, bias = known[name].get_weights()
                    convolution = nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1).requires_grad_(False)
                    convolution.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
                    convolution.bias.copy_(torch.from_numpy(bias))
                    self._layers.append((name, nn.Sequential(convolution, nn.ReLU())))
            self._layers.append(("", nn.MaxPool2d(2)))
        while not self._layers[-1][0]:
            self._layers.pop()
        self._mean = torch.tensor(task.preprocessing.mean).reshape(1, 3, 1, 1)
        self._original = torch.from_numpy(task.images.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            style = self._outputs(torch.from_numpy(task.style.transpose(2, 0, 1)[None].copy()))
            content = self._outputs(self._original)
            self._style_targets = {name: self._gram(style[name]) for name in task.style_layers}
            self._content_targets = {name: content[name] for name in task.content_layers}

    def __call__(self, steps: int) -> np.ndarray:
        """Return the images (N, 3, H, W) after some steps."""
        image = self._original.clone().requires_grad_(True)
        optimizer = self._torch.optim.Adam([image], lr=LEARNING_RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            self.loss(image).backward()
            optimizer.step()
            with self._torch.no_grad():
                image.clamp_(0, 1)
        return image.detach().numpy()  # type: ignore[no-any-return]

    def loss(self, x: Any) -> Any:
        """Return the loss, summed over images."""
        outputs = self._outputs(x)
        style = [(self._gram(outputs[k]) - t).square().mean((1, 2)) for k, t in self._style_targets.items()]
        content = [(outputs[k] - t).square().mean((1, 2, 3)) for k, t in self._content_targets.items()]
        variation = x.diff(dim=2).abs().sum((1, 2, 3)) + x.diff(dim=3).abs().sum((1, 2, 3))
        return (
            STYLE_WEIGHT / len(style) * sum(style)
            + CONTENT_WEIGHT / len(content) * sum(content)
            + TV_WEIGHT * variation
        ).sum()

    def _outputs(self, x: Any) -> dict[str, Any]:
        x = 255 * x.flip(1) - self._mean
        outputs = {}
        for name, layer in self._layers:
            x = outputs[name] = layer(x)
        return outputs

    def _gram(self, features: Any) -> Any:
        flat = features.flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]
