"""Feature visualisation: images for a channel of known preference, and the arrangement of pictures."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from artattack.attacks.objective import Targets
from artattack.errors import ArtattackError
from artattack.models.model import Model, parse_preprocessing
from artattack.networks.atlas import arrange
from artattack.networks.channels import ChannelObjective, visualise_channels


@pytest.fixture(scope="module")
def colours() -> Model:
    """A network whose channels are red, green and blue."""
    inputs = tf_keras.Input((32, 32, 3))
    x = tf_keras.layers.Conv2D(3, 1, use_bias=False, name="colours")(inputs)
    outputs = tf_keras.layers.Dense(2)(tf_keras.layers.GlobalAveragePooling2D(name="pooled")(x))
    network = tf_keras.Model(inputs, outputs)
    network.get_layer("colours").set_weights([np.eye(3, dtype=np.float32)[None, None]])
    return Model("m", "file", "", False, network, (32, 32), parse_preprocessing("unit"), None, (), ())


def test_the_loss_is_minus_the_mean_activation_of_the_picked_channel(colours: Model) -> None:
    objective = ChannelObjective(colours, "colours")
    assert objective.channels == 3
    x = tf.constant(np.random.default_rng(0).random((2, 8, 8, 3), np.float32))
    losses = objective(x, Targets([tf.one_hot([2, 0], 3)], []))
    np.testing.assert_allclose(losses.style, [-x[0, ..., 2].numpy().mean(), -x[1, ..., 0].numpy().mean()], rtol=1e-5)
    assert losses.content.numpy().tolist() == [0, 0]


def test_each_picture_takes_the_colour_of_its_channel(colours: Model) -> None:
    objective = ChannelObjective(colours, "colours")
    images = visualise_channels(objective, [0, 2], size=32, steps=20)
    assert images.shape == (2, 32, 32, 3)
    red, blue = images.mean((1, 2))  # colours go together in natural images, and so in the spectrum
    assert red[0] > red[2] + 0.05
    assert blue[2] > blue[0] + 0.05
    np.testing.assert_array_equal(visualise_channels(objective, [0, 2], size=32, steps=20), images)


def test_a_layer_without_channels_is_refused(colours: Model) -> None:
    with pytest.raises(ArtattackError, match="'pooled' of 'm' has no channels"):
        ChannelObjective(colours, "pooled")


def test_pictures_that_are_seen_alike_lie_side_by_side() -> None:
    rng = np.random.default_rng(0)
    kinds = np.eye(2)[np.repeat([0, 1], 8)] * 10  # two kinds of eight
    grid = arrange(np.concatenate([kinds, rng.normal(size=(16, 4)) * 0.1], 1))
    assert sorted(grid.ravel().tolist()) == list(range(16))
    kind = (grid >= 8).astype(int)
    neighbours = (kind[1:] == kind[:-1]).sum() + (kind[:, 1:] == kind[:, :-1]).sum()
    assert neighbours >= 18  # of 24; 11.2 are alike by chance
    assert sorted(arrange(rng.normal(size=(5, 3))).ravel().tolist()) == [-1] * 4 + list(range(5))
