"""The `Study` class: a question, the attacks that answer it, and the analysis of their records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from artattack.attacks.options import StyleOptions
from artattack.config import DEFAULT_SIZE, Benchmark, ImageSettings, ModelSpec, parse_benchmark
from artattack.validation import Section

if TYPE_CHECKING:
    import pandas as pd

    from artattack.report.page_tables import Field as ShownField
    from artattack.results.run_folder import RunFolder

CLASSIFIERS = ("efficientnet_lite2", "efficientnet_lite0")
BNN, FLOAT = "quicknet_distilled", "efficientnet_lite0"
STYLE = "stained-glass"


class Settings(Section):
    """Settings of a study that the user may choose."""

    backbones: tuple[str, ...] = Field((), description="models whose features define style; default: the study's")
    images: str = Field("", description="image set: a name, a folder or a CSV manifest; default: the study's")
    limit: PositiveInt | None = Field(None, description="maximum number of images; default: the study's")
    size: int = Field(DEFAULT_SIZE, ge=32, description="side of the images, in pixels")
    steps: PositiveInt = Field(StyleOptions().steps, description="optimiser steps of each attack")
    seed: int = Field(Benchmark().seed, ge=0, lt=2**32, description="seed of every random choice")
    trials: PositiveInt | None = Field(None, description="number of settings a search tries; default: the study's")
    models: dict[str, ModelSpec] = Field({}, description="your own models, by name")
    classifiers: tuple[str, ...] = Field((), description="models that are scored; default: the study's")


@dataclass(frozen=True)
class Study:
    """A question and the way to answer it.

    Attributes:
        name: name of the study.
        question: the question.
        lesson: procedure or finding of the 2020 study, in one sentence.
        minutes: approximate run time with default settings on two processor cores.
        backbones: default backbones.
        limit: default number of images.
        attacks: function from settings with backbones to entries of a benchmark file. Entries without steps or styles
            get the settings' steps and the study's styles.
        measure: function from the run's records to a table with a row for each case, empty if no image has a result.
        answer: function from a non-empty table to one sentence with figures.
        fields: shown columns of the table.
        draw: function that draws the figure into an empty Matplotlib figure, from the run and the table.
        caption: caption of the figure.
        styles: styles of the paintings.
        images: the benchmark's image settings, except size and limit; the settings may name another set.
        classifiers: scored classifiers. For each attack, the first one that it has not read counts.
        leave: function that writes further files into the run folder, from the table.
        needs: a package of the extra `search`, if any.
        scores_backbones: whether backbones are also scored as classifiers.
        models: function from settings with backbones to the study's own models, by name, as in a benchmark file.
        look: function that adds table columns computed from the run's pictures or networks.
        meant: sentence that confirms an unusual plan, whose doubts are then not reported.
        trials: number of trials of a search; 0 for other studies.
        objectives: variants of the study by the name of their objective; empty without a choice.
        first: number of images for all attacks before the better half continues; 0 for all images.
        going_on: function from the records of the first images to the names of the attacks that continue.
    """

    name: str
    question: str
    lesson: str
    minutes: int
    backbones: tuple[str, ...]
    limit: int
    attacks: Callable[[Settings], list[dict[str, Any]]]
    measure: Callable[[pd.DataFrame], pd.DataFrame]
    answer: Callable[[pd.DataFrame], str]
    fields: tuple[ShownField, ...]
    draw: Callable[[Any, RunFolder, pd.DataFrame], None]
    caption: str
    styles: tuple[str, ...] = (STYLE,)
    images: dict[str, Any] = field(default_factory=lambda: {"set": ImageSettings().set})
    classifiers: tuple[str, ...] = CLASSIFIERS
    leave: Callable[[RunFolder, pd.DataFrame], None] | None = None
    needs: str = ""
    scores_backbones: bool = False
    models: Callable[[Settings], dict[str, Any]] = field(default=lambda settings: {})
    look: Callable[[RunFolder, pd.DataFrame], pd.DataFrame] | None = None
    meant: str = ""
    trials: int = 0
    objectives: Mapping[str, Study] = field(default_factory=dict)
    first: int = 0
    going_on: Callable[[pd.DataFrame], Collection[str]] | None = None


def study_benchmark(study: Study, settings: Settings) -> Benchmark:
    """Return the benchmark of a study.

    Raises:
        ArtattackError: a setting is invalid, for example an unknown backbone.
    """
    backbones = settings.backbones or study.backbones
    own = {"style": study.styles, "steps": settings.steps}
    images = study.images | ({"set": settings.images} if settings.images else {})
    chosen = {"backbones": backbones, "images": images["set"], "limit": settings.limit or study.limit}
    full = settings.model_copy(update=chosen)
    attacks = study.attacks(full)
    scored = settings.classifiers or study.classifiers
    return parse_benchmark(
        {
            "name": f"study-{study.name}",
            "models": {name: spec.model_dump() for name, spec in settings.models.items()} | study.models(full),
            **({"batch_size": study.first} if study.first else {}),
            "seed": settings.seed,
            "images": images | {"size": settings.size, "limit": chosen["limit"]},
            "classifiers": tuple(dict.fromkeys((*scored, *(backbones if study.scores_backbones else ())))),
            "attacks": [own | entry if entry["attack"] == "style" else entry for entry in attacks],
        },
        where=f"study {study.name}",
    )
