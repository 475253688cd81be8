"""The plan of a benchmark: benchmark file -> cells, worked out before any of it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from artattack.attacks.entries import CleanEntry, Variant
from artattack.config import Benchmark
from artattack.errors import ArtattackError
from artattack.inputs.image_sets import ImageSet, Sample, open_image_set, spread
from artattack.models.registry import check_model, model_infos, parse_label_space


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
        """Keys of the cells that must be done before: the untouched images, and those this one starts from."""
        if self.variant == CLEAN:
            return ()
        first = Cell(CLEAN, self.number, self.samples).key
        other = self.variant.entry.starts_from(self.variant)
        return (first, Cell(other, self.number, self.samples).key) if other else (first,)


CLEAN = Variant(CleanEntry())


@dataclass(frozen=True)
class Plan:
    """All a run will do, worked out before any of it is done. Each cell comes after those it needs."""

    benchmark: Benchmark
    image_set: ImageSet
    samples: tuple[Sample, ...]
    cells: tuple[Cell, ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants, each once, in order."""
        return tuple({cell.variant.key: cell.variant for cell in self.cells}.values())

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the attacks are asked for and hardly meant to do, a line each."""
        return tuple(doubt for entry in self.benchmark.attacks for doubt in entry.doubts())


def make_plan(benchmark: Benchmark) -> Plan:
    """Work out the cells of a benchmark: the images untouched, attacks, then what copies or shortens those.

    Raises:
        ArtattackError: the image set cannot be opened, or there is no such model, style or attack.
    """
    _check_names(benchmark)
    image_set = open_image_set(benchmark.images.set)
    samples = spread(image_set.samples, benchmark.images.limit)
    batches = _batches(samples, benchmark.batch_size)
    cells = tuple(
        Cell(variant, number, batch) for variant in _variants(benchmark) for number, batch in enumerate(batches)
    )
    return Plan(benchmark, image_set, samples, cells)


def _check_names(benchmark: Benchmark) -> None:
    """Find mistyped names before any work is done, without loading TensorFlow."""
    with _at("classifiers"):
        _check_models(benchmark, benchmark.classifiers)
        _check_classifiers(benchmark)
    with _at("feature_model"):
        _check_models(benchmark, [benchmark.feature_model])
    if benchmark.styles():
        with _at("style_judges"):
            _check_models(benchmark, benchmark.style_judges)
    if benchmark.images.label_space not in (None, "own"):
        with _at("images.label_space"):
            parse_label_space(benchmark.images.label_space)
    for number, entry in enumerate(benchmark.attacks):
        with _at(f"attacks.{number} ({entry.name})"):
            _check_models(benchmark, entry.models())
            entry.check()


def _check_models(benchmark: Benchmark, names: Sequence[str]) -> None:
    for name in names:
        check_model(benchmark.spec(name).model)


def _check_classifiers(benchmark: Benchmark) -> None:
    """Find models that nobody should score."""
    backbones = {info.name for info in model_infos() if not info.classifies}
    for name in benchmark.classifiers:
        spec = benchmark.spec(name)
        if spec.model in backbones and spec.weights in (None, "bundled"):
            raise ArtattackError(f"model '{name}' is a backbone only: as a classifier it is poor (see its model card)")


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say in an error which part of the benchmark it is about."""
    try:
        yield
    except ArtattackError as error:
        raise ArtattackError(f"{where}: {error}") from error


def _batches(samples: Sequence[Sample], size: int) -> list[tuple[Sample, ...]]:
    return [tuple(samples[start : start + size]) for start in range(0, len(samples), size)]


def _variants(benchmark: Benchmark) -> Iterator[Variant]:
    """Yield all variants, each after those it starts from, each label at most once at a budget."""
    attacks = [v for entry in benchmark.attacks if not entry.copies_others for v in entry.variants(())]
    copies = [v for entry in benchmark.attacks if entry.copies_others for v in entry.variants(attacks)]
    yield CLEAN
    yield from attacks
    yield from copies
    for distance, budgets in benchmark.budgets.items():
        for variant in _each_label_once((*attacks, *copies)):
            yield from (variant.entry.at_budget(variant, (distance, budget)) for budget in budgets)


def _each_label_once(variants: Sequence[Variant]) -> Iterator[Variant]:
    """Yield the variants that a budget tells apart: what copied other attacks' distances is then the same."""
    seen = set()
    for variant in variants:
        if variant.label not in seen:
            seen.add(variant.label)
            yield variant
