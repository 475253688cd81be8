"""The tables of a report: what they show in each cell, as text that people read, and what they are sorted by."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import pandas as pd

from artattack.results.records import RANDOM, RELATIONS, labelled

Row = Mapping[Any, Any]
_LAST = float("inf")  # where a missing number is sorted


RELATED = {  # classifiers by their relation to an attack, in words
    "unrelated": "classifiers that are no relatives of what the attack read",
    "unseen": "classifiers that the attack has not seen",
    "kin": "classifiers that are kin to what the attack read: of one family, or of one teacher",
    "seen": "classifiers that the attack read (white box)",
}


class TableCell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: what stands there; empty where there is nothing to say.
        sort: what it is sorted by.
        note: what stands behind it, smaller: `14 of 20` behind a rate.
        untrained: whether it names a network that was never trained.
    """

    text: str
    sort: float | str
    note: str = ""
    untrained: bool = False

    @property
    def whole(self) -> str:
        """The whole cell as one text."""
        return (f"{self.text}, {self.note}" if self.note else self.text) + f" {RANDOM}" * self.untrained


EMPTY = TableCell("", _LAST)


class Field(NamedTuple):
    """A column as people see it: its heading, what that means in a few words, and its cell in a row.

    `named` says that it names networks or attacks, `figure` that it is a bare number, set to the right, and
    `only_if_any` that a table in which none of its cells says anything goes without it.
    """

    name: str
    title: str
    cell: Callable[[Row], TableCell]
    named: bool = False
    figure: bool = False
    only_if_any: bool = False


def number(name: str, title: str, column: str, form: str = ".2f", *, only_if_any: bool = False) -> Field:
    """Return a column of numbers; a missing one is empty, and with `only_if_any` so is 0."""

    def cell(row: Row) -> TableCell:
        value = row[column]
        return EMPTY if pd.isna(value) or (only_if_any and not value) else TableCell(format(value, form), float(value))

    return Field(name, title, cell, figure=True, only_if_any=only_if_any)


def words(name: str, title: str, column: str, *, named: bool = False, only_if_any: bool = False) -> Field:
    """Return a column of text."""

    def cell(row: Row) -> TableCell:
        text: str = "" if pd.isna(row[column]) else str(row[column])
        return TableCell(text, text)

    return Field(name, title, cell, named=named, only_if_any=only_if_any)


def rate(row: Row, column: str, part: str, whole: str = "n", sign: str = "%") -> TableCell:
    """Return a rate in percent with its 95 % interval, and what it counts: `70% [48, 85]` and `14 of 20`.

    Of a rate over rows that repeat photos, the design effect stands there, too: `14 of 20, design effect 3.1`.
    """
    if pd.isna(row[column]):
        return EMPTY
    shown = _percent(*(row[f"{column}{end}"] for end in ("", "_low", "_high")), sign)
    return TableCell(shown, float(row[column]), f"{row[part]} of {row[whole]}{design_effect(row, column)}")


def design_effect(row: Row, column: str) -> str:
    """Return the design effect of a rate over rows that repeat photos, as it follows the count; else nothing."""
    effect = row.get(f"{column}_design_effect", math.nan)
    return "" if pd.isna(effect) or effect == 1.0 else f", design effect {effect:.1f}"


def clean_error(row: Row, sign: str = "%") -> TableCell:
    """Return natural mistakes: of the images whose class the classifier knows, those it gets wrong untouched."""
    if pd.isna(row["clean_accuracy"]):
        return EMPTY
    wrong, low, high = (1 - row[f"clean_accuracy{end}"] for end in ("", "_high", "_low"))
    count = f"{row['n_labelled'] - row['n_correct']} of {row['n_labelled']}"
    return TableCell(_percent(wrong, low, high, sign), float(wrong), count)


def _percent(value: float, low: float, high: float, sign: str) -> str:
    return f"{100 * value:.0f}{sign} [{100 * low:.0f}, {100 * high:.0f}]"


def rates(
    name: str, title: str, column: str, part: str, whole: str = "n", sign: str = "%", *, only_if_any: bool = False
) -> Field:
    """Return a column of rates as `rate` shows them."""
    return Field(name, title, lambda row: rate(row, column, part, whole, sign), only_if_any=only_if_any)


def means(name: str, title: str, column: str, form: str = "+.2f") -> Field:
    """Return a column of means with their intervals: `-0.46 [-0.61, -0.31]`."""

    def cell(row: Row) -> TableCell:
        if pd.isna(row[column]):
            return EMPTY
        value, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
        bounds = "" if pd.isna(low) else f" [{low:{form}}, {high:{form}}]"
        return TableCell(f"{value:{form}}{bounds}", float(value))

    return Field(name, title, cell)


