"""What a benchmark file says of an attack or control, and what a run asks of it.

An entry owns what it is: its kind, the variants it stands for, whose images it starts from, how it is made and what
it does to images. A new attack is a module with an entry of its own and a line in `artattack.attacks.registry`.
Entries are read without TensorFlow, which loads when an attack is made.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from artattack.attacks.budget import bring_to
from artattack.models.classifier import Gives
from artattack.validation import Section

# Words that a key may show as they are: not empty, alike on file systems that ignore case, without the separators
# `--` and `.` that keys are made with.
_PLAIN = re.compile(r"[a-z0-9_]+([-+][a-z0-9_]+)*")
_LONGEST = 120  # of a key, in characters: file systems stop at 255 bytes

Ball = tuple[str, float]  # a distance and how far


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

    entry: Entry
    style: str = ""
    source: str = ""
    matched: Variant | None = None
    budget: tuple[str, float] | None = None

    @property
    def kind(self) -> str:
        """What the tables call its kind: clean, control, or a kind of attack."""
        return self.entry.kind

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
        return f"{key[:_LONGEST]}.{digest[:8]}"  # a plain key has no dot, so the two kinds never meet

    def seed(self, run_seed: int, image: str) -> int:
        """Derive the 32-bit seed of one image from the run's: the same whatever other images there are.

        A file counts by its name alone, so that results do not depend on the folder one works in. Where the entry
        has `one_seed`, all images have the same.
        """
        part = "" if self.entry.one_seed else image
        text = "/".join(map(str, (run_seed, *map(_without_folder, self._words), part)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")

    def file(self, image: str) -> PurePosixPath:
        """Return where its version of an image lies in the run folder."""
        return PurePosixPath("images") / (self.entry.folder or self.key) / f"{image}.png"

    @property
    def _words(self) -> tuple[str, ...]:
        words = tuple(word for word in (self.entry.name, self.style, self.source) if word)
        words += ("as", *self.matched._words) if self.matched else ()
        return (*words, "at", f"{self.budget[0]}={self.budget[1]!r}") if self.budget else words


def _without_folder(word: str) -> str:
    return "+".join(Path(part).name for part in word.split("+"))


class Perturbed(NamedTuple):
    """What became of a batch of images.

    Attributes:
        made: (N, H, W, 3) float32 in [0, 1], as the attack made them.
        files: the same on the 8-bit grid, as a PNG holds them.
        held_to: the distance that each file is meant to keep, and how far, or None.
        queries: (N,) how many images the source was asked about for each, or None where that is not counted.
        failed: from an image's place in the batch to why the attack failed on it; it is left as it was.
    """

    made: np.ndarray
    files: np.ndarray
    held_to: tuple[str, float] | None = None
    queries: np.ndarray | None = None
    failed: Mapping[int, str] = MappingProxyType({})


class Models(Protocol):
    """The models of a run as ART's estimators, by their names in the benchmark file."""

    def estimator(self, name: str) -> Any:
        """Return a model that is read for its gradients, features or outputs."""

    def untrained(self, name: str) -> Any:
        """Return the same network with random weights."""


@dataclass(frozen=True)
class Batch:
    """Images that one variant is to perturb.

    Attributes:
        variant: whose images they are to become.
        x: (N, H, W, 3) float32 in [0, 1], on the 8-bit grid.
        seeds: (N,) one for each image.
        models: of the run.
        images_of: from another variant to its files of the same images, (N, H, W, 3) float32.
        targets: (N,) the ImageNet class that the image set names as each image's target, or None; () for no names.
        draws: (N,) seeds of each image that are the same at every budget, so that what is drawn by them is, too; () for
            `seeds`.
    """

    variant: Variant
    x: np.ndarray
    seeds: tuple[int, ...]
    models: Models
    images_of: Callable[[Variant], np.ndarray]
    targets: tuple[int | None, ...] = ()
    draws: tuple[int, ...] = ()


