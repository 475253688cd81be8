"""Cells -> adversarial images: what each variant of a plan makes of a batch of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artattack.config import STYLE_CONTROLS, BaselineEntry, Benchmark, CleanEntry, ControlEntry, StyleEntry
from artattack.distances import DISTANCES
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Cell, Variant
from artattack.inputs.image_sets import Sample
from artattack.inputs.images import read_image, to_float
from artattack.inputs.styles import load_styles

if TYPE_CHECKING:
    from artattack.models.model import Model

Clean = Mapping[str, Mapping[str, np.ndarray]]  # logits (K,) of the originals, by model and image


class Perturber:
    """Makes adversarial images, and keeps what is costly to make: compiled attacks and estimators.

    Args:
        benchmark: whose cells it is given.
        models: by their names in the benchmark.
        untrained: the same backbones with random weights, those that random-backbone controls read.
        folder: of the run, in which variants find the images of those they start from.
    """

    def __init__(
        self, benchmark: Benchmark, models: Mapping[str, Model], untrained: Mapping[str, Model], folder: Path
    ) -> None:
        self._benchmark = benchmark
        self._models = models
        self._untrained = untrained
        self._folder = folder
        self.forget()

    def forget(self) -> None:
        """Let go of all attacks: one that has failed may not be as it was made."""
        self._attacks: dict[tuple[str, ...], Any] = {}
        self._estimators: dict[str, Any] = {}

    def check(self, variants: Sequence[Variant]) -> None:
        """Make each attack once, so that what no cell could do ends the run before any work is done.

        Raises:
            ArtattackError: an attack does not accept its parameters.
        """
        for variant in {_made_alike(v): v for v in variants if v.source}.values():
            try:
                self._made(variant)
            except ArtattackError as error:
                raise ArtattackError(f"attack '{variant.entry.name}' of '{variant.source}': {error}") from error

    def __call__(self, cell: Cell, samples: Sequence[Sample], x: np.ndarray, clean: Clean) -> np.ndarray:
        """Return what a cell's variant makes of images, at its budget if it has one.

        Args:
            cell: whose variant and seed count.
            samples: the images of the cell that could be read.
            x: these, (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
            clean: what sources see in them.

        Returns:
            (N, H, W, 3) float32 in [0, 1].
        """
        entry, variant = cell.variant.entry, cell.variant
        if isinstance(entry, CleanEntry):
            return x
        if variant.budget is None:
            if isinstance(entry, ControlEntry):
                return self._controlled(cell, entry, samples, x, clean)
            return self._attacked(cell, samples, x, clean, self._attack(variant))
        from artattack.attacks.baselines import at_budget, baseline_info
        from artattack.attacks.budget import match, within

        distance, budget = variant.budget
        if isinstance(entry, ControlEntry) and variant.source == "":
            return self._moved_by_control(cell, entry, samples, x, np.full(len(x), budget), distance)
        if isinstance(entry, BaselineEntry) and (
            changed := at_budget(entry.attack, entry.parameters, distance, budget)
        ):
            bounded = self._attacked(cell, samples, x, clean, self._baseline(entry, variant.source, changed))
            return match(x, bounded, budget, distance)  # rounding to 8 bits may have left the ball
        painted = self._painted(variant.free, samples)
        if isinstance(entry, BaselineEntry) and baseline_info(entry.attack).minimum_norm:
            # It is an attack of its own distance, and none at a smaller one.
            return np.where(within(x, painted, budget, distance)[:, None, None, None], painted, x)
        return match(x, painted, budget, distance, beyond=isinstance(entry, ControlEntry))

    def style_distances(self, variant: Variant, x: np.ndarray, received: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns that say how far images were and are from the style of a style attack, in its backbone."""
        if variant.kind != "style":
            return {}
        attack = self._attack(variant)
        attack.set_params(styles=variant.style)
        return {
            "style_distance_before": attack.style_distance(x),
            "style_distance_after": attack.style_distance(received),
        }

    def _attacked(self, cell: Cell, samples: Sequence[Sample], x: np.ndarray, clean: Clean, attack: Any) -> np.ndarray:
        from art.utils import random_targets

        from artattack.attacks.baselines import seeded

        variant, seed = cell.variant, cell.seed(self._benchmark.seed)
        if variant.style:
            attack.set_params(styles=variant.style, seed=seed)
        with seeded(seed):
            labels = self._labels(variant.source, samples, clean)
            if attack.targeted:  # away from what is seen is elsewhere than at it
                labels = random_targets(labels, attack.estimator.nb_classes)
            return np.asarray(attack.generate(x, y=labels))

    def _controlled(
        self, cell: Cell, entry: ControlEntry, samples: Sequence[Sample], x: np.ndarray, clean: Clean
    ) -> np.ndarray:
        """Return images as far from the originals as those whose distance the control copies."""
        assert cell.variant.matched is not None
        target = DISTANCES[entry.distance](x, self._painted(cell.variant.matched, samples))
        if entry.attack == "random-backbone":
            from artattack.attacks.budget import match

            painted = self._attacked(cell, samples, x, clean, self._attack(cell.variant))
            if (still := (painted == x).all((1, 2, 3)) & (target > 0)).any():
                raise ArtattackError(f"the untrained backbone moved {still.sum()} of {len(x)} images nowhere")
            return match(x, painted, target, entry.distance, beyond=True)
        return self._moved_by_control(cell, entry, samples, x, target, entry.distance)

    def _moved_by_control(
        self,
        cell: Cell,
        entry: ControlEntry,
        samples: Sequence[Sample],
        x: np.ndarray,
        target: np.ndarray,
        distance: str,
    ) -> np.ndarray:
        from artattack.attacks.controls import control

        seeds = [cell.image_seed(self._benchmark.seed, sample) for sample in samples]
        style = None
        if entry.attack in STYLE_CONTROLS:
            style = load_styles(cell.variant.style, (x.shape[1], x.shape[2])).mean(0)
        return control(entry.attack, x, target, seeds, distance, style)

    def _painted(self, variant: Variant, samples: Sequence[Sample]) -> np.ndarray:
        """Return images (N, H, W, 3) that another variant has left in the run folder."""
        try:
            images = [read_image(self._folder / variant.file(sample)) for sample in samples]
        except ArtattackError as error:
            raise ArtattackError(f"'{variant.title}', which this starts from, failed") from error
        return to_float(np.stack(images))

    def _attack(self, variant: Variant) -> Any:
        """Return the attack of a variant; only the last is kept, with what it has compiled, for all its styles."""
        key = _made_alike(variant)
        if key not in self._attacks:
            self._attacks = {key: self._made(variant)}
        return self._attacks[key]

    def _made(self, variant: Variant) -> Any:
        from artattack.attacks.style import StyleTransferAttack

        entry = variant.entry
        if isinstance(entry, BaselineEntry):
            return self._baseline(entry, variant.source, entry.parameters)
        models, untrained = self._models, False
        if isinstance(entry, ControlEntry):  # the same style attack through a backbone that was never trained
            assert variant.matched is not None
            # Whose loss may be least at the original: what counts is where its gradients lead.
            entry, models, untrained = variant.matched.entry, self._untrained, True
        assert isinstance(entry, StyleEntry)
        return StyleTransferAttack(
            self._estimator(models[variant.source]),
            styles=variant.style,
            keep="last" if untrained else "best",
            guides=[self._estimator(self._models[name]) for name in entry.guide or ()],
            **entry.options.model_dump(),
        )

    def _baseline(self, entry: BaselineEntry, source: str, parameters: dict[str, Any]) -> Any:
        from artattack.attacks.baselines import make_baseline

        if source not in self._estimators:  # with what it has compiled, for all attacks that read it in turn
            self._estimators = {source: self._estimator(self._models[source])}
        return make_baseline(entry.attack, self._estimators[source], parameters)

    def _estimator(self, model: Model) -> Any:
        from artattack.models.estimator import to_estimator

        size = self._benchmark.images.size
        return to_estimator(model, input_shape=(size, size, 3))

    def _labels(self, source: str, samples: Sequence[Sample], clean: Clean) -> np.ndarray:
        """Return what the source should stop seeing, (N,) indices of its outputs: the true class where it is
        among the source's, else what the source sees in the clean image."""
        space = self._models[source].label_space or ()
        outputs = {index: output for output, index in enumerate(space)}
        seen = [int(clean[source][sample.id].argmax()) for sample in samples]
        return np.array([outputs.get(s.label, top) for s, top in zip(samples, seen, strict=True)])  # type: ignore[arg-type]


def _made_alike(variant: Variant) -> tuple[str, ...]:
    """Return what is the same for variants that one attack serves: all but the style and the budget."""
    return variant.entry.name, variant.matched.entry.name if variant.matched else "", variant.source
