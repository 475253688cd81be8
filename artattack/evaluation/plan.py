"""The plan of a benchmark: from a benchmark file to cells, before any work is done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import psutil

from artattack.attacks.entries import CleanEntry, Reading, Variant, free_variants
from artattack.bound import Bound
from artattack.config import DEFAULT_SIZE, SIZES, Benchmark, ImageSettings
from artattack.errors import ArtattackError
from artattack.inputs.image_sets import ImageSet, Sample, half_of, open_image_set, spread, where_labels_come_from
from artattack.inputs.images import image_size, in_pixels
from artattack.inputs.labels import names_of, plain, united
from artattack.models.card import read_card
from artattack.models.class_names import own_names_in
from artattack.models.classifier import Classifier, Gives
from artattack.models.defences import check_sizes, parse_defences
from artattack.models.fetching import missing_weights
from artattack.models.kinds import check_fit
from artattack.models.registry import check_model, is_registered, model_infos, parse_classes, parse_label_space
from artattack.models.wanted_size import agreed_size, wanted_size

_MOST = 1e30  # maximum passes of one attack, because larger whole numbers may not fit into a float
_BYTES = 1.2e9  # memory of a process with some models
_BYTES_A_PIXEL = 1000  # memory of a batch under attack, measured: 750 through QuickNet, 1100 through EfficientNet-Lite0
_LOOKED_AT = 9  # images whose own size is read
_ENLARGED = 2.0  # factor from which on enlarged images are doubted: three quarters of the pixels are interpolated
_PASSES = 20  # passes of an image of 224 px through QuickNet per second (benchmarks/README.md)


@dataclass(frozen=True)
class Cell:
    """The unit of work and of resuming: a batch of images under one variant."""

    variant: Variant
    number: int
    samples: tuple[Sample, ...]

    @property
    def key(self) -> str:
        """Name of the checkpoint file."""
        return f"{self.variant.key}-{self.number:04d}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the cells that must be done before: the untouched images, and the images this cell starts from."""
        if self.variant == CLEAN:
            return ()
        first = Cell(CLEAN, self.number, self.samples).key
        other = self.variant.entry.starts_from(self.variant)
        return (first, Cell(other, self.number, self.samples).key) if other else (first,)


CLEAN = Variant(CleanEntry())