class Entry(Section):
    """What every entry has. Subclasses say the rest."""

    kind: ClassVar[str]
    folder: ClassVar[str] = ""  # where its images lie, if not in one named by the variant's key
    one_seed: ClassVar[bool] = False  # whether all images of a variant have the same seed
    copies_others: ClassVar[bool] = False  # whether its variants are made from those of other entries
    reads: ClassVar[str] = ""  # what it reads of the models it is given, in a few words
    untrained: ClassVar[bool] = False  # whether it reads networks with random weights on purpose

    attack: str = Field(description="style, a control, or an ART attack by short name or class name")
    name: str = Field("", description="what the tables call it; default: the attack's name")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self.attack)
        return self

    @classmethod
    def attacks(cls) -> tuple[str, ...]:
        """Return the words for `attack` that stand for this entry."""
        raise NotImplementedError

    @property
    def own_ball(self) -> Ball | None:
        """The ball that images of the attack stay in, a distance and its radius, or None."""
        return None

    @property
    def aims(self) -> bool:
        """Whether images are led to classes, so that the targets which an image set names count."""
        return False

    @property
    def parameters(self) -> dict[str, Any]:
        """What the records say of it."""
        return {}

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that are read."""
        return ()

    def models_asked(self) -> tuple[str, ...]:
        """Return those of the models whose logits are read, not only features."""
        return ()

    def needs(self, model: str) -> Gives:
        """Return what has to be had of one of the models that are read."""
        return "features"

    def models_of(self, variant: Variant) -> tuple[str, ...]:
        """Return the models that one of its variants reads, with the weights they have."""
        return (variant.source,) if variant.source else ()

    def styles(self) -> tuple[str, ...]:
        """Return the styles it paints in."""
        return ()

    def files(self) -> Iterator[str | Path]:
        """Yield names of files it reads; other words among them do no harm."""
        yield from ()

    def near(self, resolve: Callable[..., Any]) -> Self:
        """Return the entry with its paths made whole by `resolve(path, *names that are no paths)`."""
        return self

    def passes(self) -> float:
        """Return how often, roughly, an image goes through a network: steps, or questions to a source."""
        return 1

    def passes_of(self, variant: Variant) -> float:
        """Return the same of one of its variants: none where images that are there are moved to a budget."""
        return 0 if variant.budget and self.starts_from(variant) == variant.free else self.passes()

    def check(self) -> None:
        """Find mistyped names without loading TensorFlow; raises ArtattackError."""

    def distances(self) -> Iterator[tuple[str, Ball]]:
        """Yield the distances that the entry asks for, each with the name of its option."""
        yield from ()

    def doubts(self) -> Iterator[str]:
        """Yield in one line each what is allowed and yet hardly meant."""
        yield from ()

    def check_beside(self, others: Sequence[Entry]) -> None:
        """Find out that the entry does not go with the other entries of the file; raises ValueError."""

    def variants(self, attacks: Sequence[Variant]) -> Iterator[Variant]:
        """Yield what it stands for.

        Args:
            attacks: the variants of the entries that copy no others.
        """
        raise NotImplementedError

    def at_budget(self, variant: Variant, budget: tuple[str, float]) -> Variant:
        """Return one of its variants brought to a budget."""
        return replace(variant, budget=budget)

    def starts_from(self, variant: Variant) -> Variant | None:
        """Return the variant whose files one of its variants is made from, if any.

        At a budget, those are the attack's own images, unless it attacks anew within the budget's ball. Where that ball
        is the attack's own, it does not: the images are there, and one attack in one ball is made once.
        """
        if variant.budget is None:
            return variant.matched
        anew = self.made_within(variant.budget[0]) and not _same(self.own_ball, variant.budget)
        return None if anew else variant.free

    def made_within(self, distance: str) -> bool:
        """Whether images are made anew within the ball of a budget of that distance."""
        return False

    def made_alike(self, variant: Variant) -> tuple[str, ...]:
        """Return what variants have in common that one attack, once made, serves."""
        return variant.entry.name, variant.matched.entry.name if variant.matched else "", variant.source

    def make(self, variant: Variant, models: Models) -> Any:
        """Make what is costly to make; one of it serves all variants that are `made_alike`.

        Raises:
            ArtattackError: an option or parameter is not usable.
        """
        return None

    def perturb(self, attack: Any, batch: Batch) -> Perturbed:
        """Return what the variant makes of images.

        Args:
            attack: as `make` has made it.
            batch: the images.
        """
        if batch.variant.budget is None:
            return self.perturb_freely(attack, batch)
        return self.perturb_to_budget(attack, batch, batch.variant.budget)

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Return images at the attack's own distance."""
        raise NotImplementedError

    def perturb_within(self, attack: Any, batch: Batch, ball: Ball) -> Perturbed:
        """Return images made within a ball; asked for where `made_within` says so."""
        raise NotImplementedError

    def perturb_to_budget(self, attack: Any, batch: Batch, budget: Ball) -> Perturbed:
        """Return images at a budget: the attack's own, or those made within its ball, brought to its edge.

        Images of an attack whose own ball the budget is are its own files, bit for bit, as far as these stand at the
        edge. The records of both have the same `eps_norm` and `eps`, which are this budget.
        """
        distance, radius = budget
        if self.starts_from(batch.variant):
            files = bring_to(batch.x, batch.images_of(batch.variant.free), radius, distance)
            return Perturbed(files, files, budget)
        within = self.perturb_within(attack, batch, budget)
        files = bring_to(batch.x, within.files, radius, distance, made=within.made)
        brought = (files != within.files).any((1, 2, 3))[:, None, None, None]
        return within._replace(made=np.where(brought, files, within.made), files=files)

    def columns(self, attack: Any, batch: Batch, files: np.ndarray) -> Mapping[str, Sequence[Any]]:
        """Return columns of the records, (N,) each, that only this attack can tell; `files` are the batch's images."""
        return {}


class CleanEntry(Entry):
    """The images as they are, so that natural mistakes stand beside the attacks. Part of every benchmark."""

    kind: ClassVar[str] = "clean"
    folder: ClassVar[str] = "original"

    attack: str = "clean"

    def perturb_freely(self, attack: Any, batch: Batch) -> Perturbed:
        """Return the images."""
        return Perturbed(batch.x, batch.x)


def _same(ball: Ball | None, other: Ball) -> bool:
    return ball is not None and ball[0] == other[0] and math.isclose(ball[1], other[1], rel_tol=1e-9)


def needed_models(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the models that entries read, each once, in order of appearance."""
    return tuple(dict.fromkeys(name for entry in entries for name in entry.models()))
