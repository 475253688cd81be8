"""Photos painted in the texture of another class's photo: does a classifier say the shape, the texture, or neither?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from artattack.inputs.image_sets import Sample, open_image_set, spread
from artattack.inputs.images import read_image
from artattack.inputs.labels import class_name
from artattack.report.page_tables import number, rates
from artattack.results.records import at_own_distance, perturbed_of
from artattack.results.run_folder import RunFolder
from artattack.studies.cues import CLASSIFIER, FIELDS, tally
from artattack.studies.drawing import draw_sheet
from artattack.studies.measures import BACKBONE, L2, counted, interval_over_photos, option_of
from artattack.studies.study import BNN, CLASSIFIERS, Settings, Study

_TEXTURES = 4
_LIMIT = 8
_STRENGTHS = {"in-the-ball": {}, "without-bounds": {"budget": "none"}}
_SHOWN = 3  # images on the sheet


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Return attacks that paint each image in the textures of some others, inside the default's ball and without it."""
    samples = spread(open_image_set(settings.images).samples, settings.limit)
    styles = [f"{settings.images}:{sample.id}" for sample in _textures(samples)]
    return [
        {"attack": "style", "name": name, "backbone": settings.backbones, "style": styles, **options}
        for name, options in _STRENGTHS.items()
    ]


def _textures(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """Return images of different classes, evenly spread over the set."""
    of_classes = {sample.label: sample for sample in samples[::-1] if sample.label is not None}  # the first of a class
    return spread(tuple(of_classes.values())[::-1], _TEXTURES)


def _conflicts(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records of paintings with conflicting cues.

    Their classifier is right on the untouched photo and on the photo that gives the texture, and the classes differ.
    """
    clean = records[records["kind"] == "clean"]
    right = set(map(tuple, clean.loc[clean["correct_before"].fillna(False), ["image", "classifier"]].to_numpy()))
    painted = perturbed_of(at_own_distance(records))
    painted = painted[painted["error"].isna() & painted["flip_to_style_class"].notna()]
    textures = painted["style"].str.rpartition(":")[2] if len(painted) else painted["style"]
    known = [
        {(image, classifier), (texture, classifier)} <= right
        for image, texture, classifier in zip(painted["image"], textures, painted["classifier"], strict=True)
    ]
    return painted[pd.Series(known, painted.index, dtype=bool)]


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (attack, source, classifier), own in _conflicts(records).groupby(
        ["attack", "source", "classifier"], sort=False
    ):
        said = own["top1_class_after"]
        likelier = own["true_confidence_after"] > own["style_class_confidence_after"]
        rows.append(
            {
                "attack": attack,
                "source": source,
                "classifier": classifier,
                **tally(said == own["true_class"], said == own["style_class"], own["image"]),
                "flips_to_style_class": int(own["flip_to_style_class"].sum()),
                "prefers_shape": int(likelier.sum()),
                "prefers_shape_rate": likelier.mean(),
                **interval_over_photos("prefers_shape_rate", likelier, own["image"]),
                "l2": own["l2"].mean(),
            }
        )
    return pd.DataFrame(rows)


def _answer(table: pd.DataFrame) -> str:
    parts = []
    for row in table.to_dict("records"):
        parts.append(
            f"{row['classifier']}, {row['attack'].replace('-', ' ')} (L2 {row['l2']:.0f}): the shape's class "
            f"{counted(row, 'shape')}, the texture's {row['texture']}, neither {row['neither']}, and the shape's the "
            f"likelier of the two in {counted(row, 'prefers_shape')}"
        )
    return "; ".join(parts) + "."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    """Draw images in textures without bounds: a line for each image, a column for each texture."""
    records = run.records[run.records["classifier"] == table["classifier"].iloc[0]]
    painted = records[(records["attack"] == list(_STRENGTHS)[-1]) & records["file"].notna()]
    textures = list(dict.fromkeys(painted["style"]))
    shown = list(dict.fromkeys(painted["image"]))[:_SHOWN]
    pictures: list[list[Any]] = [[None, *(_original(run, style.rpartition(":")[2]) for style in textures)]]
    of_texture = [painted.loc[painted["style"] == style, "style_class"].iloc[0] for style in textures]
    captions = [["", *("texture:\n" + class_name(int(index)) for index in of_texture)]]
    for image in shown:
        rows = painted[painted["image"] == image].set_index("style").loc[textures].to_dict("records")
        pictures.append([_original(run, image), *(read_image(run.path / row["file"]) for row in rows)])
        captions.append(["photo:\n" + _named(rows[0]), *(f"seen as:\n{row['top1_name_after']}" for row in rows)])
    draw_sheet(drawing, pictures, captions, words=2)


def _original(run: RunFolder, image: str) -> Any:
    path = run.original(image)
    return read_image(path) if path.is_file() else None


def _named(row: dict[Any, Any]) -> str:
    return "" if pd.isna(row["true_name"]) else str(row["true_name"])


STUDY = Study(
    name="cue-conflict",
    question="A photo painted in the texture of another class's photo: does a classifier say the shape, the texture, "
    "or neither?",
    lesson="A stylised turtle became a post office, not the class of the style.",
    minutes=8,
    backbones=(BNN,),
    limit=_LIMIT,
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(
        option_of("attack", "painted", "inside the default's ball of 20 dB, or without bounds"),
        BACKBONE,
        CLASSIFIER,
        *FIELDS,
        number("flips to it", "whose most likely class became the texture's", "flips_to_style_class", "d"),
        rates(
            "shape likelier",
            "of the two classes, the shape's has more confidence",
            "prefers_shape_rate",
            "prefers_shape",
        ),
        L2,
    ),
    draw=_draw,
    caption="Above, the textures; left, the photos; between, each photo in each texture, with the predicted class.",
    classifiers=(*CLASSIFIERS, "quicknet_tiny"),
)
