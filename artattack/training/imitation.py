"""The joint network around a student: from images to its distance from the teacher, in logits and features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from artattack.errors import ArtattackError, unknown
from artattack.models.registry import model_infos
from artattack.training.data import Array
from artattack.training.train import make_optimizer


@dataclass(frozen=True)
class Joint:
    """A student, and the joint network that trains it.

    Attributes:
        student: larq-zoo network, from preprocessed images to logits.
        model: compiled network from images in [-1, 1] to the student's logits. Its loss uses logits passed with the
            images or, with features, those of the teacher inside the network.
        pairs: for each teacher layer, the name of the student layer that imitates it, and the teacher layer's name.
        compared: network from images in [-1, 1] to the student's map and the teacher's standardised map of each pair,
            alternating; None without features.
    """

    student: Any
    model: Any
    pairs: tuple[tuple[str, str], ...]
    compared: Any = None


def architecture(name: str) -> Any:
    """Return the registry row of a larq-zoo architecture.

    Raises:
        ArtattackError: no architecture has that name.
    """
    infos = {info.name: info for info in model_infos() if info.family in ("larq_zoo", "bundled")}
    if name not in infos:
        raise unknown("student architecture", name, infos)
    return infos[name]


def build_joint(
    teacher: Any,
    *,
    student: str,
    start: str | None,
    size: int,
    features: bool,
    temperature: float,
    learning_rate: float,
    steps: int,
    seed: int,
) -> Joint:
    """Build a student, and a joint network from images to losses on logits and, optionally, features.

    The joint network takes images in [-1, 1] and applies each network's preprocessing. With features it includes the
    teacher, which sees the student's images at the student's size.

    Args:
        teacher: the classifier.
        student: a larq-zoo architecture.
        start: a model with initial weights, or None.
        size: side of the images in pixels.
        features: whether to imitate features, too.
        temperature: divisor of the logits in the loss.
        learning_rate: initial learning rate of Adam.
        steps: steps of the whole training.
        seed: seed of new weights.

    Raises:
        ArtattackError: the architecture or start does not exist, or the teacher's layers cannot be read at that size.
    """
    import tf_keras

    from artattack.models.model import parse_preprocessing

    tf_keras.utils.set_random_seed(seed)
    network = build_student(student, start, size, teacher.classes)
    pairs = pair_layers(network, teacher, size) if features else ()
    shape = (size, size, 3)
    image = tf_keras.Input(shape, name="image")
    expected = parse_preprocessing(architecture(student).preprocessing)
    inner = tf_keras.Model(
        network.input,
        [*(network.get_layer(name).output for name, _ in pairs), network.layers[-1].input],
        name="student",
    )
    outputs = inner(expected((image + 1) / 2))
    *own, logits = outputs if isinstance(outputs, list | tuple) else [outputs]
    model = tf_keras.Model(image, logits, name="distilling")
    optimizer = make_optimizer(learning_rate, steps)
    if not features:
        model.compile(optimizer=optimizer, loss=lambda taught, learnt: imitation(taught, learnt, temperature))
        return Joint(network, model, pairs)
    *wanted, taught = _teachers(teacher, [layer for _, layer in pairs], image)
    compared: list[Any] = []
    for mine, target, (_, layer) in zip(own, wanted, pairs, strict=True):
        both = compare(mine, target, layer)
        compared += both
        _add_loss(model, mean_square(*both), layer)
    _add_loss(model, _mean(imitation(taught, logits, temperature)), "logits")
    model.compile(optimizer=optimizer)
    return Joint(network, model, pairs, tf_keras.Model(image, compared, name="compared"))


def _teachers(teacher: Any, layers: list[str], image: Any) -> list[Any]:
    """Return a teacher's layer outputs and logits for images in [-1, 1] of any size."""
    from artattack.models.network import rebuild

    last = teacher.network.output._keras_history[0].name
    try:
        reader = rebuild(teacher.network, [*layers, last], input_shape=tuple(image.shape[1:]))
    except ArtattackError as error:
        raise ArtattackError(
            f"{error}; distil at the teacher's own size (--size {teacher.input_size[0]}) or with --logits-only"
        ) from error
    return list(reader(teacher.preprocessing((image + 1) / 2), training=False))


def imitation(taught: Any, learnt: Any, temperature: float) -> Any:
    """Return the distillation loss (N,): the KL divergence of softened probabilities, times temperature squared.

    G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015.

    Args:
        taught: the teacher's logits (N, K).
        learnt: the student's logits (N, K).
        temperature: divisor of both.
    """
    import tensorflow as tf

    target = tf.nn.log_softmax(taught / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(target) * (target - tf.nn.log_softmax(learnt / temperature)), -1)


def _add_loss(model: Any, loss: Any, name: str) -> None:
    model.add_loss(loss)
    model.add_metric(loss, name=name)


