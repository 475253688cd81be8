"""People beside classifiers: the pictures of a survey, and the rates of people's answers: the table `people`."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from artattack.inputs.entry_classes import ENTRY_CLASSES
from artattack.inputs.labels import imagenet_classes
from artattack.results.columns import PEOPLE, VARIANT
from artattack.results.order import classifiers_by_accuracy
from artattack.results.records import (
    CLEAN,
    at_own_distance,
    perturbed_of,
    relation_to_attack,
    untouched_of,
    variant_labels,
)
from artattack.results.statistics import Pooled, cluster_bootstrap, cohens_kappa, draw_clusters, wilson
from artattack.results.tables import make_table

WHO = "people"
CANNOT_TELL = "cannot tell"
TRIAL = "trial"  # the role of the pictures that count
RUN_CLASSES, ENTRY = "run", "entry"  # the classes that people are asked for
_RESAMPLES = 2000
_ENTRY_OF = {index: name for name, indices in ENTRY_CLASSES.items() for index in indices}


def pictures_of(records: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the pictures of a run that a survey may show: labelled photos, untouched, attacked and under controls.

    Pictures stand at the attacks' own distances, or at budgets if the run has no others.

    Args:
        records: the records of one run.
        seed: seed of the run; it determines the ids.

    Returns:
        A row for each photo and version: `picture` (an id that does not reveal the version), `image`, the columns of
        `VARIANT`, `label` (the version's name), `file`, `true_class` and `true_name`.
    """
    rows = records[records["error"].isna() & records["file"].notna() & records["true_class"].notna()]
    own = at_own_distance(rows)
    shown = own if len(perturbed_of(own)) else rows
    shown = shown.assign(label=variant_labels(shown)).drop_duplicates(["image", "label"])
    ids = [_short_hash(f"{seed}:{row.image}:{row.label}") for row in shown.itertuples()]
    columns = ["picture", "image", *VARIANT, "label", "file", "true_class", "true_name"]
    return shown.assign(picture=ids)[columns].reset_index(drop=True)


def style_id(style: str) -> str:
    """Return the id of a style in a survey, which does not reveal the style."""
    return _short_hash(f"style:{style}")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def class_names_of(records: pd.DataFrame) -> dict[int, str]:
    """Return the classes of a run by number: ImageNet's 1000 or, of a run with its own, those in its records."""
    imagenet = {c.index: c.name for c in imagenet_classes()}
    labelled = records[records["true_class"].notna()]
    true = dict(zip(labelled["true_class"].astype(int), labelled["true_name"].fillna(""), strict=True))
    if all(imagenet.get(number) == name for number, name in true.items()):
        return imagenet
    known = records[records["in_label_space"].fillna(False)]
    for when in ("before", "after"):
        said = known[known[f"top1_class_{when}"].notna()]
        numbers = said[f"top1_class_{when}"].astype(int)
        true = dict(zip(numbers, said[f"top1_name_{when}"].fillna(""), strict=True)) | true
    return dict(sorted(true.items()))


def entry_class(index: int | None) -> str | None:
    """Return the entry-level class (Geirhos et al., ICLR 2019) of an ImageNet class; None for those without."""
    return _ENTRY_OF.get(-1 if index is None else index)