_ADJUSTED = number("p, adjusted", "exact McNemar tests, Holm's correction", "p_holm", ".2g")
_CLASSIFIER = words("classifier", "who is scored", "classifier", named=True)
_RELATION = words(
    "relation",
    "of the classifier to the attack: unrelated, kin (of one family or one teacher with what it read), or seen (read)",
    "relation",
    only_if_any=True,
)
SUMMARY_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE; clean is the untouched images", "label", named=True),
    words("kind", "clean (the untouched images), control, or of what kind the attack is", "kind"),
    _CLASSIFIER,
    number("classes", "classes it chose among", "classes", "d"),
    Field("clean error", "natural mistakes, without any attack", clean_error),
    rates("flips", "images whose top-1 class changed", "flip_rate", "flips"),
    number("L2", "mean distance, image units", "mean_l2", ".1f"),
    number(
        "at budget",
        "share of the images that stand at the budget, within 5 %; below 80 % nothing is compared there",
        "standing_share",
        ".0%",
        only_if_any=True,
    ),
    number(
        "lost to rounding",
        "flips of the image as the attack made it that are none in its 8-bit file",
        "lost_to_rounding",
        "d",
        only_if_any=True,
    ),
    rates("success", "correct before, wrong after", "success_rate", "successes", "n_correct"),
    rates(
        "to target",
        "images of targeted attacks whose top-1 class became the one they were led to",
        "target_hit_rate",
        "target_hits",
        "n_targeted",
        only_if_any=True,
    ),
    rates(
        "style",
        "recognised as its style by a network that the attack did not read",
        "style_identified_rate",
        "styles_identified",
        "styles_judged",
        only_if_any=True,
    ),
    _RELATION,
    rates("top-5 flips", "the class seen before is not among the five first", "top5_flip_rate", "top5_flips"),
    means("confidence shift", "mean, of the class seen before", "mean_confidence_shift"),
    number("KL", "mean divergence of the confidences, nats", "mean_kl_divergence"),
    number("Linf", "mean distance, image units", "mean_linf", ".3f"),
    number("SSIM", "mean structural similarity", "mean_ssim"),
    number("edges", "mean gradient magnitude similarity deviation; 0 keeps every edge", "mean_gmsd"),
    number("ΔE", "mean colour difference, CIEDE2000", "mean_delta_e", ".1f"),
    number("grid", "mean checkerboard energy of the change; 1 is none", "mean_checkerboard", ".1f"),
    number("s/image", "seconds of attack per image", "seconds_per_image"),
    number("failed", "images without a result; they count nowhere else", "errors", "d"),
)
CONTROL_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE", "variant", named=True),
    words("verdict", "does the attack beat every control, or is it worse than some", "verdict"),
    _CLASSIFIER,
    _RELATION,
    number("controls", "at the same distance that count", "controls", "d"),
    number("n", "images scored under both the attack and the deciding control, at one distance", "n", "d"),
    number("flip rate", "of the attack", "flip_rate", ".0%"),
    words("deciding control", "the one whose p value decides the verdict", "control"),
    number("its flip rate", "of the control, on the same images", "control_flip_rate", ".0%"),
    means("difference", "attack - control, with its 95 % interval", "difference"),
    _ADJUSTED,
    number("attack only", "images flipped by the attack and not by the control", "only_variant", "d"),
    number("control only", "images flipped by the control and not by the attack", "only_control", "d"),
    words("not compared", "why controls do not count", "left_out", only_if_any=True),
)
JUDGE_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE", "label", named=True),
    words("kind", "control, or of what kind the attack is", "kind"),
    words("judge", "the network that says which style an image has", "judge", named=True),
    words("relation", "of the judge to the attack: kin or unrelated", "relation", only_if_any=True),
    rates("recognised", "nearest to their own style", "identified_rate", "identified"),
    number("none", "nearest to none of the styles", "none", "d"),
    number("untouched", "photos that are nearest to that style without any paint", "identified_before", "d"),
    means("gain", "recognised less untouched, over the images", "gain", "+.0%"),
    number("distance before", "mean, of the untouched image from the style", "mean_before"),
    number("distance", "mean, of the image from the style", "mean_after"),
)
POOLED_FIELDS = (
    words("attack", "over its styles", "attack", named=True),
    words("source", "the model that it read", "source", named=True),
    words("at", "the budget, where it stands at one", "place", only_if_any=True),
    words("relation", "of the classifiers to the attack", "relation"),
    words("verdict", "does the attack beat every control, or is it worse than some", "verdict"),
    number("styles", "over which it is pooled", "styles", "d"),
    number("classifiers", "over which it is pooled", "classifiers", "d"),
    number("photos", "of which rows are scored", "photos", "d"),
    rates("flips", "rows whose top-1 class changed; the interval resamples photos", "flip_rate", "flips"),
    number("design effect", "how much the repeats widen the interval, squared", "design_effect", ".1f"),
    number("L2", "mean distance, image units", "mean_l2", ".1f"),
    words("deciding control", "the one whose p value decides the verdict", "control"),
    number("its flip rate", "of the control, on the same rows", "control_flip_rate", ".0%"),
    means("difference", "attack - control, with its 95 % interval, which resamples photos", "difference"),
    number("design effect of it", "of the difference", "difference_design_effect", ".1f"),
    number("p, adjusted", "sign-flip tests of photos, Holm's correction", "p_holm", ".2g"),
)
PAIR_FIELDS = (
    _CLASSIFIER,
    words("a", "an attack", "a", named=True),
    words("b", "another", "b", named=True),
    number("n", "images scored under both", "n", "d"),
    number("flip rate a", "of a", "rate_a", ".0%"),
    number("flip rate b", "of b", "rate_b", ".0%"),
    means("difference", "a - b, with its 95 % interval", "difference"),
    _ADJUSTED,
)
AREA_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE", "label", named=True),
    words("kind", "control, or of what kind the attack is", "kind"),
    _CLASSIFIER,
    words("distance", "what is bounded", "budget_distance"),
    number("up to", "the largest budget that it reaches; areas up to others do not compare", "largest_budget", ".3g"),
    number("n", "images scored at every budget of the curve", "n", "d"),
    means("flips", "mean flip rate over distances", "flip_area", ".2f"),
    means("successes", "mean success rate over distances", "success_area", ".2f"),
    means("confidence shift", "mean shift over distances", "confidence_shift_area"),
    number("half flip at", "where half the images flip; empty: never", "half_flip_budget", ".3g"),
)
CHECK_FIELDS = (
    words("check", "what is checked", "check"),
    _CLASSIFIER,
    words("attack", "the attack looked at", "attack"),
    words("status", "pass, fail or not run", "status"),
    words("figures", "the numbers", "figures"),
    words("meaning", "what it shows", "meaning"),
)