@dataclass(frozen=True)
class Plan:
    """All cells of a run, each after the cells it needs.

    Attributes:
        benchmark: the benchmark.
        image_set: the image set.
        samples: the chosen images.
        cells: the cells.
        given: loaded models, by their names in the benchmark.
        own: class names of classifiers with their own classes, as far as known before loading.
    """

    benchmark: Benchmark
    image_set: ImageSet
    samples: tuple[Sample, ...]
    cells: tuple[Cell, ...]
    given: Mapping[str, Classifier] = field(default_factory=dict)
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The distinct variants, in order."""
        return tuple({cell.variant.key: cell.variant for cell in self.cells}.values())

    @property
    def batches(self) -> int:
        """Number of cells of each variant."""
        return len({cell.number for cell in self.cells})

    @property
    def passes(self) -> float:
        """Approximate number of passes of an image through a network."""
        return len(self.samples) * sum(min(variant.entry.passes_of(variant), _MOST) for variant in self.variants)

    @property
    def seconds(self) -> float:
        """Very rough time of the passes in seconds: a small network on two cores, forward and backward."""
        return self.passes / _PASSES * math.prod(self.benchmark.images.shape) / 224**2

    @property
    def to_fetch(self) -> list[str]:
        """The registry's models that the run needs and whose weights are not on this machine."""
        specs = [self.benchmark.spec(name) for name in self.benchmark.model_names() if name not in self.given]
        return missing_weights({spec.model: spec.weights for spec in specs})

    @cached_property  # it reads images
    def doubts(self) -> tuple[str, ...]:
        """A line for each setting that is valid but probably unintended."""
        of_attacks = (doubt for entry in self.benchmark.attacks for doubt in entry.doubts())
        return (
            *self.image_set.doubts,
            *self._doubt_of_labels(),
            *self._doubt_of_classes(),
            *self._doubt_of_size(),
            *of_attacks,
            *self._doubt_of_memory(),
        )

    def _doubt_of_labels(self) -> Iterator[str]:
        """Yield a warning if no image is labelled."""
        if any(sample.label is not None for sample in self.samples):
            return
        yield (
            f"image set '{self.benchmark.images.set}': no image is labelled: flips and confidences are measured, "
            f"accuracy and successes are not. {where_labels_come_from(self.samples)}"
        )

    def _doubt_of_classes(self) -> Iterator[str]:
        """Yield a warning if classifiers have other classes than each other or than the images."""
        every = {name: frozenset(map(plain, self.own.get(name, ()))) for name in self.benchmark.classifiers}
        if not any(every.values()):
            return
        if len({*every.values()}) > 1:
            listed = ", ".join(
                f"'{name}' {f'{len(own)} of its own' if own else 'others'}" for name, own in every.items()
            )
            yield (
                f"classifiers: they do not tell the same classes apart ({listed}): each is scored on its own classes, "
                "and accuracy and successes count only images whose class it has"
            )
        elif not self.image_set.classes and any(sample.label is not None for sample in self.samples):
            yield (
                f"image set '{self.benchmark.images.set}': its labels are ImageNet's, and the classifiers have "
                "classes of their own: flips and confidences are measured, accuracy and successes are not"
            )

    def _doubt_of_size(self) -> Iterator[str]:
        """Yield a warning if most of a few images are much smaller than the images of the run."""
        images = self.benchmark.images
        height, width = images.shape
        few = [image_size(sample.path) for sample in spread(self.samples, _LOOKED_AT)]
        known = sorted((max(height / h, width / w) / images.crop, (h, w)) for h, w in filter(None, few))
        if not known or known[len(known) // 2][0] < _ENLARGED:
            return
        times, shape = known[len(known) // 2]
        yield (
            f"images.size: images of {in_pixels(shape)} are enlarged {times:.3g} times to {in_pixels(images.shape)}: "
            "attacks change pixels that the images do not have; give a size nearer to theirs"
        )

    def _doubt_of_memory(self) -> Iterator[str]:
        """Yield a warning if a batch may not fit into memory."""
        at_once, shape = max((len(cell.samples) for cell in self.cells), default=0), self.benchmark.images.shape
        wanted, there = _BYTES + at_once * math.prod(shape) * _BYTES_A_PIXEL, psutil.virtual_memory().total
        if self.benchmark.attacks and wanted > there:
            yield (
                f"batch_size: {at_once} images of {in_pixels(shape)} at once may take {wanted / 1e9:.0f} GB of memory, "
                f"and this machine has {there / 1e9:.0f}: give a smaller one"
            )


def make_plan(benchmark: Benchmark, given: Mapping[str, Classifier] | None = None) -> Plan:
    """Return the plan of a benchmark: untouched images, attacks, controls, then budgets.

    Args:
        benchmark: the benchmark.
        given: loaded models, by their names in the benchmark.

    Raises:
        ArtattackError: the image set cannot be opened, a model, style or attack does not exist, or a model does not
            suit its role.
    """
    given = given or {}
    _check_given(benchmark, given)
    benchmark = sized(benchmark, given)
    _check_names(benchmark, given)
    own = _own_classes(benchmark, given)
    image_set = open_image_set(benchmark.images.set, united(own.values()))
    if len(own) == len(benchmark.classifiers) and not any(_says_class(sample) for sample in image_set.samples):
        image_set = replace(image_set, classes=united(own.values()))  # no label or target refers to other classes
    samples = spread(half_of(image_set.samples, benchmark.images.half), benchmark.images.limit)
    batches = _batches(samples, benchmark.batch_size)
    cells = tuple(
        Cell(variant, number, batch) for variant in _variants(benchmark) for number, batch in enumerate(batches)
    )
    return Plan(benchmark, image_set, samples, cells, given, own)


def _says_class(sample: Sample) -> bool:
    return sample.label is not None or sample.target is not None


def sized(benchmark: Benchmark, given: Mapping[str, Classifier] | None = None) -> Benchmark:
    """Return a benchmark with the size of its images: by default the input size that all classifiers share.

    If the sizes differ, or one is known only after loading, the default size applies.
    """
    if benchmark.images.size is not None:
        return benchmark

    def wanted(name: str) -> tuple[int, int] | None:
        if given and name in given:
            return given[name].input_size
        spec = benchmark.spec(name)
        if spec.input_size is None:
            return wanted_size(spec.model)
        return (spec.input_size, spec.input_size) if isinstance(spec.input_size, int) else spec.input_size

    agreed = agreed_size(map(wanted, benchmark.classifiers)) or (DEFAULT_SIZE, DEFAULT_SIZE)
    least, most = SIZES
    shape = [min(max(side, least), most) for side in agreed]
    return benchmark.model_copy(
        update={"images": ImageSettings.model_validate(benchmark.images.model_dump() | {"size": shape})}
    )


def _check_given(benchmark: Benchmark, given: Mapping[str, Classifier]) -> None:
    """Raise ArtattackError for given objects that are not models, are unused, or have another model's name."""
    for name, model in given.items():
        if not isinstance(model, Classifier):
            raise ArtattackError(
                f"models: '{name}' is {type(model).__name__}; give what artattack.load_model makes of it"
            )
        if name in benchmark.models or is_registered(name):
            raise ArtattackError(f"models: '{name}' is the name of another model already; give it one of its own")
        if name not in benchmark.model_names():
            raise ArtattackError(f"models: '{name}' is given, but the benchmark does not name it, as in classifiers")


def _check_names(benchmark: Benchmark, given: Mapping[str, Classifier]) -> None:
    """Raise ArtattackError for mistyped names and unsuitable models, before any work, without loading TensorFlow."""

    def check(name: str, needs: Gives) -> None:
        if name in given:
            has, defences = given[name].gives, given[name].defences
        else:
            spec = benchmark.spec(name)
            check_model(spec.model)
            has, defences = spec.gives, parse_defences(spec.defences)
        check_fit(name, has, needs, defended=bool(defences))
        with _at(f"models.{name}"):
            check_sizes(defences, benchmark.images.shape)

    with _at("classifiers"):
        for name in benchmark.classifiers:
            check(name, "logits")
        _check_classifiers(benchmark)
    with _at("feature_model"):
        check(benchmark.feature_model, "features")
    if benchmark.styles():
        with _at("style_judges"):
            for name in benchmark.style_judges:
                check(name, "features")
    size = benchmark.images.shape
    if benchmark.images.label_space not in (None, "own") and not _own_classes(benchmark, given):
        with _at("images.label_space"):
            parse_label_space(benchmark.images.label_space)
    read: dict[str, dict[Reading, None]] = {entry.name: {} for entry in benchmark.attacks}
    for variant in free_variants(benchmark.attacks):
        read[variant.entry.name] |= dict.fromkeys(variant.reads)
    for number, entry in enumerate(benchmark.attacks):
        with _at(f"attacks.{number} ({entry.name})"):
            for model, what, _ in read[entry.name]:
                check(model, what)
            entry.check()
            for model in dict.fromkeys(reading.model for reading in read[entry.name] if reading.what != "features"):
                if (names := _names(benchmark, given, model)) is not None:
                    entry.check_target(names)
        for option, bound in entry.distances():
            with _at(f"attacks.{number} ({entry.name}).{option}"):
                bound.checked(size)
    for name, budgets in benchmark.budgets.items():
        for budget in budgets:
            with _at(f"budgets.{name}"):
                Bound(name, budget).checked(size)


def _own_classes(benchmark: Benchmark, given: Mapping[str, Classifier]) -> dict[str, tuple[str, ...]]:
    """Return the class names of each classifier with its own classes, in the order of its outputs."""
    found = {name: _names(benchmark, given, name) for name in benchmark.classifiers}
    return {name: names for name, names in found.items() if names}


def _names(benchmark: Benchmark, given: Mapping[str, Classifier], name: str) -> tuple[str, ...] | None:
    """Return the names of a model's own classes, () for ImageNet's, None if they are known only after loading."""
    if name in given:
        space = given[name].label_space
        return None if space is None else names_of(space)
    spec = benchmark.spec(name)
    if spec.classes is not None:
        with _at(f"models.{name}"):
            return parse_classes(spec.classes).names
    if spec.label_space is not None or is_registered(spec.model):
        return ()
    card = read_card(spec.model) if spec.preprocessing is None else None
    if card is not None:
        return None if card.space is None else names_of(card.space)
    return own_names_in(spec.model)


def _check_classifiers(benchmark: Benchmark) -> None:
    """Raise ArtattackError for classifiers that are backbones only."""
    backbones = {info.name for info in model_infos() if not info.classifies}
    for name in benchmark.classifiers:
        spec = benchmark.spec(name)
        if spec.model in backbones and spec.weights in (None, "bundled"):
            raise ArtattackError(f"model '{name}' is a backbone only: as a classifier it is poor (see its model card)")


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Add the part of the benchmark to the message of an error."""
    try:
        yield
    except ArtattackError as error:
        raise ArtattackError(f"{where}: {error}") from error


def _batches(samples: Sequence[Sample], size: int) -> list[tuple[Sample, ...]]:
    return [tuple(samples[start : start + size]) for start in range(0, len(samples), size)]


def _variants(benchmark: Benchmark) -> Iterator[Variant]:
    """Yield all variants, each after the variants it starts from, and each label at most once at a budget."""
    free = free_variants(benchmark.attacks)
    yield CLEAN
    yield from free
    for distance, budgets in benchmark.budgets.items():
        for variant in _each_label_once(free):
            yield from (variant.entry.at_budget(variant, Bound(distance, budget)) for budget in budgets)


def _each_label_once(variants: Sequence[Variant]) -> Iterator[Variant]:
    """Yield variants with distinct labels: at a budget, controls that copied different attacks are equal."""
    seen = set()
    for variant in variants:
        if variant.label not in seen:
            seen.add(variant.label)
            yield variant