def sum_up_people(answers: pd.DataFrame, records: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Compare people with the classifiers of a run: the table `people`.

    The intervals of people's rates, of kappa and of `not_shared_rate` resample people and photos (`cluster_bootstrap`,
    `cohens_kappa`). The other rates of classifiers have Wilson intervals over photos.

    Args:
        answers: table with the columns `artattack.results.columns.ANSWERS`; practice and attention checks do not count.
        records: the records of the run.
        seed: seed of the resampling.

    Returns:
        A row for people and one for each classifier, for each version that people saw, with the columns
        `artattack.results.columns.PEOPLE`; empty without answers that count.
    """
    asked = answers[answers["role"] == TRIAL]
    if asked.empty:
        return make_table([], PEOPLE)
    entry = bool((asked["classes"] == ENTRY).any())
    asked = asked.assign(label=variant_labels(asked))
    said = _scored(records, entry)
    names = classifiers_by_accuracy(records.assign(clean_accuracy=_accuracy(said)))
    untouched = untouched_of(asked)
    rows: list[dict[str, Any]] = []
    order = {label: n for n, label in enumerate(said["label"].drop_duplicates())}
    for label in sorted(asked["label"].unique(), key=lambda name: order.get(name, len(order))):
        own = asked[asked["label"] == label]
        variant = {name: None if pd.isna(own[name].iloc[0]) else own[name].iloc[0] for name in VARIANT}
        before = untouched[untouched["image"].isin(own["image"])]
        rows.append(variant | _of_people(own, before, untouched, seed))
        here = said[(said["label"] == label) & said["image"].isin(own["image"])]
        for name in names:
            seen = here[here["classifier"] == name]
            if len(seen):
                rows.append(variant | {"who": name} | _of_classifier(seen, own, seed))
    return make_table(rows, PEOPLE)


def _accuracy(said: pd.DataFrame) -> pd.Series[Any]:
    """Return for each scored row the accuracy of its classifier on untouched photos."""
    clean = said[said["kind"] == CLEAN]
    return said["classifier"].map(clean.groupby("classifier")["was_right"].mean())


def _scored(records: pd.DataFrame, entry: bool) -> pd.DataFrame:
    """Return a run's records with `label`, and whether the classifier was right before and is right after.

    With `entry`, the 16 entry-level classes decide; classifiers that lack some of them have missing values.
    """
    rows = records[records["error"].isna() & records["classifier"].notna() & records["true_class"].notna()]
    rows = rows.assign(label=variant_labels(rows))
    if entry:
        true = rows["true_class"].map(_ENTRY_OF).astype("string")
        was, now = rows["entry_class_before"] == true, rows["entry_class_after"] == true
        return rows.assign(was_right=was.astype("boolean"), is_right=now.astype("boolean"))
    now = (rows["top1_class_after"] == rows["true_class"]).astype("boolean")
    now = now.where(rows["correct_before"].notna())
    return rows.assign(was_right=rows["correct_before"], is_right=now)


def _of_people(own: pd.DataFrame, before: pd.DataFrame, untouched: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Return the row of people for one version.

    Args:
        own: people's answers to the version.
        before: people's answers to the same photos, untouched.
        untouched: people's answers to all untouched photos.
        seed: seed of the resampling.
    """
    flips = _flips(own, untouched)
    styles = own[own["style_named"].notna()]
    altered = own[own["altered_said"].notna()]
    return {
        "who": WHO,
        "people": own["participant"].nunique(),
        "photos": own["image"].nunique(),
        **_rate("right_rate", own["right"], own, seed, part="right", whole="n"),
        **_rate("right_before_rate", before["right"], before, seed, part="right_before", whole="n_before"),
        **_rate("flip_rate", flips, own.loc[flips.index], seed, part="flips", whole="n_flips"),
        **_rate("cannot_tell_rate", own["answer"] == CANNOT_TELL, own, seed, part="cannot_tell"),
        **_rate("style_rate", styles["style_named"], styles, seed, part="styles_named", whole="styles_asked"),
        **_rate("altered_rate", altered["altered_said"] == "yes", altered, seed, part="altered", whole="altered_asked"),
    }


def _rate(
    name: str, yes: pd.Series[Any], rows: pd.DataFrame, seed: int, *, part: str, whole: str = ""
) -> dict[str, Any]:
    """Return the columns of a rate over answers: the counts, the rate, and its interval over people and photos."""
    n = len(rows)
    counts: dict[str, Any] = {part: int(yes.sum()) if n else 0} | ({whole: n} if whole else {})
    if not n:
        return counts
    found = cluster_bootstrap(yes.astype(bool), rows["image"], rows["participant"], seed=seed, resamples=_RESAMPLES)
    return counts | _interval(name, found)


