"""The pictures that a page leads with: a few flips, chosen by one rule that stands beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from artattack.report.pictures import best_guess, data_uri, distances, read_pair, text
from artattack.results.records import at_own_distance, attack_labels, attacks_of
from artattack.results.run_folder import RunFolder

LIMIT = 3  # pictures: a row of the page
_SIDE = 448  # px, the most that a picture is wide: sharp on a fine screen
_QUALITY = 88


class StrikingFlip(NamedTuple):
    """An image before and after an attack that changed what a classifier saw.

    Attributes:
        image, true_name: the image, and the name of its label, or nothing.
        before, after: the class seen and the confidence in it: `tabby 75%`.
        attack: ATTACK/STYLE/SOURCE.
        distance: how far the image was moved.
        classifier: who saw it.
        seen: whether the attack read that classifier, in words; empty where the run does not tell.
        style: whether an independent network recognises the style, in words; empty where the run does not tell.
        original, perturbed: the pictures as data URIs.
    """

    image: str
    true_name: str
    before: str
    after: str
    attack: str
    distance: str
    classifier: str
    seen: str
    style: str
    original: str
    perturbed: str


class Chosen(NamedTuple):
    """The records of the most striking flips, the most striking first, and the rule that chose them."""

    records: pd.DataFrame
    rule: str


def striking_flips(run: RunFolder) -> tuple[list[StrikingFlip], str]:
    """Return the most striking flips of a run, and the rule that chose them; pictures that are gone are left out."""
    chosen = choose_flips(run.records)
    flips = []
    for row in chosen.records.to_dict("records"):
        pair = read_pair(run, row)
        if pair is not None:
            original, perturbed = (data_uri(pixels, _SIDE, _QUALITY) for pixels in pair)
            flips.append(
                StrikingFlip(
                    str(row["image"]),
                    text(row["true_name"]),
                    best_guess(row, "before"),
                    best_guess(row, "after"),
                    str(row["label"]),
                    distances(row),
                    str(row["classifier"]),
                    _seen(row),
                    _style(row),
                    original,
                    perturbed,
                )
            )
    return flips, chosen.rule


def choose_flips(records: pd.DataFrame, limit: int = LIMIT) -> Chosen:
    """Choose the most striking flips of attacks at their own distance.

    The score of a flip is confidence before x confidence after x SSIM: the classifier was sure, is sure of another
    class, and people still see the first one. Flips of classifiers that the attack did not read go before others,
    then those of attacks with a style, then successes (the image was classified correctly): where a run has any, no
    others are looked at. Of these the highest scores are taken, no image twice; attacks take turns, so that none has
    one more before every other that is left has had its own. Of equal scores the first record counts. Networks that
    were never trained do not count.

    Args:
        records: of one run.
        limit: at most so many.

    Returns:
        The rows chosen, with the name of the attack in the column `label`.
    """
    flips = attacks_of(at_own_distance(records))
    untrained = (flips[["classifier_weights", "source_weights"]] == "random").fillna(False).any(axis=1)
    flips = flips[flips["flip"].fillna(False) & flips["file"].notna() & ~untrained]
    flips, unseen = _those_of_any(flips, ~flips["classifier_seen"])
    flips, styled = _those_of_any(flips, flips["style"].notna())
    flips, right = _those_of_any(flips, flips["success"])
    flips = flips.assign(label=attack_labels(flips))
    sure = flips["top1_confidence_before"] * flips["top1_confidence_after"]
    scores = (sure * flips["ssim"].clip(lower=0)).fillna(0.0)
    waiting = list(zip(flips.index, flips["label"], flips["image"], scores, strict=True))
    turns: Counter[str] = Counter()
    chosen = []
    while waiting and len(chosen) < limit:
        index, attack, image, _ = min(waiting, key=lambda flip: (turns[flip[1]], -flip[3]))  # the first of equals
        chosen.append(index)
        turns[attack] += 1
        waiting = [flip for flip in waiting if flip[2] != image]
    rule = (
        f"Chosen by a rule: of the {'successes (right before, wrong after)' if right else 'flips'} of "
        f"{'style attacks' if styled else 'attacks'} at their own distance"
        f"{', on classifiers that the attack has not read,' if unseen else ''} those with the highest confidence before "
        "× confidence after × SSIM; no image twice, and attacks take turns."
    )
    return Chosen(flips.loc[chosen], rule)


def _those_of_any(rows: pd.DataFrame, wanted: pd.Series[bool]) -> tuple[pd.DataFrame, bool]:
    """Return the rows that are wanted, or all where none is, and whether any is; what is not known is not wanted."""
    wanted = wanted.fillna(False).astype(bool)
    return (rows[wanted], True) if wanted.any() else (rows, False)


def _seen(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["classifier_seen"]):
        return ""
    return "read by the attack (white box)" if row["classifier_seen"] else "not read by the attack"


def _style(row: Mapping[Any, Any]) -> str:
    judge = text(row["style_judge"])
    if pd.isna(row["style_identified"]):
        return judge.replace("none: ", "not judged: ", 1)  # it says why
    guessing = f"guessing: {row['style_chance']:.0%}"
    if row["style_identified"]:
        return f"recognised by {judge} ({guessing})"
    return f"not recognised by {judge}, which takes it for {text(row['style_nearest'])} ({guessing})"
