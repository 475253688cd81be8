"""Shape or texture, on the cue-conflict images of Geirhos et al. (ICLR 2019), which people have classified as well."""

from __future__ import annotations

from typing import Any

import pandas as pd

from artattack.inputs.entry_classes import cues_of
from artattack.models.registry import model_infos
from artattack.report.page_tables import design_effect
from artattack.results.run_folder import RunFolder
from artattack.results.statistics import wilson
from artattack.studies.cues import CLASSIFIER, FIELDS, tally
from artattack.studies.drawing import draw_dots
from artattack.studies.study import BNN, Settings, Study

# For each observer: the number of decisions, of those for the shape, and of those for the texture, on the 1200 images
# whose cues disagree. Counted in the authors' published answers (rgeirhos/texture-vs-shape,
# raw-data/style-transfer-512-nomask-experiment and -trained-CNNs). The shape biases agree with the paper: 95.9 % for
# ten people and 22.1 % for ResNet-50 (figure 4, table 2).
PUBLISHED = {
    "ten people (published)": (12_000, 9236, 398),
    "ResNet-50 (published)": (1200, 162, 572),
}

_LITES = tuple(info.name for info in model_infos() if info.family == "efficientnet_lite" and info.available)


def _attacks(settings: Settings) -> list[dict[str, Any]]:
    """Return no attacks: the images are painted already."""
    return []


def _measure(records: pd.DataFrame) -> pd.DataFrame:
    """Count decisions on images whose shape and texture have different classes, and add the published ones."""
    asked = records[(records["kind"] == "clean") & records["error"].isna() & records["entry_class_before"].notna()]
    cues = pd.DataFrame(
        [cues_of(image) or (None, None) for image in asked["image"]], asked.index, ["shape", "texture"]
    ).dropna()
    asked = asked.loc[cues.index].assign(shape=cues["shape"], texture=cues["texture"])
    asked = asked[asked["shape"] != asked["texture"]]
    rows = []
    for classifier, own in asked.groupby("classifier", sort=False):
        said = own["entry_class_before"]
        photos = own["image"].str.partition("-")[0]  # each shape comes with several textures
        counted = tally(said == own["shape"], said == own["texture"], photos)
        rows.append({"source": "measured", "classifier": classifier, **counted})
    if not rows:
        return pd.DataFrame()
    for name, (n, shape, texture) in PUBLISHED.items():
        counted = {"n": n, "shape": shape, "texture": texture, "neither": n - shape - texture}
        decided = shape + texture
        low, high = wilson(shape, decided)  # cannot account for repeated photos: only counts are known here
        bias = {"shape_bias": shape / decided, "shape_bias_low": float(low), "shape_bias_high": float(high)}
        rows.append({"source": "published", "classifier": name, **counted, "decided": decided, **bias})
    return pd.DataFrame(rows)


def _answer(table: pd.DataFrame) -> str:
    own = table[table["source"] == "measured"].to_dict("records")
    told = ", ".join(
        f"{row['classifier']} {row['shape_bias']:.0%} [{100 * row['shape_bias_low']:.0f}, "
        f"{100 * row['shape_bias_high']:.0f}] of {row['decided']}{design_effect(row, 'shape_bias')}"
        for row in own
    )
    others = ", ".join(
        f"{row['classifier']} {row['shape_bias']:.1%}"
        for row in table[table["source"] == "published"].to_dict("records")
    )
    return f"Of decisions for one of the two cues these are for the shape: {told}; {others}."


def _draw(drawing: Any, run: RunFolder, table: pd.DataFrame) -> None:
    draw_dots(drawing, list(table["classifier"]), table, {"shape_bias": "shape bias"})
    drawing.set_size_inches(5.0, 1.0 + 0.26 * len(table))


STUDY = Study(
    name="shape-bias",
    question="Where shape and texture disagree, which of them do classifiers see, and which do people?",
    lesson="It assumed that a style changes a classifier's prediction but not a person's.",
    minutes=8,
    backbones=(BNN,),
    limit=1280,
    images={"set": "cue-conflict", "crop": 1.0},
    attacks=_attacks,
    measure=_measure,
    answer=_answer,
    fields=(CLASSIFIER, *FIELDS),
    draw=_draw,
    classifiers=_LITES,
    caption="Shape bias of classifiers with 95 % intervals, and as published of people and of ResNet-50.",
)