def _mean(values: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(values)


def compare(own: Any, target: Any, layer: str) -> tuple[Any, Any]:
    """Return a 1x1 convolution of a student's map, and the teacher's map standardised by channel.

    Args:
        own: the student's map (N, h, h, c).
        target: the teacher's map (N, H, H, C).
        layer: name of the teacher's layer, for the names of new layers.

    Returns:
        Two maps (N, S, S, C), with S the smaller of h and H. No gradient passes through the second.
    """
    import tensorflow as tf
    import tf_keras

    layers = tf_keras.layers
    side = min(own.shape[1], target.shape[1])

    def brought(x: Any) -> Any:
        return x if x.shape[1] == side else tf.image.resize(x, (side, side), method="area")

    standard = layers.BatchNormalization(momentum=0.9, center=False, scale=False, name=f"{layer}_standardised")(
        brought(target)
    )
    return layers.Conv2D(target.shape[-1], 1, name=f"{layer}_map")(brought(own)), tf.stop_gradient(standard)


def mean_square(mapped: Any, standard: Any) -> Any:
    """Return the mean squared difference of two maps from `compare`, about the share of variance left unexplained."""
    import tensorflow as tf

    return tf.reduce_mean(tf.square(mapped - standard))


def unexplained(joint: Joint, x: Array, batch: int) -> dict[str, float]:
    """Return the share of the variance of each teacher layer that the student leaves unexplained.

    For each channel, the share is the squared difference from the teacher over the teacher's squared deviation from its
    mean, both summed over images and positions. The result is the mean over the channels that vary. A student that
    always gives a channel's mean leaves 1.

    Args:
        joint: joint network with features.
        x: held-out crops uint8 (N, S, S, 3).
        batch: crops per batch.

    Returns:
        Unexplained share, 0 or more, by the name of the teacher's layer; NaN for a layer without a channel that varies.
    """
    sums: list[Array] = []
    for start in range(0, len(x), batch):
        found = joint.compared(x[start : start + batch].astype(np.float32) / 127.5 - 1, training=False)
        maps = [np.asarray(values, np.float64) for values in found]
        for place, (mapped, standard) in enumerate(zip(maps[::2], maps[1::2], strict=True)):
            flat = standard.reshape(-1, standard.shape[-1])
            wrong = np.square(mapped.reshape(flat.shape) - flat).sum(0)
            part = np.stack([wrong, flat.sum(0), np.square(flat).sum(0), np.full(flat.shape[1], len(flat))])
            if len(sums) <= place:
                sums.append(part)
            else:
                sums[place] += part
    shares = {}
    for (_, layer), (wrong, first, second, n) in zip(joint.pairs, sums, strict=True):
        spread = second - first**2 / n
        varies = spread > 1e-3 * n  # standardised variance is 1
        shares[layer] = float((wrong[varies] / spread[varies]).mean()) if varies.any() else float("nan")
    return shares


def pair_layers(student: Any, teacher: Any, size: int) -> tuple[tuple[str, str], ...]:
    """Pair each of the teacher's style layers with the student's residual sum that imitates it.

    It is the deepest of the sums whose maps are nearest in size to those of the style layer, on a logarithmic scale.

    Raises:
        ArtattackError: the student has no residual sums.
    """
    from artattack.models.network import is_sum, layer_names, rebuild

    sums = [layer for layer in student.layers if is_sum(layer)]
    if not sums:
        raise ArtattackError("the student has no residual sums to imitate features with; distil with --logits-only")
    layers = layer_names(teacher.network, teacher.style_layers)
    reader = rebuild(teacher.network, list(layers), input_shape=(size, size, 3))
    shapes = reader.output_shape if isinstance(reader.output_shape, list) else [reader.output_shape]
    pairs = []
    for name, shape in zip(layers, shapes, strict=True):
        far = [abs(np.log(layer.output_shape[1] / shape[1])) for layer in sums]
        deepest = len(sums) - 1 - int(np.argmin(far[::-1]))
        pairs.append((sums[deepest].name, name))
    return tuple(pairs)


def build_student(name: str, start: str | None, size: int, classes: int) -> Any:
    """Build a student for training.

    Args:
        name: a larq-zoo architecture.
        start: a model with initial weights, which a layer takes if all its weights have the same shapes; by default
            the bundled weights of a bundled network, otherwise random weights.
        size: side of the images in pixels.
        classes: number of outputs.

    Raises:
        ArtattackError: the architecture does not exist, or `start` has another one or no readable weights.
    """
    from artattack.models import larq_zoo, load_model
    from artattack.training.networks import with_latent_weights

    info = architecture(name)
    student = larq_zoo.build(replace(info, input_size=(size, size)), "random", classes)
    start = start or (name if info.family == "bundled" else None)
    if start is None:
        return student
    given = load_model(start)
    if given.gives != "features":
        raise ArtattackError(f"start '{start}' has no readable weights")
    layers = [layer for layer in given.network.layers if layer.weights]  # type: ignore[attr-defined]
    own = [layer for layer in student.layers if layer.weights]
    if [type(layer) for layer in layers] != [type(layer) for layer in own]:
        raise ArtattackError(f"start '{start}' does not have the architecture {name}; name a model that does")
    for layer, other in zip(own, layers, strict=True):
        if [w.shape for w in layer.weights] == [w.shape for w in other.weights]:
            layer.set_weights(other.get_weights())
    with_latent_weights(student)
    return student
