"""Models of a run: loaded once, and restricted to the classes that images can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from artattack.config import Benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Plan
from artattack.inputs.images import in_pixels
from artattack.inputs.labels import class_index, names_of
from artattack.models.ancestry import Kinship, family_of
from artattack.models.card import read_card
from artattack.models.kinds import kind_of
from artattack.models.registry import model_infos, parse_label_space

if TYPE_CHECKING:
    from artattack.attacks.objective import FeatureDistance
    from artattack.models.classifier import Classifier


_STRETCHED = 1.1  # ratio of aspect ratios from which on stretched images are doubted


@dataclass(frozen=True)
class LoadedModels:
    """The loaded models of a run.

    Attributes:
        models: sources, guides, backbones and classifiers by their names in the benchmark. Models whose classes matter
            are restricted to `images.label_space`, so that attacks and scores have the same classes.
        untrained: networks with random weights that controls read, by name.
        kinship: relations between the models.
        feature_distance: distance between perturbed images and originals in features.
        doubts: a line for each doubt about the models.
        classes: the image set's own class names; empty for ImageNet classes.
    """

    models: Mapping[str, Classifier]
    untrained: Mapping[str, Classifier]
    kinship: Kinship
    feature_distance: FeatureDistance
    doubts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def load_models(plan: Plan, on_loading: Callable[[str], None]) -> LoadedModels:
    """Load the models of a plan.

    Args:
        plan: the plan of the run.
        on_loading: called with the name of each model before it is loaded.

    Raises:
        ArtattackError: a model cannot be loaded, or has fewer than two classes of `images.label_space`, or the feature
            model has no default content layers.
    """
    from artattack.runtime import load_tensorflow

    load_tensorflow()  # without its messages, before another module imports it
    from artattack.attacks.features import Features
    from artattack.attacks.objective import FeatureDistance
    from artattack.models import load_model

    benchmark = plan.benchmark
    models: dict[str, Any] = dict(plan.given)
    for name in benchmark.model_names():
        if name not in models:
            on_loading(name)
            spec = benchmark.spec(name)
            try:
                models[name] = load_model(**spec.arguments(), seed=benchmark.seed)
            except ArtattackError as error:
                if spec.model not in (missing := plan.to_fetch):
                    raise
                raise ArtattackError(
                    f"{error}. Weights that this run needs and that are not here: artattack models fetch "
                    f"{' '.join(missing)}"
                ) from error
    doubts = tuple(f"model '{name}' {doubt}" for name, model in models.items() for doubt in model.doubts)
    doubts += tuple(_doubts_of_shape(benchmark, models))
    untrained: dict[str, Classifier] = {}
    readings = dict.fromkeys(reading for variant in plan.variants for reading in variant.reads)
    for name in dict.fromkeys(reading.model for reading in readings if reading.untrained):
        arguments = benchmark.spec(name).arguments() | {"weights": "random"}
        untrained[name] = load_model(**arguments, seed=benchmark.seed)
    read = models[benchmark.feature_model]
    if not read.content_layers:
        raise ArtattackError(f"feature_model '{read.name}' has no default content layers: name a registry model")
    models |= {name: _counted(model, plan.image_set.classes) for name, model in models.items()}
    classes = _classes(plan)
    if classes is not None:
        asked = dict.fromkeys((*benchmark.classifiers, *(r.model for r in readings if r.what != "features")))
        models |= {name: _cut(models[name], name, classes, plan.image_set.classes, benchmark) for name in asked}
    compare = FeatureDistance(Features(read, read.content_layers))
    weights = {name: model.weights_sha256 for name, model in models.items()}
    networks = {name: model.network_sha256 for name, model in models.items()}
    kinship = Kinship(_teachers(benchmark), families(benchmark), weights, networks)
    return LoadedModels(models, untrained, kinship, compare, doubts, plan.image_set.classes)


def families(benchmark: Benchmark) -> dict[str, str]:
    """Return the known families of the registry's models and of a benchmark's models.

    The family of a user's model comes from its specification, its card, or its architecture in the registry or timm, in
    this order. The name of an architecture can replace the name of its family: `vgg16` for `vgg`.
    """
    known = {info.name: family_of(info.name) for info in model_infos()}

    def family(name: str) -> str:
        spec = benchmark.spec(name)
        card = None if spec.family or spec.model in known else read_card(spec.model)
        said = spec.family or (card.family if card else "")
        if said:
            return family_of(said)
        kind, rest = kind_of(spec.model)
        return family_of(rest) if kind and kind.word == "timm" else known.get(spec.model, "")

    found = known | {name: family(name) for name in benchmark.model_names()}
    return {name: family for name, family in found.items() if family}


def _doubts_of_shape(benchmark: Benchmark, models: Mapping[str, Classifier]) -> Iterator[str]:
    """Yield a line for each classifier whose input has another shape, so that it receives stretched images."""
    height, width = benchmark.images.shape
    for name in benchmark.classifiers:
        h, w = models[name].input_size
        if not 1 / _STRETCHED < (width * h) / (height * w) < _STRETCHED:
            yield (
                f"model '{name}' wants images of {in_pixels((h, w))} and gets {in_pixels((height, width))}, stretched: "
                f"say images.size: [{h}, {w}]"
            )


def _teachers(benchmark: Benchmark) -> dict[str, str]:
    known = {info.name: info.distilled_from for info in model_infos()}

    def teacher(name: str) -> str:
        spec = benchmark.spec(name)
        if spec.distilled_from is not None or spec.model in known:
            return spec.distilled_from or known.get(spec.model, "")
        card = read_card(spec.model)
        return card.distilled_from if card else ""

    found = known | {name: teacher(name) for name in benchmark.model_names()}
    return {name: teacher for name, teacher in found.items() if teacher}


def _classes(plan: Plan) -> set[int] | None:
    """Return the classes that images can have, or None for any."""
    declared = plan.benchmark.images.label_space
    if declared is None:
        return None
    if declared == "own":
        return {sample.label for sample in plan.image_set.samples if sample.label is not None}
    if plan.image_set.classes and not isinstance(declared, str):
        return {class_index(str(word), plan.image_set.classes) for word in declared}
    return set(parse_label_space(declared))


def _counted(model: Classifier, own: tuple[str, ...]) -> Classifier:
    """Return a model whose own classes are indexed as in the images' list, if that has all of them."""
    if model.label_space is None or names_of(model.label_space) in ((), own):
        return model
    return replace(model, label_space=model.label_space.counted_in(own))  # type: ignore[type-var]


def _cut(model: Classifier, name: str, classes: set[int], own: tuple[str, ...], benchmark: Benchmark) -> Classifier:
    """Return a model restricted to the classes it shares with the images; a model of other classes is unchanged."""
    if model.label_space is None or names_of(model.label_space) != own:
        return model
    shared = tuple(index for index in model.label_space if index in classes)
    if len(shared) < 2:
        role = "classifier" if name in benchmark.classifiers else "model"
        raise ArtattackError(f"{role} '{name}' has {len(shared)} classes of images.label_space: leave it out")
    return model.restricted_to(shared)
