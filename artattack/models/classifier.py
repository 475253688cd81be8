"""Interface of scored models: logits of images. No TensorFlow here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from artattack.errors import ArtattackError
from artattack.inputs.labels import LabelSpace, names_of
from artattack.models.defences import Defence

DRAWS = 8  # number of averaged answers of a model with random answers

# Outputs of a model; each value includes those after it.
Gives = Literal["features", "gradients", "logits"]


class Classifier(ABC):
    """A model with logits; its subclasses, all dataclasses, add further outputs.

    Attributes:
        gives: outputs of the model: `logits` are enough for scoring and for attacks by queries; `gradients` also serve
            gradient attacks; `features` also serve style transfer, as a backbone.
        name: registry name, stem of the file, or the user's name.
        weights: `imagenet`, `bundled`, `random`, `file`, `python` (a Python object) or `http` (a server).
        weights_sha256: identity of the model: hash of the weights' values, of the file, or of answers.
        binary: whether the network is known to have binarized layers.
        input_size: (h, w) in pixels of the network's input.
        label_space: class of each of the model's K logits, of ImageNet or its own by name; None if unknown.
        outputs: indices of the network's outputs that are the model's logits, in order; None for all.
        probabilities: whether the network gives probabilities, whose logarithms are the model's logits.
        doubts: doubts about the model, each a line that follows its name (`artattack.models.doubts`).
        draws: number of answers whose probabilities are averaged, or that vote; 1 unless the model is random.
        defences: defences in front of the network, in the order they apply (`artattack.models.defended`).
    """

    gives: ClassVar[Gives]

    name: str
    weights: str
    weights_sha256: str
    binary: bool
    input_size: tuple[int, int]
    label_space: LabelSpace | None
    outputs: tuple[int, ...] | None
    probabilities: bool
    doubts: tuple[str, ...] = ()
    draws: int = 1
    defences: tuple[Defence, ...] = ()

    @property
    @abstractmethod
    def network_classes(self) -> int:
        """Number of the network's outputs."""

    @abstractmethod
    def _predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return logits (N, K) float32 of a batch of images (N, H, W, 3) float32 in [0, 1]."""

    @property
    def classes(self) -> int:
        """Number of the model's classes: the K of its logits."""
        return self.network_classes if self.outputs is None else len(self.outputs)

    @property
    def doubt(self) -> str:
        """The model's doubts in one line; empty for none."""
        return "; ".join(self.doubts)

    @property
    def network_sha256(self) -> str:
        """Identity of the network without its defences."""
        return self.weights_sha256

    @property
    def source_gradient(self) -> str | None:
        """How an attack's gradient passes through the defences (`defences.gradient_word`); None without defences."""
        return None

    @property
    def copies(self) -> int:
        """Number of rows in the network's batch that the gradient of one image needs."""
        return 1

    def as_read(self) -> Self:
        """Return the model as attacks read it: random defences draw other values than in scores."""
        return self

    def abstains(self, logits: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return whether the model abstains on each image, (N,) bool, from logits (N, K); None if it never abstains."""
        return None

    def __repr__(self) -> str:
        """Return one short line; a dataclass's own repr would print the whole network."""
        height, width = self.input_size
        return f"<{type(self).__name__} '{self.name}': {self.classes} classes, {height} x {width} px, {self.weights}>"

    def predict(self, x: NDArray[Any], batch_size: int = 32) -> NDArray[Any]:
        """Return logits (N, K) float32 of images (N, H, W, 3) in [0, 1], in batches.

        Images of another size are resized to `input_size`. Logits of one image that are not finite do not affect those
        of other images.

        Raises:
            ArtattackError: the images have another shape, or a foreign model fails or returns no logits.
        """
        if x.ndim != 4 or x.shape[-1] != 3:
            raise ArtattackError(f"model '{self.name}' takes images of shape (N, H, W, 3), not {x.shape}")
        batches = [self._averaged(np.asarray(x[i : i + batch_size], np.float32)) for i in range(0, len(x), batch_size)]
        return np.concatenate(batches) if batches else np.zeros((0, self.classes), np.float32)

    def _averaged(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return logits of a batch; of several draws, the logarithm of the mean probabilities."""
        if self.draws == 1:
            return self._predict(x)
        from scipy.special import log_softmax, logsumexp  # imported late: listing and planning do without it

        drawn = np.stack([log_softmax(self._drawn(x, draw), axis=1) for draw in range(self.draws)])
        return np.asarray(logsumexp(drawn, axis=0) - np.log(self.draws), np.float32)

    def _drawn(self, x: NDArray[Any], draw: int) -> NDArray[Any]:
        """Return the logits (N, K) of one of several draws."""
        return self._predict(x)

    def predict_finite(self, x: NDArray[Any], batch_size: int = 32) -> NDArray[Any]:
        """Return logits as `predict` does.

        Raises:
            ArtattackError: as in `predict`, or the logits of an image are not finite.
        """
        logits = self.predict(x, batch_size)
        if count := int((~np.isfinite(logits)).any(1).sum()):
            raise ArtattackError(f"model '{self.name}' gave values that are not finite for {count} of {len(x)} images")
        return logits

    def restricted_to(self, classes: Collection[int]) -> Self:
        """Return a model of the same network that chooses among some of its classes only.

        Image sets with fewer classes than ImageNet are scored this way (ImageNet-A and -R, Hendrycks et al., CVPR and
        ICCV 2021). Attacks see the restricted model, too.

        Args:
            classes: classes to keep, as values of `label_space`, two or more, in any order.

        Returns:
            A model with the logits (N, len(classes)) and the `label_space` of these classes, in this model's order. It
            shares this model's network.

        Raises:
            ArtattackError: the model has no label space, lacks one of the classes, or keeps fewer than two.
        """
        if self.label_space is None:
            raise ArtattackError(
                f"model '{self.name}' cannot be restricted to some ImageNet classes: give its label_space, the class "
                "of each output"
            )
        if missing := sorted(set(classes) - set(self.label_space)):
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise ArtattackError(
                f"model '{self.name}' cannot be restricted to ImageNet class {missing[0]}{more}: it has no such class"
            )
        kept = [k for k, index in enumerate(self.label_space) if index in set(classes)]
        if len(kept) < 2:
            raise ArtattackError(f"model '{self.name}' cannot be restricted to {len(kept)} of its classes; give two")
        outputs = range(self.classes) if self.outputs is None else self.outputs
        return replace(  # type: ignore[type-var]
            self,
            label_space=LabelSpace((self.label_space[k] for k in kept), names_of(self.label_space)),
            outputs=tuple(outputs[k] for k in kept),
        )