def _interval(name: str, found: Pooled) -> dict[str, float]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _flips(own: pd.DataFrame, untouched: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each answer differs from other people's most frequent answer to the untouched photo.

    Among equally frequent answers, the true class counts, otherwise the first in alphabetical order. Answers to photos
    that nobody else saw untouched are left out.
    """
    counts = {str(image): Counter(rows["answer"]) for image, rows in untouched.groupby("image")}
    flips: dict[Any, bool] = {}
    for index, row in zip(own.index, own.to_dict("records"), strict=True):
        others = Counter(counts.get(row["image"], Counter()))
        if row["kind"] == CLEAN:
            others.subtract([row["answer"]])
        true = entry_class(row["true_class"]) if row["classes"] == ENTRY else row["true_name"]
        usual = min((answer for answer in +others), key=lambda a: (-others[a], a != true, a), default=None)
        if usual is not None:
            flips[index] = row["answer"] != usual
    return pd.Series(flips, dtype=bool)


def _of_classifier(seen: pd.DataFrame, own: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Return the row of a classifier for one version.

    Args:
        seen: scored records of the classifier on the photos of the version.
        own: people's answers to the version.
        seed: seed of the resampling.
    """
    known = seen[seen["is_right"].notna() & seen["was_right"].notna()]
    flips = seen["flip"].dropna() if seen["kind"].iloc[0] != CLEAN else seen["flip"].iloc[:0]
    relation = relation_to_attack(seen).iloc[0]
    told: dict[str, Any] = {
        "relation": None if pd.isna(relation) else relation,
        "photos": seen["image"].nunique(),
        **_share("right_rate", known["is_right"], "right", "n"),
        **_share("right_before_rate", known["was_right"], "right_before", "n_before"),
        **_share("flip_rate", flips, "flips", "n_flips"),
    }
    both = own.merge(known[["image", "is_right", "was_right"]], on="image")
    if len(both):
        kappa = cohens_kappa(
            both["right"].astype(bool),
            both["is_right"].astype(bool),
            both["image"],
            both["participant"],
            seed=seed,
            resamples=_RESAMPLES,
        )
        told |= {"kappa": kappa.kappa, "kappa_low": kappa.low, "kappa_high": kappa.high}
    if seen["kind"].iloc[0] == CLEAN:
        return told
    fooled = both[both["was_right"].astype(bool) & ~both["is_right"].astype(bool)]
    told["fooled"] = fooled["image"].nunique()
    if len(fooled):
        counts, found = _majorities(fooled, seed)
        told |= {"not_shared": counts, **_interval("not_shared_rate", found)}
    else:
        told["not_shared"] = 0
    return told


def _share(name: str, yes: pd.Series[Any], part: str, whole: str) -> dict[str, Any]:
    n, found = len(yes), int(yes.astype(bool).sum())
    if not n:
        return {part: 0, whole: 0}
    low, high = wilson(found, n)
    return {part: found, whole: n, name: found / n, f"{name}_low": float(low), f"{name}_high": float(high)}


def _majorities(answers: pd.DataFrame, seed: int) -> tuple[int, Pooled]:
    """Return the number of photos on which more than half of the people are right, and the share with its interval.

    The bootstrap draws people and photos with replacement, and forms new majorities in each draw. The interval is
    Wilson's for n / (design effect) photos, as in `cluster_bootstrap`.
    """
    shape = answers["image"].nunique(), answers["participant"].nunique()
    photo, person = (pd.factorize(answers[name], sort=True)[0] for name in ("image", "participant"))
    right, total = np.zeros(shape), np.zeros(shape)
    np.add.at(right, (photo, person), answers["right"].to_numpy(bool))
    np.add.at(total, (photo, person), 1.0)
    majority = right.sum(1) > total.sum(1) / 2
    n, found = shape[0], int(majority.sum())
    rate = found / n
    photos, people = draw_clusters(seed, _RESAMPLES, *shape)
    seen = people @ total.T
    weights = photos * (seen > 0)
    sums = weights.sum(1)
    drawn = (weights * (people @ right.T > seen / 2)).sum(1)[sums > 0] / sums[sums > 0]
    effect = float(drawn.var() * (n / (rate * (1 - rate)))) if 0 < rate < 1 and len(drawn) else 1.0
    worth = n / max(effect, 1.0)
    low, high = wilson(rate * worth, worth)
    return found, Pooled(rate, float(low), float(high), n, n, effect if 0 < rate < 1 else math.nan)


def in_sentences(people: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each attack and classifier: on how many of its successes most people are right."""
    attacks = people[(people["who"] != WHO) & (people["kind"] != CLEAN) & (people["kind"] != "control")]
    told = attacks[attacks["fooled"].fillna(0) > 0]
    for label, row in zip(variant_labels(told), told.to_dict("records"), strict=True):
        yield (
            f"{label} fools {row['who']} on {row['fooled']} of the photos asked about; on {row['not_shared']} of these "
            "most people still name the class: a flip that people do not share."
        )
