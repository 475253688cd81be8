"""The columns of a record, one method for each group: image, attack, distances, ball, classifier, relation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from artattack.attacks.entries import Perturbed, Variant
from artattack.distances import distance_columns
from artattack.evaluation.loading import LoadedModels
from artattack.evaluation.plan import CLEAN, Plan
from artattack.inputs.image_sets import Sample
from artattack.inputs.images import as_measured
from artattack.inputs.labels import class_name
from artattack.inputs.styles import style_class

Row = dict[str, Any]
_DIGITS = 12  # of the SHA-256 of a network


class RecordColumns:
    """Makes the columns that need neither an attack nor a classifier's logits.

    Args:
        plan: the plan of the run.
        loaded: the models of the run.
        hashes: SHA-256 of the image files, by image.
    """

    def __init__(self, plan: Plan, loaded: LoadedModels, hashes: Mapping[str, str]) -> None:
        self._seed = plan.benchmark.seed
        self._own = plan.image_set.classes
        self._loaded = loaded
        self._hashes = hashes

    def of_image(self, sample: Sample) -> Row:
        """Return the columns that identify an image."""
        return {
            "image": sample.id,
            "image_sha256": self._hashes.get(sample.id),
            "true_class": sample.label,
            "true_name": None if sample.label is None else class_name(sample.label, self._own),
        }

    def of_attack(self, variant: Variant, sample: Sample) -> Row:
        """Return the columns of the attack on an image."""
        moved = variant.entry.starts_from(variant) == variant.free  # then the seed is that of the variant's own images
        return {
            "kind": variant.kind,
            "attack": variant.entry.name,
            "parameters": _json(variant.entry.parameters),
            "backbone": variant.source if variant.style and variant.source else None,
            "style": variant.style or None,
            "style_class": class_of_style(variant),
            "source": variant.source or None,
            "source_weights": self._source_weights(variant),
            "source_gradient": self._source_gradient(variant),
            "matched_to": variant.matched.label if variant.matched and not variant.budget else None,
            "budget_distance": variant.budget.distance if variant.budget else None,
            "budget": variant.budget.value if variant.budget else None,
            "seed": (variant.free if moved else variant).seed(self._seed, sample.id),
        }

    def of_classifier(self, name: str) -> Row:
        """Return the columns that identify a classifier."""
        model = self._loaded.models[name]
        draws = {"classifier_draws": model.draws} if model.draws > 1 else {}
        network = {"classifier_network": model.network_sha256[:_DIGITS]}
        defences = {"classifier_defences": " + ".join(map(str, model.defences))} if model.defences else {}
        return {"classifier": name, "classifier_weights": model.weights, **network, **defences, **draws}

    def of_relation(self, variant: Variant, name: str) -> Row:
        """Return the columns of the relation between a classifier and the attack."""
        if variant == CLEAN:
            return {}
        relation = self._loaded.kinship.relation(name, variant.models_seen)
        return {"classifier_seen": relation == "seen", "classifier_relation": relation}

    def distances(self, x: np.ndarray, files: np.ndarray) -> dict[str, Any]:
        """Return the columns, (N,) each, of distances between files (N, H, W, 3) and their originals."""
        return {
            **distance_columns(as_measured(x), as_measured(files)),
            "feature_distance": self._loaded.feature_distance(x, files),
        }

    def ball(self, x: np.ndarray, perturbed: Perturbed) -> dict[str, Any]:
        """Return the columns, (N,) each, of the attack's ball, and whether files are outside it."""
        if perturbed.held_to is None:
            return {}
        held_to = perturbed.held_to
        return {
            "eps_norm": [held_to.distance] * len(x),
            "eps": [held_to.value] * len(x),
            "outside_eps": (~held_to.contains(x, perturbed.files)).tolist(),
        }

    def _source_weights(self, variant: Variant) -> str | None:
        if not variant.source:
            return None
        untrained = any(reading.untrained for reading in variant.reads)
        return "random" if untrained else self._loaded.models[variant.source].weights

    def _source_gradient(self, variant: Variant) -> str | None:
        """Return how gradients came through the defences of the models that the attack took them from, or None."""
        read = [self._loaded.models[r.model] for r in variant.reads if r.what != "logits" and not r.untrained]
        return "; ".join(dict.fromkeys(model.source_gradient for model in read if model.source_gradient)) or None


def class_of_style(variant: Variant) -> int | None:
    """Return the ImageNet class of a variant's style image, if any."""
    return style_class(variant.style) if variant.style else None


def _json(parameters: dict[str, Any]) -> str:
    """Return parameters as JSON, which has no infinity: ART's `norm: inf` becomes text."""
    known = {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in parameters.items()
    }
    return json.dumps(known, sort_keys=True, allow_nan=False)
