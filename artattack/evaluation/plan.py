"""The plan of a benchmark: benchmark file -> cells, worked out before any of it is done."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from artattack.attacks.baselines import baseline_info
from artattack.config import STYLE_CONTROLS, BaselineEntry, Benchmark, CleanEntry, ControlEntry, StyleEntry
from artattack.errors import ArtattackError
from artattack.inputs.image_sets import ImageSet, Sample, open_image_set, spread
from artattack.inputs.styles import load_styles
from artattack.models.registry import check_model, parse_label_space

# Words that a key may show as they are: not empty, alike on file systems that ignore case, without the separators
# `--` and `.` that keys are made with.
_PLAIN = re.compile(r"[a-z0-9_]+([-+][a-z0-9_]+)*")
_LONGEST = 120  # of a key, in characters: file systems stop at 255 bytes


@dataclass(frozen=True)
class Variant:
    """One attack of the benchmark with its style and source chosen; a group of rows in every table.

    Attributes:
        entry: of the benchmark file.
        style: of a style attack, or of a control that needs one.
        source: the model that is read, if any.
        matched: whose distance a control copies.
        budget: the distance images are brought to, and how far; None leaves an attack where it ends.
    """

    entry: StyleEntry | BaselineEntry | ControlEntry | CleanEntry
    style: str = ""
    source: str = ""
    matched: Variant | None = None
    budget: tuple[str, float] | None = None

    @property
    def kind(self) -> str:
        """What the tables call its kind: clean, style, baseline or control."""
        kinds = {StyleEntry: "style", BaselineEntry: "baseline", ControlEntry: "control", CleanEntry: "clean"}
        return kinds[type(self.entry)]

    @property
    def free(self) -> Variant:
        """The variant that is brought to this one's budget."""
        return replace(self, budget=None)

    @property
    def label(self) -> str:
        """Name in tables: ATTACK/STYLE/SOURCE, without the empty parts."""
        return "/".join(part for part in (self.entry.name, self.style, self.source) if part)

    @property
    def title(self) -> str:
        """The label and, for a control, that of the perturbation whose distance it copies, or the budget."""
        if self.budget:
            return f"{self.label} at {self.budget[0]}={self.budget[1]:g}"
        return f"{self.label} as {self.matched.label}" if self.matched else self.label

    @property
    def key(self) -> str:
        """Name of its folder: safe on every file system, and another for every other variant."""
        words = self._words
        key = "--".join(re.sub(r"[^A-Za-z0-9_+-]+", "-", _without_folder(word)) for word in words)
        if all(map(_PLAIN.fullmatch, words)) and len(key) <= _LONGEST:
            return key
        digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()
        return f"{key[:_LONGEST]}.{digest[:8]}"  # what is plain has no dot, so the two kinds never meet

    def seed(self, run_seed: int, part: object) -> int:
        """Derive the 32-bit seed of one part of the variant, a batch or an image, from the run's.

        A file counts by its name alone, so that results do not depend on the folder one works in.
        """
        text = "/".join(map(str, (run_seed, *map(_without_folder, self._words), part)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    def file(self, sample: Sample) -> Path:
        """Return where its version of an image lies in the run folder."""
        folder = "original" if isinstance(self.entry, CleanEntry) else self.key
        return Path("images") / folder / f"{sample.id}.png"

    @property
    def _words(self) -> tuple[str, ...]:
        words = tuple(word for word in (self.entry.name, self.style, self.source) if word)
        words += ("as", *self.matched._words) if self.matched else ()
        return (*words, "at", f"{self.budget[0]}={self.budget[1]!r}") if self.budget else words


def _without_folder(word: str) -> str:
    return "+".join(Path(part).name for part in word.split("+"))


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

    def seed(self, run_seed: int) -> int:
        """Derive the cell's seed from the run's; it does not depend on other cells."""
        return self.variant.seed(run_seed, self.number)

    def image_seed(self, run_seed: int, sample: Sample) -> int:
        """Return the seed an image is perturbed with: an attack has one for its batch, a control one for each image."""
        alone = self.variant.kind == "control" and self.variant.entry.attack != "random-backbone"
        return self.variant.seed(run_seed, sample.id) if alone else self.seed(run_seed)


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
    with _at("feature_model"):
        _check_models(benchmark, [benchmark.feature_model])
    if benchmark.images.label_space not in (None, "own"):
        with _at("images.label_space"):
            parse_label_space(benchmark.images.label_space)
    for number, entry in enumerate(benchmark.attacks):
        with _at(f"attacks.{number} ({entry.name})"):
            if isinstance(entry, StyleEntry):
                _check_models(benchmark, (*entry.backbone, *(entry.guide or ())))
                for style in entry.style:
                    load_styles(style, (8, 8))
            elif isinstance(entry, BaselineEntry):
                _check_models(benchmark, entry.source)
                baseline_info(entry.attack)
                _ = entry.parameters  # reads numbers such as 8/255


def _check_models(benchmark: Benchmark, names: Sequence[str]) -> None:
    for name in names:
        check_model(benchmark.spec(name).model)


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
    attacks = list(_attacks(benchmark))
    controls = list(_controls(benchmark, attacks))
    yield Variant(CleanEntry(name="clean"))
    yield from attacks
    yield from controls
    for distance, budgets in benchmark.compare.items():
        for variant in (*attacks, *_at_budgets(controls)):
            yield from (replace(variant, budget=(distance, budget)) for budget in budgets)


def _attacks(benchmark: Benchmark) -> Iterator[Variant]:
    for entry in benchmark.attacks:
        if isinstance(entry, StyleEntry):
            # Styles of one backbone follow one another, so that what is compiled for it serves them all.
            yield from (Variant(entry, style, backbone) for backbone in entry.backbone for style in entry.style)
        elif isinstance(entry, BaselineEntry):
            yield from (Variant(entry, source=source) for source in entry.source)


def _controls(benchmark: Benchmark, attacks: Sequence[Variant]) -> Iterator[Variant]:
    for entry in benchmark.attacks:
        if isinstance(entry, ControlEntry):
            for other in attacks:
                if other.entry.name in (entry.like or [other.entry.name]):
                    if entry.attack not in STYLE_CONTROLS:
                        yield Variant(entry, matched=other)
                    elif other.kind == "style":
                        source = other.source if entry.attack == "random-backbone" else ""
                        yield Variant(entry, other.style, source, matched=other)


def _at_budgets(controls: Sequence[Variant]) -> Iterator[Variant]:
    """Return the controls that budgets tell apart: what copied other attacks' distances is then the same."""
    seen = set()
    for variant in controls:
        if (words := (variant.entry.name, variant.style, variant.source)) not in seen:
            seen.add(words)
            yield variant if variant.source else replace(variant, matched=None)
