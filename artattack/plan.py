"""The plan of a benchmark: benchmark file -> cells, worked out before any of it is done."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from artattack.attacks.baselines import baseline_info
from artattack.config import BaselineEntry, Benchmark, ControlEntry, StyleEntry
from artattack.datasets import ImageSet, Sample, open_image_set, spread
from artattack.models.registry import check_model
from artattack.styles import load_styles


@dataclass(frozen=True)
class Variant:
    """One attack of the benchmark with its style and source chosen; a group of rows in every table."""

    entry: StyleEntry | BaselineEntry | ControlEntry
    style: str = ""
    source: str = ""
    matched: Variant | None = None

    @property
    def label(self) -> str:
        """Name in tables: ATTACK/STYLE/SOURCE, without the empty parts."""
        return "/".join(part for part in (self.entry.name, self.style, self.source) if part)

    @property
    def key(self) -> str:
        """Name safe for files."""
        words = [self.label] + ([self.matched.label] if self.matched else [])
        return re.sub(r"[^\w.-]+", "-", "-as-".join(words)).strip("-.")


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


@dataclass(frozen=True)
class Plan:
    """All a run will do, worked out before any of it is done."""

    benchmark: Benchmark
    image_set: ImageSet
    samples: tuple[Sample, ...]
    cells: tuple[Cell, ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants, each once, in order."""
        return tuple({cell.variant.key: cell.variant for cell in self.cells}.values())


def make_plan(benchmark: Benchmark) -> Plan:
    """Work out the cells of a benchmark. Controls come after the perturbations whose distance they copy.

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
    for name in benchmark.model_names():
        check_model(benchmark.spec(name).model)
    for entry in benchmark.attacks:
        if isinstance(entry, StyleEntry):
            for style in entry.style:
                load_styles(style, (8, 8))
        elif isinstance(entry, BaselineEntry):
            baseline_info(entry.attack)


def _batches(samples: Sequence[Sample], size: int) -> list[tuple[Sample, ...]]:
    return [tuple(samples[start : start + size]) for start in range(0, len(samples), size)]


def _variants(benchmark: Benchmark) -> Iterator[Variant]:
    direct: list[Variant] = []
    for entry in benchmark.attacks:
        if isinstance(entry, StyleEntry):
            direct += [Variant(entry, style, backbone) for style in entry.style for backbone in entry.backbone]
        elif isinstance(entry, BaselineEntry):
            direct += [Variant(entry, source=source) for source in entry.source]
    yield from direct
    for entry in benchmark.attacks:
        if isinstance(entry, ControlEntry):
            yield from (Variant(entry, matched=other) for other in direct if other.entry.name == entry.like)


def seed_of(run_seed: int, *parts: object) -> int:
    """Derive a 32-bit seed from the run's and whatever names the choice it is for."""
    text = "/".join(map(str, (run_seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