class Filled(NamedTuple):
    """The columns of a table that say something, and its cells, row by row."""

    columns: list[Field]
    rows: list[list[TableCell]]


def fill(table: pd.DataFrame, fields: Collection[Field], untrained: Collection[str] = ()) -> Filled:
    """Fill in the cells of a table.

    Args:
        table: the rows.
        fields: what to show of them.
        untrained: names to mark, as `untrained` returns them.
    """

    def cell(field: Field, row: Row) -> TableCell:
        shown = field.cell(row)
        return shown._replace(untrained=True) if field.named and shown.text in untrained else shown

    columns = {field: [cell(field, row) for row in table.to_dict("records")] for field in fields}
    said = {
        field: cells for field, cells in columns.items() if not field.only_if_any or any(cell.text for cell in cells)
    }
    return Filled([*said], [list(row) for row in zip(*said.values(), strict=True)])


def attacks_then_controls(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of a `labelled` summary in the order of the attacks, each followed by the controls that copy it."""
    of = rows["matched_to"].fillna(rows["label"])
    order = {name: n for n, name in enumerate(of.drop_duplicates())}
    return rows.iloc[of.map(order).argsort(kind="stable")]


def with_place(pooled: pd.DataFrame) -> pd.DataFrame:
    """Return pooled attacks with the budget that each stands at in a column `place`: `l2=5`, or nothing."""
    budget = pooled["budget"].map("{:g}".format).astype("string")
    return pooled.assign(place=(pooled["budget_distance"] + "=" + budget).fillna(""))


def with_relations(controls: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return what `judge_against_controls` says with the column `relation`, as `labelled` names it.

    Rows come in the order of `RELATIONS`.
    """
    relations = labelled(summary).rename(columns={"label": "variant"})[["variant", "classifier", "relation"]]
    told = controls.merge(relations, how="left", on=["variant", "classifier"])
    order = told["relation"].map({relation: n for n, relation in enumerate(RELATIONS)})
    return told.iloc[order.argsort(kind="stable")].reset_index(drop=True)
