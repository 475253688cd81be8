"""The first pictures of a page: a few flips, chosen by a rule that the page prints beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from artattack.report.pictures import SeenBy, data_uri, distances, read_pair, text, views
from artattack.results.judgements import NO_STYLE
from artattack.results.order import most_accurate_first, right_on_none
from artattack.results.records import at_own_distance, attack_labels, attacks_of, read_by_attack
from artattack.results.run_folder import RunFolder

LIMIT = 3  # pictures, one row of the page
_SIDE = 448  # px, maximum width of a picture, for screens of high resolution
_QUALITY = 88


class StrikingFlip(NamedTuple):
    """An image before and after an attack that flipped a classifier's prediction.

    Attributes:
        image: id of the image.
        true_name: name of its true class; empty if unlabelled.
        attack: ATTACK/STYLE/SOURCE.
        distance: distances of the image from its original, as text.
        style: whether an independent network recognises the style, in words; empty if unknown.
        original: the original picture as a data URI.
        perturbed: the perturbed picture as a data URI.
        ratio: width of the pictures over their height.
        views: predictions of each classifier, beginning with the classifier of the chosen flip.
    """

    image: str
    true_name: str
    attack: str
    distance: str
    style: str
    original: str
    perturbed: str
    ratio: float
    views: list[SeenBy]


class Chosen(NamedTuple):
    """Records of the most striking flips, in that order, and the rule that chose them."""

    records: pd.DataFrame
    rule: str


def striking_flips(run: RunFolder) -> tuple[list[StrikingFlip], str]:
    """Return the most striking flips of a run and the rule that chose them, without flips whose images are deleted."""
    records = at_own_distance(most_accurate_first(run.records, run.summary))
    chosen = choose_flips(records)
    flips = []
    for row in chosen.records.to_dict("records"):
        pair = read_pair(run, row)
        if pair is None:
            continue
        original, perturbed = (data_uri(pixels, _SIDE, _QUALITY) for pixels in pair)
        shown = views(records[records["file"] == row["file"]])
        first = [view for view in shown if view.classifier == row["classifier"]]
        flips.append(
            StrikingFlip(
                str(row["image"]),
                text(row["true_name"]),
                str(row["label"]),
                distances(row),
                _style(row),
                original,
                perturbed,
                round(pair.original.shape[1] / pair.original.shape[0], 4),
                first + [view for view in shown if view not in first],
            )
        )
    return flips, chosen.rule


def choose_flips(records: pd.DataFrame, limit: int = LIMIT) -> Chosen:
    """Choose the most striking flips of attacks at their own distance.

    The score of a flip is confidence before x confidence after x SSIM: the classifier was sure, is sure of another
    class, and the image still resembles its original.

    Up to six conditions filter the flips one after the other; a condition that no remaining flip fulfils is skipped:
    the classifier is right on some untouched image (only if some classifier is right on none); the attack has a style;
    the attack has not read the classifier; the classifier is unrelated to the models that the attack read (only if the
    run records relatives); an independent network recognises the style; the image was classified correctly before.

    The highest scores among the remaining flips are chosen, each image once. Attacks take turns: none gets another
    picture while an attack with fewer pictures has a flip left. Of equal scores, the first record is chosen. Flips of
    untrained networks are ignored.

    Args:
        records: records of one run.
        limit: maximum number of flips.

    Returns:
        The chosen rows, with the name of the attack in the column `label`.
    """
    flips = attacks_of(at_own_distance(records))
    untrained = (flips[["classifier_weights", "source_weights"]] == "random").fillna(False).any(axis=1)
    flips = flips[flips["flip"].fillna(False) & flips["file"].notna() & ~untrained]
    hopeless = right_on_none(records)
    hopeful = {"of a classifier that is right on some untouched image": ~flips["classifier"].isin(hopeless)}
    relation = flips["classifier_relation"]
    related = {"of a classifier unrelated to the models that the attack read": relation == "unrelated"}
    wishes = (
        (hopeful if hopeless else {})
        | {
            "by a style attack": flips["style"].notna(),
            "of a classifier that the attack has not read": ~read_by_attack(flips).fillna(False),
        }
        | (related if relation.notna().any() else {})
        | {
            "with its style recognised by an independent network": flips["style_identified"],
            "of an image that was classified correctly before": flips["success"],
        }
    )
    granted: list[str] = []
    passed_over: list[str] = []
    for wish, fulfilled in wishes.items():
        left = flips[fulfilled.fillna(False).astype(bool)[flips.index]]
        (granted if len(left) else passed_over).append(wish)
        flips = left if len(left) else flips
    rule = (
        f"Chosen by a rule: of the flips{''.join(f' {wish},' for wish in granted)} those with the highest confidence "
        "before × confidence after × SSIM; each attack at its own distance, no image twice, and attacks take turns."
    )
    if passed_over:
        rule += f" Not found in this run: such a flip {', or '.join(passed_over)}."
    flips = flips.assign(label=attack_labels(flips))
    return Chosen(flips.loc[_take_turns(flips, limit)], rule)


def _take_turns(flips: pd.DataFrame, limit: int) -> list[Any]:
    """Return the index of the flips with the highest scores, where attacks take turns and each image counts once."""
    scores = flips["top1_confidence_before"] * flips["top1_confidence_after"] * flips["ssim"].clip(lower=0)
    waiting = list(zip(flips.index, flips["label"], flips["image"], scores.fillna(0.0), strict=True))
    turns: Counter[str] = Counter()
    chosen: list[Any] = []
    while waiting and len(chosen) < limit:
        index, attack, image, _ = min(waiting, key=lambda flip: (turns[flip[1]], -flip[3]))  # the first of equals
        chosen.append(index)
        turns[attack] += 1
        waiting = [flip for flip in waiting if flip[2] != image]
    return chosen


def _style(row: Mapping[Any, Any]) -> str:
    judge = text(row["style_judge"])
    if pd.isna(row["style_identified"]):
        return judge.replace("none: ", "style not judged: ", 1)  # the reason follows
    untouched = text(row["style_nearest_before"])
    null = f" (untouched: nearest to {untouched})" if untouched else ""
    if row["style_identified"]:
        return f"style recognised by {judge}{null}"
    nearest = text(row["style_nearest"])
    instead = "which finds it nearest to no style" if nearest == NO_STYLE else f"which finds it nearest to {nearest}"
    return f"style not recognised by {judge}, {instead}{null}"
