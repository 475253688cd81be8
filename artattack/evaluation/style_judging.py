"""Recognition of a painted image's style by networks that the attack never read.

Each style of a bank has its Gram matrices in the judge's features; an image is nearest to the style whose Gram matrices
are nearest to its own. Recognition by the attack's own backbone does not count, since only that network might recognise
the style. An image that is no nearer to its nearest style than the untouched image has no style (`none`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from artattack.attacks.entries import Variant
from artattack.attacks.features import Features
from artattack.attacks.objective import gram, relative_distance
from artattack.errors import ArtattackError
from artattack.inputs.styles import load_styles
from artattack.models.ancestry import Kinship
from artattack.results.judgements import NO_STYLE, Judgement, to_json
from artattack.tracing import compiled

if TYPE_CHECKING:
    from artattack.models.model import Model

_FINEST = 8  # stride in px: deeper layers see objects more than texture
_BATCH = 8  # images looked at at once
_ROUNDING = 1e-3  # tolerance between two distances of one image, as a share of the distance
NO_JUDGE = "none: each of style_judges was read by the attack, or shares a teacher with a model that was"


class StyleJudge:
    """A network that recognises styles.

    Args:
        model: the network. Its default style layers with a stride of at most 8 px count or, without any, the first.
        bank: styles by name, as `artattack.inputs.styles.load_styles` takes them; a blend counts by its mean.
        size: height and width of the images, in pixels.

    Raises:
        ArtattackError: the model has no style layers, or a style cannot be read.
    """

    def __init__(self, model: Model, bank: Sequence[str], size: tuple[int, int]) -> None:
        if not model.style_layers:
            raise ArtattackError(f"style judge '{model.name}' has no default style layers: name a registry model")
        self.name = model.name
        self.bank = tuple(bank)
        every = Features(model, model.style_layers)
        shapes = [output.shape for output in every(tf.zeros((1, *size, 3)))]
        features = every.only([k for k, shape in enumerate(shapes) if size[0] <= _FINEST * shape[1]] or [0])
        self._statistics = compiled(
            lambda x: [gram(f) for f in features(x)],
            input_signature=[tf.TensorSpec((None, *size, 3), tf.float32)],
        )
        styles = [self._statistics(tf.constant(load_styles(name, size))) for name in self.bank]
        self._targets = [tf.stack([tf.reduce_mean(style[k], 0) for style in styles]) for k in range(len(styles[0]))]

    def distances(self, x: np.ndarray) -> np.ndarray:
        """Return the distance of images to each style in this network's features.

        Args:
            x: (N, H, W, 3) float32 in [0, 1], of the judge's size.

        Returns:
            (N, S) float32: squared distance of Gram matrices divided by the style's squared norm, averaged over layers.
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
    """The judges of a run: for each variant, all judges without a common ancestor with the models that its attack read.

    Args:
        models: the models of the run, by name, including the judges.
        judges: names of the judges, in order.
        kinship: relations between the models.
        bank: styles by name.
        size: height and width of the images, in pixels.
    """

    def __init__(
        self,
        models: Mapping[str, Any],
        judges: Sequence[str],
        kinship: Kinship,
        bank: Sequence[str],
        size: tuple[int, int],
    ) -> None:
        self._models = models
        self._names = judges
        self._kinship = kinship
        self._bank = bank
        self._size = size
        self._made: dict[str, StyleJudge] = {}
        self._originals: dict[tuple[str, bytes], np.ndarray] = {}

    def independent_of(self, variant: Variant) -> tuple[str, ...]:
        """Return the judges that share no ancestor with the models that a variant's attack read, in order.

        Teachers count, because a distilled network resembles its teacher. A variant has no judges if neither it nor
        the attack that it copies has a style.
        """
        if not _style_of(variant):
            return ()
        read = _read_for(variant)
        return tuple(name for name in self._names if not self._kinship.share_ancestor([name], read))

    def columns(self, variant: Variant, x: np.ndarray, files: np.ndarray) -> dict[str, Any]:
        """Return the columns on whether files (N, H, W, 3) are recognised as their style.

        Empty if neither the variant nor the attack that it copies has a style.
        """
        style = _style_of(variant)
        if not style:
            return {}
        names = self.independent_of(variant)
        if not names:
            return {"style_judge": [NO_JUDGE] * len(x)}
        every = [self._judgements(name, style, variant, x, files) for name in names]
        first = every[0]
        return {
            "style_judge": [judgement.judge for judgement in first],
            "style_nearest": [judgement.nearest for judgement in first],
            "style_nearest_before": [judgement.nearest_before for judgement in first],
            "style_identified": [judgement.identified for judgement in first],
            "style_identified_before": [judgement.identified_before for judgement in first],
            "style_chance": [1.0 / len(self._bank)] * len(x),
            "style_seen_before": [judgement.before for judgement in first],
            "style_seen_after": [judgement.after for judgement in first],
            "style_judgements": [to_json(judgements) for judgements in zip(*every, strict=True)],
        }

    def _judgements(self, name: str, style: str, variant: Variant, x: np.ndarray, files: np.ndarray) -> list[Judgement]:
        """Return one judge's result for each file."""
        judge = self._judge(name)
        relation = self._kinship.relation(name, _read_for(variant))
        before, after = self._distances_of_originals(judge, x), judge.distances(files)
        own = judge.bank.index(style)
        least, least_before = after.argmin(1), before.argmin(1)
        nearer = (after < (1 - _ROUNDING) * before)[range(len(x)), least]
        return [
            Judgement(
                name,
                relation,
                style,
                judge.bank[least[i]] if nearer[i] else NO_STYLE,
                judge.bank[least_before[i]],
                float(before[i, own]),
                float(after[i, own]),
            )
            for i in range(len(x))
        ]

    def _judge(self, name: str) -> StyleJudge:
        if name not in self._made:
            self._made[name] = StyleJudge(self._models[name], self._bank, self._size)
        return self._made[name]

    def _distances_of_originals(self, judge: StyleJudge, x: np.ndarray) -> np.ndarray:
        """Return a judge's distances of originals, cached because all variants share the originals."""
        key = judge.name, hashlib.sha256(x.tobytes()).digest()
        if key not in self._originals:
            self._originals[key] = judge.distances(x)
        return self._originals[key]


def _style_of(variant: Variant) -> str:
    """Return the style of a variant, or of the attack that it copies; empty without a style."""
    return variant.style or (variant.matched.style if variant.matched else "")


def _read_for(variant: Variant) -> set[str]:
    """Return the models that were read for a variant; for a control, those of the attack that it copies."""
    copied = variant.matched or variant
    return {*copied.models_seen, *variant.models_seen}
