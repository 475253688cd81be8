"""Doubts about a run's classifiers, from its records. The flip rate of a network that guesses means nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from scipy.stats import binom

from artattack.results.records import untouched_of

_ENOUGH = 8  # least number of images for a doubt; with fewer, the result may be chance
_LEVEL = 0.05  # level of the test against guessing


def doubts_of(records: pd.DataFrame) -> tuple[str, ...]:
    """Return a line for each doubt about the classifiers of a run, from their predictions on untouched images.

    Args:
        records: the records of a run.

    Returns:
        A line for a classifier that puts all untouched images into one class, although their labels are several or
        unknown; that is right no more often than guessing among its classes (binomial test, level 0.05); or that
        answers at random and flips untouched images by itself. Classifiers with random weights are marked elsewhere.
    """
    untouched = untouched_of(records)
    scored = untouched[untouched["error"].isna() & (untouched["classifier_weights"] != "random").fillna(True)]
    return tuple(line for name, rows in scored.groupby("classifier", sort=False) for line in _doubts(str(name), rows))


def _doubts(name: str, rows: pd.DataFrame) -> Iterator[str]:
    images = len(rows)
    one_label = rows["true_class"].notna().all() and rows["true_class"].nunique() == 1
    if images >= _ENOUGH and rows["top1_class_before"].nunique() == 1 and not one_label:
        yield (
            f"classifier '{name}' puts all {images} untouched images into one class, "
            f"{rows['top1_name_before'].iloc[0]}: check its preprocessing and input_size; its rates say nothing"
        )
    elif guess := _no_better_than_guessing(name, rows):
        yield guess
    flips = int(rows["flip"].sum())
    if flips and (rows["classifier_draws"] > 1).fillna(False).any():
        yield (
            f"classifier '{name}' answers at random and flips {flips} of {images} untouched images by itself: its "
            "rates under attacks hold about as many flips that no attack made"
        )


def _no_better_than_guessing(name: str, rows: pd.DataFrame) -> str:
    """Return a line if a classifier is not shown to be better than guessing, given enough labels; else ""."""
    judged = rows[rows["correct_before"].notna()]
    if len(judged) < _ENOUGH:
        return ""
    n, right, classes = len(judged), int(judged["correct_before"].sum()), int(judged["classes"].iloc[0])
    can_tell = binom.sf(math.ceil(n / 2) - 1, n, 1 / classes) < _LEVEL
    if not can_tell or binom.sf(right - 1, n, 1 / classes) < _LEVEL:
        return ""
    return (
        f"classifier '{name}' is right on {right} of {n} untouched images, no more than guessing among {classes} "
        "classes would be: check its preprocessing, its label_space and the images' labels; its rates say nothing"
    )
