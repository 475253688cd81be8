"""Entries: one attack or control of a benchmark file, and its interface to a run.

An entry defines its kind, its variants, the images that these start from, and how it makes and applies its attack. A
new attack is a module with its own entry and a line in `artattack.attacks.all_entries`. Reading entries does not load
TensorFlow; making an attack does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from artattack.attacks.budget import bring_to
from artattack.bound import Bound
from artattack.models.classifier import Gives
from artattack.validation import Section

# Words that a key shows unchanged: not empty, lower case (some file systems ignore case), without the separators `--`
# and `.` of keys.
_PLAIN = re.compile(r"[a-z0-9_]+([-+][a-z0-9_]+)*")
_LONGEST = 120  # characters of a key; file systems allow 255 bytes


class Reading(NamedTuple):
    """A model that an attack reads.

    Attributes:
        model: its name in the benchmark file.
        what: the outputs that the attack needs of it; a model with features also has gradients and logits.
        untrained: whether the attack reads the same network with random weights instead.
    """

    model: str
    what: Gives
    untrained: bool = False


@dataclass(frozen=True)
class Variant:
    """One attack of the benchmark with its style and source chosen; a group of rows in every table.

    Attributes:
        entry: the entry of the benchmark file.
        style: the style of a style attack, or of a control that needs one.
        source: the model that the attack reads, if any.
        matched: the variant whose distance a control copies; None for an attack.
        budget: the distance and radius that images are brought to; None keeps the attack's own distance.
    """

    entry: Entry
    style: str = ""
    source: str = ""
    matched: Variant | None = None
    budget: Bound | None = None

    @property
    def kind(self) -> str:
        """The kind in the tables: clean, control, or a kind of attack."""
        return self.entry.kind

    @property
    def reads(self) -> tuple[Reading, ...]:
        """The models that it reads."""
        return self.entry.reads(self)

    @property
    def models_seen(self) -> tuple[str, ...]:
        """Names of the models that it reads with the weights they have, each once."""
        return tuple(dict.fromkeys(reading.model for reading in self.reads if not reading.untrained))

    @property
    def free(self) -> Variant:
        """The same variant at its own distance, without a budget."""
        return replace(self, budget=None)

    @property
    def label(self) -> str:
        """Name in tables: ATTACK/STYLE/SOURCE, without the empty parts."""
        return "/".join(part for part in (self.entry.name, self.style, self.source) if part)

    @property
    def title(self) -> str:
        """The label and, for a control, the label of the attack whose distance it copies, or the budget."""
        if self.budget:
            return f"{self.label} at {self.budget}"
        return f"{self.label} as {self.matched.label}" if self.matched else self.label

    @property
    def key(self) -> str:
        """Name of the variant's folder: safe on every file system, and unique."""
        words = self._words
        key = "--".join(re.sub(r"[^A-Za-z0-9_+-]+", "-", _without_folder(word)) for word in words)
        if all(map(_PLAIN.fullmatch, words)) and len(key) <= _LONGEST:
            return key
        digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()
        return f"{key[:_LONGEST]}.{digest[:8]}"  # a plain key has no dot, so the two kinds never meet

    def seed(self, run_seed: int, image: str) -> int:
        """Derive the 32-bit seed of one image from the run's seed, independently of the other images.

        Files enter by name, without their folder, so that results do not depend on the working directory. If the entry
        has `one_seed`, all images share one seed.
        """
        part = "" if self.entry.one_seed else image
        text = "/".join(map(str, (run_seed, *map(_without_folder, self._words), part)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    def file(self, image: str) -> PurePosixPath:
        """Return the path of the variant's version of an image, relative to the run folder."""
        return PurePosixPath("images") / (self.entry.folder or self.key) / f"{image}.png"

    @property
    def _words(self) -> tuple[str, ...]:
        words = tuple(word for word in (self.entry.name, self.style, self.source) if word)
        words += ("as", *self.matched._words) if self.matched else ()
        return (*words, "at", f"{self.budget.distance}={self.budget.value!r}") if self.budget else words


def _without_folder(word: str) -> str:
    return "+".join(Path(part).name for part in word.split("+"))


class Perturbed(NamedTuple):
    """A perturbed batch of images.

    Attributes:
        made: (N, H, W, 3) float32 in [0, 1], the attack's output.
        files: the same images on the 8-bit grid, as a PNG stores them.
        held_to: the distance and radius that each file keeps, or None.
        queries: (N,) number of queries to the source for each image, or None if queries are not counted.
        failed: from the index of an image in the batch to the reason why the attack failed on it; such an image is
            unchanged.
    """

    made: np.ndarray
    files: np.ndarray
    held_to: Bound | None = None
    queries: np.ndarray | None = None
    failed: Mapping[int, str] = MappingProxyType({})


class Models(Protocol):
    """The models of a run as ART estimators, by their names in the benchmark file."""

    def estimator(self, name: str) -> Any:
        """Return the estimator of a model."""

    def untrained(self, name: str) -> Any:
        """Return the same network with random weights."""


@dataclass(frozen=True)
class Batch:
    """A batch of images to perturb with one variant.

    Attributes:
        variant: the variant.
        x: (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        seeds: (N,) a seed for each image.
        models: the models of the run.
        images_of: function from another variant to its files of the same images, (N, H, W, 3) float32.
        targets: (N,) target class of each image from the image set, with the same indices as labels, or None; () if
            the image set has no targets.
        draws: (N,) seeds of choices that are equal at every budget, such as drawn target classes; () to use `seeds`.
        classes: the image set's own class names, which labels index; () for ImageNet's.
    """

    variant: Variant
    x: np.ndarray
    seeds: tuple[int, ...]
    models: Models
    images_of: Callable[[Variant], np.ndarray]
    targets: tuple[int | None, ...] = ()
    draws: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()


class Entry(Section):
    """Base class of entries: defaults and the hooks that subclasses override."""

    kind: ClassVar[str] = "baseline"
    folder: ClassVar[str] = ""  # name of the image folder; by default the variant's key
    one_seed: ClassVar[bool] = False  # whether all images of a variant have the same seed
    copies_others: ClassVar[bool] = False  # whether its variants copy the distance of other entries' variants
    source_gives: ClassVar[Gives] = (
        "gradients"  # outputs that the attack needs of its source, unless `reads` is overridden
    )
    reads_in_words: ClassVar[str] = ""  # for the list of attacks

    attack: str = Field(
        description="style, a control, an ART attack by short name or class name, or module:Class of another package"
    )
    name: str = Field("", description="name in tables; default: the attack's name")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self.attack.rpartition(":")[2])
        return self

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return the values of `attack` that select this kind of entry."""
        raise NotImplementedError

    @property
    def code(self) -> type | None:
        """The class from another package that makes its images, or None."""
        return None if type(self).__module__.startswith(f"{__package__.partition('.')[0]}.") else type(self)

    @property
    def own_ball(self) -> Bound | None:
        """The ball that images of the attack stay in, a distance and its radius, or None."""
        return None

    @property
    def aims(self) -> bool:
        """Whether the attack is targeted, so that the image set's targets matter."""
        return False

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that the records keep."""
        return {}

    def reads(self, variant: Variant) -> tuple[Reading, ...]:
        """Return the models that a variant reads, with the outputs that it needs of each; by default its source.

        A run loads these models, checks that they have these outputs, and marks them as seen by the attack.
        """
        return (Reading(variant.source, self.source_gives),) if variant.source else ()

    def styles(self) -> tuple[str, ...]:
        """Return the styles of the entry."""
        return ()

    def paths(self) -> Iterator[str | Path]:
        """Yield the names of the files that the entry reads, possibly among other words, such as names of styles."""
        yield from ()

    def near(self, resolve: Callable[..., Any]) -> Self:
        """Return the entry with absolute paths.

        Args:
            resolve: function from a path, and names that are not paths, to the absolute path or the same word.
        """
        return self

    def passes(self) -> float:
        """Return the approximate number of network passes for an image: steps or queries."""
        return 1

    def passes_of(self, variant: Variant) -> float:
        """Return the approximate number of network passes of a variant; 0 if it only moves finished images."""
        return 0 if variant.budget and self.starts_from(variant) == variant.free else self.passes()

    def check_target(self, names: Sequence[str]) -> None:
        """Raise ArtattackError for a target that a model does not have; `names` are its classes, () for ImageNet's."""

    def check(self) -> None:
        """Raise ArtattackError for mistyped names and invalid options, without loading TensorFlow."""

    def distances(self) -> Iterator[tuple[str, Bound]]:
        """Yield the name of each option that is a distance, and the distance."""
        yield from ()

    def doubts(self) -> Iterator[str]:
        """Yield a one-line warning for each option that is valid but probably unintended."""
        yield from ()

    def check_beside(self, others: Sequence[Entry]) -> None:
        """Raise ValueError if the entry is incompatible with the other entries of the file."""

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield the variants of the entry.

        Args:
            attacks: the variants of the entries that copy no distance.
        """
        raise NotImplementedError

    def at_budget(self, variant: Variant, budget: Bound) -> Variant:
        """Return a variant of the entry at a budget."""
        return replace(variant, budget=budget)

    def starts_from(self, variant: Variant) -> Variant | None:
        """Return the variant whose files a variant starts from, if any.

        At a budget, these are the attack's own images, unless the attack runs again within the budget's ball. If that
        ball is the attack's own, it does not run again.
        """
        if variant.budget is None:
            return variant.matched
        anew = self.made_within(variant.budget.distance) and not variant.budget.equals(self.own_ball)
        return None if anew else variant.free

    def made_within(self, distance: str) -> bool:
        """Whether the attack runs again within the ball of a budget of that distance."""
        return False

    def made_alike(self, variant: Variant) -> tuple[str, ...]:
        """Return the key of a made attack: variants with equal keys share it."""
        return variant.entry.name, variant.matched.entry.name if variant.matched else "", variant.source

    def make(self, variant: Variant, models: Models) -> Any:
        """Make the attack's costly parts, which all variants with the same `made_alike` share.

        Raises:
            ArtattackError: an option or parameter is invalid.
        """
        return None

    def perturb(self, attack: Any, batch: Batch) -> Perturbed:
        """Return the perturbed images of a batch.

        Args:
            attack: the result of `make`.
            batch: the images.
        """
        if batch.variant.budget is None:
            return self.perturb_freely(attack, batch)
        return self.perturb_to_budget(attack, batch, batch.variant.budget)

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Return images at the attack's own distance."""
        raise NotImplementedError

    def perturb_within(self, attack: Any, batch: Batch, ball: Bound) -> Perturbed:
        """Return images made within a ball; called if `made_within` returns True."""
        raise NotImplementedError

    def perturb_to_budget(self, attack: Any, batch: Batch, budget: Bound) -> Perturbed:
        """Return images at a budget: the attack's own, or images made within the budget's ball, moved to its edge.

        If the budget is the attack's own ball, images that stand at the edge keep the attack's own files, bit for bit;
        the records of both have this budget as `eps_norm` and `eps`.
        """
        if self.starts_from(batch.variant):
            files = bring_to(batch.x, batch.images_of(batch.variant.free), budget)
            return Perturbed(files, files, budget)
        within = self.perturb_within(attack, batch, budget)
        files = bring_to(batch.x, within.files, budget, made=within.made)
        brought = (files != within.files).any((1, 2, 3))[:, None, None, None]
        return within._replace(made=np.where(brought, files, within.made), files=files)

    def columns(self, attack: Any, batch: Batch, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return columns of the records, (N,) each, that only the attack knows; `files` are the perturbed images."""
        return {}


class CleanEntry(Entry):
    """The untouched images, for the classifiers' clean error. Part of every benchmark."""

    kind: ClassVar[str] = "clean"
    folder: ClassVar[str] = "original"

    attack: str = "clean"

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Return the images."""
        return Perturbed(batch.x, batch.x)


def free_variants(entries: Iterable[Entry]) -> tuple[Variant, ...]:
    """Return the variants of entries without a budget: attacks, then the entries that copy their distances."""
    entries = tuple(entries)
    attacks = [v for entry in entries if not entry.copies_others for v in entry.variants(())]
    copies = [v for entry in entries if entry.copies_others for v in entry.variants(attacks)]
    return (*attacks, *copies)


def needed_models(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the distinct models that entries read, in order of appearance."""
    return tuple(dict.fromkeys(reading.model for variant in free_variants(entries) for reading in variant.reads))
