"""Judgements of style judges: records per image, recognition rates, confusions of styles, and agreement of judges."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from artattack.errors import ArtattackError
from artattack.results.columns import JUDGES, VARIANT
from artattack.results.records import at_own_distance, attacks_of
from artattack.results.statistics import Kappa, cohens_kappa, newcombe, wilson
from artattack.results.tables import make_table

NO_STYLE = "none"  # nearest to no style: the image is no nearer to its nearest style than the untouched image
_DIGITS = 6  # of distances


class Judgement(NamedTuple):
    """The judgement of one judge on one image.

    Attributes:
        judge: name of the judge.
        relation: relation of the judge to the attack: `kin` or `unrelated`, as `classifier_relation` in the records.
        style: the image's own style; for a control, the style of the attack that it copies.
        nearest: the style nearest to the image, or `none`.
        nearest_before: the style nearest to the untouched image.
        before: relative distance of the untouched image from the image's own style.
        after: relative distance of the image from its own style.
    """

    judge: str
    relation: str
    style: str
    nearest: str
    nearest_before: str
    before: float
    after: float

    @property
    def identified(self) -> bool:
        """Whether the image is recognised as its style."""
        return self.nearest == self.style

    @property
    def identified_before(self) -> bool:
        """Whether the untouched image is nearest to the same style."""
        return self.nearest_before == self.style


def to_json(judgements: Iterable[Judgement]) -> str:
    """Return the judgements on one image as JSON, for the column `style_judgements` of the records."""
    rounded = (
        told._asdict() | {"before": round(told.before, _DIGITS), "after": round(told.after, _DIGITS)}
        for told in judgements
    )
    return json.dumps(list(rounded), ensure_ascii=False)


def from_json(text: str | None) -> list[Judgement]:
    """Return the judgements in a text from `to_json`; empty for a missing text.

    Raises:
        ArtattackError: the text is not from `to_json`.
    """
    try:
        return [Judgement(**told) for told in json.loads(text or "[]")]
    except (ValueError, TypeError) as error:
        raise ArtattackError(f"style_judgements: not written by artattack: {text!r}") from error


def judgements_of(records: pd.DataFrame) -> pd.DataFrame:
    """Return the judgements on the images of a run as a table.

    Args:
        records: the records of one run. In a run of an earlier version, they hold the judgements of a single judge.

    Returns:
        A row for each image x attack x judge: `image`; the columns that identify the attack or control (`kind` to
        `budget` of the records, and `painted`, the image's own style); and the attributes of `Judgement`: `judge`,
        `relation`, `nearest`, `nearest_before`, `identified`, `identified_before`, `before` and `after`.
    """
    judged = records[records["error"].isna() & records["style_identified"].notna()]
    rows = [
        {name: row[name] for name in ("image", *VARIANT)}
        | {"painted" if name == "style" else name: value for name, value in told._asdict().items()}
        | {"identified": told.identified, "identified_before": told.identified_before}
        for row in judged.drop_duplicates(["image", *VARIANT]).to_dict("records")
        for told in ([_one(row)] if pd.isna(row["style_judgements"]) else from_json(row["style_judgements"]))
    ]
    fields = [name for name in Judgement._fields if name != "style"]
    return pd.DataFrame(rows, columns=["image", *VARIANT, "painted", *fields, "identified", "identified_before"])


def _one(row: Mapping[Any, Any]) -> Judgement:
    """Return the judgement in a record of an earlier version, which had a single judge."""
    nearest, nearest_before = (_text(row[name]) for name in ("style_nearest", "style_nearest_before"))
    own = _text(row["style"])  # a control has no style of its own
    if not own and row["style_identified"]:
        own = nearest
    elif not own and row["style_identified_before"] is True:
        own = nearest_before
    seen = (math.nan if pd.isna(row[name]) else float(row[name]) for name in ("style_seen_before", "style_seen_after"))
    return Judgement(_text(row["style_judge"]), "", own, nearest, nearest_before, *seen)


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def sum_up_judgements(records: pd.DataFrame) -> pd.DataFrame:
    """Summarize the judgements of a run: the table `judges`.

    Args:
        records: the records of one run.

    Returns:
        A row for each attack or control x judge, in order of appearance, with the columns
        `artattack.results.columns.JUDGES`.
    """
    rows: list[dict[str, Any]] = []
    for key, own in judgements_of(records).groupby([*VARIANT, "judge"], sort=False, dropna=False):
        parts: Any = key
        identified, before = own["identified"].astype(bool), own["identified_before"].astype(bool)
        found, n = int(identified.sum()), len(own)
        low, high = wilson(found, n)
        gain_low, gain_high = newcombe(identified, before)
        rows.append(
            {name: None if pd.isna(part) else part for name, part in zip([*VARIANT, "judge"], parts, strict=True)}
            | {
                "relation": own["relation"].iloc[0],
                "n": n,
                "none": int((own["nearest"] == NO_STYLE).sum()),
                "identified": found,
                "identified_rate": found / n,
                "identified_rate_low": float(low),
                "identified_rate_high": float(high),
                "identified_before": int(before.sum()),
                "gain": (found - int(before.sum())) / n,
                "gain_low": gain_low,
                "gain_high": gain_high,
                "mean_before": own["before"].mean(),
                "mean_after": own["after"].mean(),
            }
        )
    return make_table(rows, JUDGES)


def paintings(judgements: pd.DataFrame) -> pd.DataFrame:
    """Return the judgements on attacks' images at their own distances, without controls."""
    return at_own_distance(attacks_of(judgements))


class Agreement(NamedTuple):
    """The agreement of two judges on the styles of the same images.

    Attributes:
        a: name of one judge.
        b: name of the other judge.
        found: Cohen's kappa of their judgements.
    """

    a: str
    b: str
    found: Kappa


def agreements(judgements: pd.DataFrame) -> Iterator[Agreement]:
    """Yield the agreement (Cohen's kappa) of each pair of judges on the images that both have judged."""
    key = ["image", *VARIANT]
    said = {judge: rows[[*key, "nearest"]] for judge, rows in judgements.groupby("judge", sort=False)}
    for a, b in combinations(said, 2):
        both = said[a].merge(said[b], on=key, suffixes=("_a", "_b"))
        if len(both):
            yield Agreement(str(a), str(b), cohens_kappa(both["nearest_a"], both["nearest_b"], both["image"]))


def confusions(judgements: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the confusion matrix of each judge: painted styles against nearest styles.

    Yields:
        The judge, and its counts, int64, with a row for each painted style and a column for each nearest style,
        `none` last.
    """
    for judge, rows in judgements.groupby("judge", sort=False):
        counts = pd.crosstab(rows["painted"], rows["nearest"])
        painted = list(dict.fromkeys(rows["painted"]))
        others = sorted(set(counts.columns) - {*painted, NO_STYLE})
        yield str(judge), counts.reindex(index=painted, columns=[*painted, *others, NO_STYLE], fill_value=0)
