"""A classifier under test, with the results that several checks share; each is computed on first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artattack.attacks.baselines import make_baseline
from artattack.attacks.options import step_within
from artattack.attacks.surrogate import surrogate, with_gradient
from artattack.errors import ArtattackError
from artattack.models.defended import DefendedNetwork
from artattack.models.estimator import ArtEstimator, to_estimator
from artattack.models.model import Model
from artattack.models.network import Layer, rebuild

Array = NDArray[Any]
Flips = NDArray[np.bool_]

STRAIGHT_THROUGH = "straight-through"  # the surrogate gradient of defences
_HALVINGS = 7  # maximum number of halvings of eps


class Subject:
    """A classifier with the images it is tested on, and attacks on them.

    An attack succeeds on an image if the predicted class differs from the class predicted on the clean image, whether
    or not that class is right; so every image counts. Attacked images are judged without rounding to 8 bits, which
    would undo attacks within small balls.

    Attributes:
        name: the classifier's name in tables.
        model: the classifier.
        x: images (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        eps: radius of the attacks' linf ball, in image units.
        steps: iterations of PGD.
        seed: seed of every random choice.
        others: the other classifiers on the same images, by name: sources of transferred attacks.
    """

    def __init__(
        self, name: str, model: Model | DefendedNetwork, x: Array, *, eps: float, steps: int, seed: int
    ) -> None:
        self.name = name
        self.model = model
        self.x = x
        self.eps = eps
        self.steps = steps
        self.seed = seed
        self.others: Mapping[str, Subject] = {}
        self._estimators: dict[tuple[float, str | None], ArtEstimator] = {}
        self._attacked: dict[tuple[Any, ...], Array] = {}

    @cached_property
    def undefended(self) -> Subject | None:
        """The same classifier without its defences, at the same radius; None for an undefended classifier."""
        if not isinstance(self.model, DefendedNetwork):
            return None
        network: Any = self.model.undefended
        return Subject(self.name, network, self.x, eps=self.radius, steps=self.steps, seed=self.seed)

    @cached_property
    def labels(self) -> Array:
        """Predicted classes (N,) of the clean images, as indices of outputs."""
        return np.asarray(self.model.predict(self.x).argmax(1))

    @cached_property
    def budgets(self) -> tuple[float, ...]:
        """Falling radii: eps, halved until PGD flips at most half of the images, seven times at most."""
        found = [self.eps]
        while self.flips(self.pgd(eps=found[-1])).mean() > 0.5 and len(found) <= _HALVINGS:
            found.append(found[-1] / 2)
        return tuple(found)

    @property
    def radius(self) -> float:
        """The last of `budgets`, at which attacks are compared, because PGD seldom flips every image there."""
        return self.budgets[-1]

    @cached_property
    def white_box(self) -> Flips:
        """Images (N,) that plain PGD flips at `radius`: the reference for the other attacks."""
        return self.flips(self.pgd())

    def estimator(self, temperature: float = 1.0, surrogate_name: str | None = None) -> ArtEstimator:
        """Return the classifier's ART estimator, with logits divided by a temperature or with surrogate gradients."""
        key = temperature, surrogate_name
        if key not in self._estimators:
            model = with_surrogate(self.model, surrogate_name) if surrogate_name else self.model
            height, width, channels = self.x.shape[1:]
            self._estimators[key] = to_estimator(model, input_shape=(height, width, channels), temperature=temperature)
        return self._estimators[key]

    def pgd(
        self,
        *,
        eps: float | None = None,
        steps: int | None = None,
        restarts: int = 0,
        temperature: float = 1.0,
        surrogate_name: str | None = None,
        rows: Flips | None = None,
    ) -> Array:
        """Return the images (N, H, W, 3) after linf PGD on the cross-entropy.

        Args:
            eps: radius of the ball, by default `radius`.
            steps: iterations, by default the subject's; each has length 2.5 eps / steps, at most eps.
            restarts: number of random starts in the ball; with 0, PGD starts once, from the clean image.
            temperature: divisor of the logits in the loss.
            surrogate_name: surrogate gradient of the quantizers, or `STRAIGHT_THROUGH`, which replaces the gradient of
                the defences by the identity; by default the model's own gradients.
            rows: mask (N,) of the images to attack; by default all.
        """
        radius, count = self.radius if eps is None else eps, self.steps if steps is None else steps
        key = radius, count, restarts, temperature, surrogate_name, None if rows is None else rows.tobytes()
        if key not in self._attacked:
            parameters = {
                "eps": radius,
                "eps_step": step_within(radius, count),
                "max_iter": count,
                "num_random_init": restarts,
            }
            estimator = self.estimator(temperature, surrogate_name)
            self._attacked[key] = self.attack("pgd", parameters, estimator, rows)
        return self._attacked[key]

    def attack(
        self,
        name: str,
        parameters: Mapping[str, Any],
        estimator: ArtEstimator | None = None,
        rows: Flips | None = None,
    ) -> Array:
        """Return the images (N, H, W, 3) after an untargeted ART attack.

        Args:
            name: the attack, as for `artattack.attacks.baselines.make_baseline`.
            parameters: its parameters.
            estimator: the source, by default the classifier's own estimator.
            rows: mask (N,) of the images to attack; by default all.

        Raises:
            Exception: any error of the attack.
        """
        attack = make_baseline(name, estimator or self.estimator(), parameters, seed=self.seed)
        attacked, chosen = self.x.copy(), slice(None) if rows is None else rows
        attacked[chosen] = attack.generate(self.x[chosen], self.labels[chosen])
        return attacked

    def flips(self, images: Array, rows: Flips | None = None) -> Flips:
        """Return the mask (N,) of images whose predicted class differs from the clean one.

        Args:
            images: attacked versions (N, H, W, 3), in the order of the clean ones.
            rows: mask (N,) of the images to judge; the others count as not flipped.

        Raises:
            ArtattackError: an attacked image has values that are not finite.
        """
        if not np.isfinite(images).all():
            raise ArtattackError("the attack gave images with values that are not finite")
        looked_at = np.ones(len(images), bool) if rows is None else rows
        flipped = np.zeros(len(images), bool)
        flipped[looked_at] = self.model.predict(images[looked_at]).argmax(1) != self.labels[looked_at]
        return flipped


def with_surrogate(model: Model | DefendedNetwork, name: str) -> Model | DefendedNetwork:
    """Return a model with the same outputs and a surrogate gradient in the quantizers of activations.

    Behind defences, the surrogate applies to the network, and the defences keep their own gradients.

    Args:
        model: the model.
        name: a surrogate's name, as for `artattack.attacks.surrogate.surrogate`; or, for a model with defences,
            `STRAIGHT_THROUGH`, which replaces the gradient of the defences by the identity.

    Raises:
        ArtattackError: the surrogate does not exist, or no layer has quantized inputs.
    """
    if isinstance(model, DefendedNetwork) and name == STRAIGHT_THROUGH:
        return replace(model, straight_through=True)
    if isinstance(model, DefendedNetwork):
        return replace(model, undefended=with_surrogate(network_of(model), name))
    derivative = surrogate(name)
    replaced = 0

    def exchange(layer: Layer) -> Layer | None:
        nonlocal replaced
        if getattr(layer, "input_quantizer", None) is None:
            return None
        replaced += 1
        quantizer = with_gradient(layer.input_quantizer, derivative)
        return type(layer).from_config({**layer.get_config(), "input_quantizer": quantizer})

    network = rebuild(model.network, replace=exchange)
    if not replaced:
        raise ArtattackError(f"model '{model.name}': no layer binarizes its inputs")
    return replace(model, network=network)


def network_of(model: Model | DefendedNetwork) -> Model:
    """Return the model with readable layers: the model itself, or the one behind its defences.

    Raises:
        ArtattackError: it has no readable layers.
    """
    found = model.undefended if isinstance(model, DefendedNetwork) else model
    if isinstance(found, Model):
        return found
    raise ArtattackError(f"model '{model.name}' has no readable layers: checks need a Keras network")
