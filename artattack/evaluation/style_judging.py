"""Is a painted image recognised as its style by a network that the attack never read?

Each style of a bank has its Gram matrices in the judge's features; an image is nearest to the style whose Gram matrices
are nearest to its own. A style that only the attack's own backbone recognises is not there for anyone else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from artattack.attacks.entries import Variant
from artattack.attacks.features import Features
from artattack.attacks.objective import gram, relative_distance
from artattack.errors import ArtattackError
from artattack.inputs.styles import load_styles
from artattack.models.ancestry import ancestry

if TYPE_CHECKING:
    from artattack.models.model import Model

_FINEST = 8  # stride in px: deeper layers see objects more than texture
_BATCH = 8  # images looked at at once
NO_JUDGE = "none: each of style_judges was read by the attack, or shares a teacher with a model that was"


class StyleJudge:
    """A network that tells styles apart.

    Args:
        model: the network; of its default style layers those count whose features are no coarser than 8 px.
        bank: styles by name, as `artattack.inputs.styles.load_styles` takes them; a blend counts by its mean.
        size: side of the images, in pixels.

    Raises:
        ArtattackError: the model has no such layers, or a style cannot be read.
    """

    def __init__(self, model: Model, bank: Sequence[str], size: int) -> None:
        if not model.style_layers:
            raise ArtattackError(f"style judge '{model.name}' has no default style layers: name a registry model")
        self.name = model.name
        self.bank = tuple(bank)
        shapes = [output.shape for output in Features(model, model.style_layers)(tf.zeros((1, size, size, 3)))]
        fine = [name for name, shape in zip(model.style_layers, shapes, strict=True) if size <= _FINEST * shape[1]]
        features = Features(model, fine or model.style_layers[:1])
        self._statistics = tf.function(
            lambda x: [gram(f) for f in features(x)],
            input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)],
        )
        styles = [self._statistics(tf.constant(load_styles(name, size))) for name in self.bank]
        self._targets = [tf.stack([tf.reduce_mean(style[k], 0) for style in styles]) for k in range(len(styles[0]))]

    def distances(self, x: np.ndarray) -> np.ndarray:
        """Return how far images are from each style, as this network sees them.

        Args:
            x: (N, H, W, 3) float32 in [0, 1], of the judge's size.

        Returns:
            (N, S) float32: squared distance of Gram matrices over the style's squared norm, mean over layers.
        """
        found = []
        for start in range(0, len(x), _BATCH):
            statistics = self._statistics(tf.constant(x[start : start + _BATCH], tf.float32))
            layers = [
                tf.stack([relative_distance(own, target[s : s + 1]) for s in range(len(self.bank))], 1)
                for own, target in zip(statistics, self._targets, strict=True)
            ]
            found.append((tf.add_n(layers) / len(layers)).numpy())
        return np.concatenate(found)


class StyleJudges:
    """The judges of a run: for each variant the first that its attack has not read.

    Args:
        models: of the run, by name; judges are among them.
        judges: their names, in order of preference.
        teachers: from a model's name to that of the model it was distilled from, where it was.
        bank: styles by name.
        size: side of the images, in pixels.
    """

    def __init__(
        self,
        models: Mapping[str, Any],
        judges: Sequence[str],
        teachers: Mapping[str, str],
        bank: Sequence[str],
        size: int,
    ) -> None:
        self._models = models
        self._names = judges
        self._teachers = teachers
        self._bank = bank
        self._size = size
        self._made: dict[str, StyleJudge] = {}
        self._originals: dict[tuple[str, bytes], np.ndarray] = {}

    def independent_of(self, variant: Variant) -> StyleJudge | None:
        """Return the first judge that shares no ancestor with the models that a variant's attack read, or None.

        A judge that was distilled from a network sees as it does, and so does a network that both were distilled from.
        """
        copied = variant.matched or variant  # a control is judged as what it is compared with
        read = {*copied.entry.models_of(copied), *variant.entry.models_of(variant)}
        kin = self._ancestry_of(read)
        for name in self._names:
            if not kin & self._ancestry_of([name]):
                if name not in self._made:
                    self._made[name] = StyleJudge(self._models[name], self._bank, self._size)
                return self._made[name]
        return None

    def _ancestry_of(self, names: Iterable[str]) -> set[str]:
        """Return the models, their teachers and theirs: by name, and by weights, which an alias shares."""
        found = ancestry(names, self._teachers)
        return found | {self._models[name].weights_sha256 for name in found if name in self._models}

    def columns(self, variant: Variant, x: np.ndarray, files: np.ndarray) -> dict[str, Any]:
        """Return the columns of the records that say whether files (N, H, W, 3) are recognised as their style.

        Empty for a variant that has no style, and copies none that has.
        """
        style = variant.style or (variant.matched.style if variant.matched else "")
        if not style:
            return {}
        judge = self.independent_of(variant)
        if judge is None:
            return {"style_judge": [NO_JUDGE] * len(x)}
        own = judge.bank.index(style)
        before, after = self._distances_of_originals(judge, x), judge.distances(files)
        nearest, nearest_before = after.argmin(1), before.argmin(1)
        return {
            "style_judge": [judge.name] * len(x),
            "style_nearest": [judge.bank[k] for k in nearest],
            "style_nearest_before": [judge.bank[k] for k in nearest_before],
            "style_identified": nearest == own,
            "style_identified_before": nearest_before == own,
            "style_chance": [1.0 / len(judge.bank)] * len(x),
            "style_seen_before": before[:, own],
            "style_seen_after": after[:, own],
        }

    def _distances_of_originals(self, judge: StyleJudge, x: np.ndarray) -> np.ndarray:
        """Return a judge's distances of originals: measured once, since all variants start from the same ones."""
        key = judge.name, hashlib.sha256(x.tobytes()).digest()
        if key not in self._originals:
            self._originals[key] = judge.distances(x)
        return self._originals[key]
