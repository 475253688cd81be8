"""What judges of style say of each image, who recognises how much, which styles they tell apart, and if they agree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from artattack.errors import ArtattackError
from artattack.results.columns import JUDGES
from artattack.results.records import at_own_distance, attacks_of
from artattack.results.statistics import Kappa, cohens_kappa, newcombe, wilson
from artattack.results.tables import make_table

NO_STYLE = "none"  # nearest to no style: an image that is no nearer to any than the untouched one
_DIGITS = 6  # of distances
_VARIANT = ("kind", "attack", "style", "source", "matched_to", "budget_distance", "budget")


class Judgement(NamedTuple):
    """What one judge says of one image.

    Attributes:
        judge: its name.
        relation: of the judge to the attack: `kin` or `unrelated`, as `classifier_relation` in the records.
        style: the image's own style; a control's is that of the attack it copies.
        nearest: the style that the image is nearest to, or `none`.
        nearest_before: the style that the untouched image is nearest to.
        before, after: distances of the untouched image and of this one from the own style, ratios.
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
        """Whether the untouched image is nearest to that style already."""
        return self.nearest_before == self.style


def to_json(judgements: Iterable[Judgement]) -> str:
    """Return the judgements about one image as the column `style_judgements` of the records has them."""
    rounded = (
        told._asdict() | {"before": round(told.before, _DIGITS), "after": round(told.after, _DIGITS)}
        for told in judgements
    )
    return json.dumps(list(rounded), ensure_ascii=False)


def from_json(text: str | None) -> list[Judgement]:
    """Return what `to_json` wrote; none for a missing text.

    Raises:
        ArtattackError: the text was changed since.
    """
    try:
        return [Judgement(**told) for told in json.loads(text or "[]")]
    except (ValueError, TypeError) as error:
        raise ArtattackError(f"style_judgements: not written by artattack: {text!r}") from error


def judgements_of(records: pd.DataFrame) -> pd.DataFrame:
    """Return what judges say of the images of a run.

    Args:
        records: of one run. Of a run that an earlier version made, which asked one judge, the answers are its.

    Returns:
        A row for each image x attack x judge: `image`, the columns that say which attack or control it is (`kind` to
        `budget` of the records, and `painted`, the own style), `judge`, `relation`, `nearest`, `nearest_before`,
        `identified`, `identified_before`, `before` and `after`, as `Judgement` has them.
    """
    judged = records[records["error"].isna() & records["style_identified"].notna()]
    rows = [
        {name: row[name] for name in ("image", *_VARIANT)}
        | {"painted" if name == "style" else name: value for name, value in told._asdict().items()}
        | {"identified": told.identified, "identified_before": told.identified_before}
        for row in judged.drop_duplicates(["image", *_VARIANT]).to_dict("records")
        for told in ([_one(row)] if pd.isna(row["style_judgements"]) else from_json(row["style_judgements"]))
    ]
    fields = [name for name in Judgement._fields if name != "style"]
    return pd.DataFrame(rows, columns=["image", *_VARIANT, "painted", *fields, "identified", "identified_before"])


def _one(row: Mapping[Any, Any]) -> Judgement:
    """Return the judgement that a record of an earlier version tells, which knew of one judge."""
    nearest, nearest_before = (_text(row[name]) for name in ("style_nearest", "style_nearest_before"))
    own = _text(row["style"])  # which a control has none of
    if not own and row["style_identified"]:
        own = nearest
    elif not own and row["style_identified_before"] is True:
        own = nearest_before
    seen = (math.nan if pd.isna(row[name]) else float(row[name]) for name in ("style_seen_before", "style_seen_after"))
    return Judgement(_text(row["style_judge"]), "", own, nearest, nearest_before, *seen)


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def sum_up_judgements(records: pd.DataFrame) -> pd.DataFrame:
    """Sum up what judges say: the table `judges` of a run.

    Args:
        records: of one run.

    Returns:
        A row for each attack or control x judge, in order of appearance, with the columns
        `artattack.results.columns.JUDGES`.
    """
    rows: list[dict[str, Any]] = []
    for key, own in judgements_of(records).groupby([*_VARIANT, "judge"], sort=False, dropna=False):
        parts: Any = key
        identified, before = own["identified"].astype(bool), own["identified_before"].astype(bool)
        found, n = int(identified.sum()), len(own)
        low, high = wilson(found, n)
        gain_low, gain_high = newcombe(identified, before)
        rows.append(
            {name: None if pd.isna(part) else part for name, part in zip([*_VARIANT, "judge"], parts, strict=True)}
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
    """Return the judgements of what attacks painted at their own distances."""
    return at_own_distance(attacks_of(judgements))


class Agreement(NamedTuple):
    """How far two judges, `a` and `b`, name the same style for the same images."""

    a: str
    b: str
    found: Kappa


def agreements(judgements: pd.DataFrame) -> Iterator[Agreement]:
    """Yield for each two judges how far they agree on the images that both have judged (Cohen's kappa)."""
    key = ["image", *_VARIANT]
    said = {judge: rows[[*key, "nearest"]] for judge, rows in judgements.groupby("judge", sort=False)}
    for a, b in combinations(said, 2):
        both = said[a].merge(said[b], on=key, suffixes=("_a", "_b"))
        if len(both):
            yield Agreement(str(a), str(b), cohens_kappa(both["nearest_a"], both["nearest_b"], both["image"]))


def confusions(judgements: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield for each judge how often an image painted in one style is nearest to another.

    Yields:
        The judge, and its counts: int64, a row for each style painted, a column for each that images are nearest to,
        `none` last.
    """
    for judge, rows in judgements.groupby("judge", sort=False):
        counts = pd.crosstab(rows["painted"], rows["nearest"])
        painted = list(dict.fromkeys(rows["painted"]))
        others = sorted(set(counts.columns) - {*painted, NO_STYLE})
        yield str(judge), counts.reindex(index=painted, columns=[*painted, *others, NO_STYLE], fill_value=0)
