"""The tables of a report: text and sort key of each cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import pandas as pd

from artattack.results.records import RANDOM, RELATIONS, labelled

Row = Mapping[Any, Any]
_LAST = float("inf")  # sort key of a missing number


RELATED = {  # classifiers by their relation to an attack, in words
    "unrelated": "classifiers unrelated to the models that the attack read",
    "unseen": "classifiers that the attack did not read",
    "kin": "classifiers kin to a model that the attack read: of one family or one teacher",
    "seen": "classifiers that the attack read (white box)",
}


class TableCell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: text of the cell; may be empty.
        sort: sort key.
        note: note in smaller type after the text, such as `14 of 20` after a rate.
        untrained: whether the cell names an untrained network.
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
    """A column of a table.

    Attributes:
        name: heading.
        title: meaning of the heading, in a few words.
        cell: function from a row to the column's cell.
        named: whether the cells name networks or attacks.
        figure: whether the cells are bare numbers, aligned to the right.
        only_if_any: whether the column is omitted if all its cells are empty.
    """

    name: str
    title: str
    cell: Callable[[Row], TableCell]
    named: bool = False
    figure: bool = False
    only_if_any: bool = False


def number(name: str, title: str, column: str, form: str = ".2f", *, only_if_any: bool = False) -> Field:
    """Return a column of numbers; missing numbers are empty, and with `only_if_any` also 0."""

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
    """Return a rate in percent with its 95 % interval, `70% [48, 85]`, and the counts as a note, `14 of 20`.

    The note of a rate over rows that repeat photos adds the design effect: `14 of 20, design effect 3.1`.
    """
    if pd.isna(row[column]):
        return EMPTY
    shown = _percent(*(row[f"{column}{end}"] for end in ("", "_low", "_high")), sign)
    return TableCell(shown, float(row[column]), f"{row[part]} of {row[whole]}{design_effect(row, column)}")


def design_effect(row: Row, column: str) -> str:
    """Return the design effect of a rate over rows that repeat photos, as text behind the counts; otherwise empty."""
    effect = row.get(f"{column}_design_effect", math.nan)
    return "" if pd.isna(effect) or effect == 1.0 else f", design effect {effect:.1f}"


def clean_error(row: Row, sign: str = "%") -> TableCell:
    """Return the clean error: the share of untouched images of known class that the classifier gets wrong."""
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
_CLASSIFIER = words("classifier", "the scored model", "classifier", named=True)
_RELATION = words(
    "relation",
    "of the classifier to the attack: unrelated, kin (one family or teacher with a model it read) or seen (read)",
    "relation",
    only_if_any=True,
)
SUMMARY_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE; clean stands for the untouched images", "label", named=True),
    words("kind", "clean (the untouched images), control, or the kind of attack", "kind"),
    _CLASSIFIER,
    number("classes", "number of the classifier's classes", "classes", "d"),
    Field("clean error", "wrong without any attack", clean_error),
    rates("flips", "images whose top-1 class changed", "flip_rate", "flips"),
    number("L2", "mean distance, image units", "mean_l2", ".1f"),
    number(
        "at budget",
        "share of the images at the budget, within 5 %; below 80 % the attack is not compared there",
        "standing_share",
        ".0%",
        only_if_any=True,
    ),
    number(
        "lost to rounding",
        "flips by the attack's float image that the 8-bit file does not show",
        "lost_to_rounding",
        "d",
        only_if_any=True,
    ),
    rates("success", "correct before, wrong after", "success_rate", "successes", "n_correct"),
    rates(
        "to target",
        "images of targeted attacks whose top-1 class became the target",
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
    rates("top-5 flips", "the class before is not among the top five after", "top5_flip_rate", "top5_flips"),
    means("confidence shift", "mean, of the class before", "mean_confidence_shift"),
    number("KL", "mean divergence of the confidences, nats", "mean_kl_divergence"),
    number("Linf", "mean distance, image units", "mean_linf", ".3f"),
    number("SSIM", "mean structural similarity", "mean_ssim"),
    number("edges", "mean gradient magnitude similarity deviation; 0 keeps every edge", "mean_gmsd"),
    number("ΔE", "mean colour difference, CIEDE2000", "mean_delta_e", ".1f"),
    number("grid", "mean checkerboard energy of the change; 1 means no grid", "mean_checkerboard", ".1f"),
    number("s/image", "seconds of attack per image", "seconds_per_image"),
    number("failed", "images without a result; other columns leave them out", "errors", "d"),
)
CONTROL_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE", "variant", named=True),
    words("verdict", "whether the attack beats every control, or is worse than one", "verdict"),
    _CLASSIFIER,
    _RELATION,
    number("controls", "number of compared controls at the same distance", "controls", "d"),
    number("n", "images scored under both the attack and the deciding control, at the same distance", "n", "d"),
    number("flip rate", "of the attack", "flip_rate", ".0%"),
    words("deciding control", "the control whose p value decides the verdict", "control"),
    number("its flip rate", "of the control, on the same images", "control_flip_rate", ".0%"),
    means("difference", "attack - control, with its 95 % interval", "difference"),
    _ADJUSTED,
    number("attack only", "images flipped by the attack and not by the control", "only_variant", "d"),
    number("control only", "images flipped by the control and not by the attack", "only_control", "d"),
    words("not compared", "controls left out, and why", "left_out", only_if_any=True),
)
JUDGE_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE", "label", named=True),
    words("kind", "control, or the kind of attack", "kind"),
    words("judge", "the network that recognises styles", "judge", named=True),
    words("relation", "of the judge to the attack: kin or unrelated", "relation", only_if_any=True),
    rates("recognised", "images nearest to their own style", "identified_rate", "identified"),
    number("none", "images nearest to no style", "none", "d"),
    number("untouched", "untouched photos nearest to that style", "identified_before", "d"),
    means("gain", "share recognised minus share of untouched photos recognised", "gain", "+.0%"),
    number("distance before", "mean distance of the untouched images from the style", "mean_before"),
    number("distance", "mean distance of the images from the style", "mean_after"),
)
POOLED_FIELDS = (
    words("attack", "pooled over its styles", "attack", named=True),
    words("source", "the model that the attack read", "source", named=True),
    words("at", "the budget, if any", "place", only_if_any=True),
    words("relation", "of the classifiers to the attack", "relation"),
    words("verdict", "whether the attack beats every control, or is worse than one", "verdict"),
    number("styles", "number of pooled styles", "styles", "d"),
    number("classifiers", "number of pooled classifiers", "classifiers", "d"),
    number("photos", "number of scored photos", "photos", "d"),
    rates("flips", "rows whose top-1 class changed; the interval resamples photos", "flip_rate", "flips"),
    number("design effect", "square of the interval's widening by repeated photos", "design_effect", ".1f"),
    number("L2", "mean distance, image units", "mean_l2", ".1f"),
    words("deciding control", "the control whose p value decides the verdict", "control"),
    number("its flip rate", "of the control, on the same rows", "control_flip_rate", ".0%"),
    means("difference", "attack - control, with its 95 % interval, which resamples photos", "difference"),
    number("design effect of it", "design effect of the difference", "difference_design_effect", ".1f"),
    number("p, adjusted", "sign-flip tests of photos, Holm's correction", "p_holm", ".2g"),
)
_COUNTED = {"clean_accuracy": "right, untouched", "flip_rate": "flips", "robust_accuracy": "right, attacked"}


def _images_of_undefended(row: Row) -> TableCell:
    """Return the attack whose images the undefended classifier saw, if it is another."""
    name = str(row["variant_undefended"])
    return EMPTY if name == row["variant"] else TableCell(name, name)


def _counted_rate(row: Row) -> TableCell:
    shown = _COUNTED[row["rate"]]
    return TableCell(shown, shown)


DEFENCE_FIELDS = (
    words("classifier", "the defended one", "classifier", named=True),
    words("defences", "in order", "defences"),
    words("attack", "ATTACK/STYLE/SOURCE; clean is the untouched images", "variant", named=True),
    words("relation", "of the defended classifier to the attack: unrelated, kin or seen (read)", "relation"),
    Field("undefended under", "the attack that read the undefended one, where each saw its own", _images_of_undefended),
    words("gradient", "of the attack, through the defences it read", "source_gradient", only_if_any=True),
    Field("counted", "flips, or right answers", _counted_rate),
    number("n", "images known of both", "n", "d"),
    number("undefended", "rate without the defences", "rate_undefended", ".0%"),
    number("defended", "rate with them", "rate_defended", ".0%"),
    means("difference", "defended - undefended, with its 95 % interval", "difference", "+.0%"),
    number("abstains", "images on which a smoothed classifier abstains", "abstentions", "d", only_if_any=True),
    _ADJUSTED,
)
PAIR_FIELDS = (
    _CLASSIFIER,
    words("a", "the first attack", "a", named=True),
    words("b", "the second attack", "b", named=True),
    number("n", "images scored under both", "n", "d"),
    number("flip rate a", "of a", "rate_a", ".0%"),
    number("flip rate b", "of b", "rate_b", ".0%"),
    means("difference", "a - b, with its 95 % interval", "difference"),
    _ADJUSTED,
)
AREA_FIELDS = (
    words("attack", "ATTACK/STYLE/SOURCE", "label", named=True),
    words("kind", "control, or the kind of attack", "kind"),
    _CLASSIFIER,
    words("distance", "the bounded distance", "budget_distance"),
    number("up to", "the largest budget reached; compare only areas up to the same budget", "largest_budget", ".3g"),
    number("n", "images scored at every budget of the curve", "n", "d"),
    means("flips", "mean flip rate over distances", "flip_area", ".2f"),
    means("successes", "mean success rate over distances", "success_area", ".2f"),
    means("confidence shift", "mean shift over distances", "confidence_shift_area"),
    number("half flip at", "budget at which half the images flip; empty for never", "half_flip_budget", ".3g"),
)
PEOPLE_FIELDS = (
    words("version", "the untouched photos, or ATTACK/STYLE/SOURCE", "label", named=True),
    words("who", "people, or a classifier on the photos that people were asked about", "who", named=True),
    number("people", "who answered", "people", "d"),
    number("photos", "that were asked about", "photos", "d"),
    rates(
        "right untouched",
        "the true class, of the same photos untouched",
        "right_before_rate",
        "right_before",
        "n_before",
    ),
    rates("right", "the true class", "right_rate", "right"),
    rates(
        "flips",
        "classifiers: the class changed; people: not the answer most (other) people give to the untouched photo",
        "flip_rate",
        "flips",
        "n_flips",
        only_if_any=True,
    ),
    rates("cannot tell", "answers of people", "cannot_tell_rate", "cannot_tell", only_if_any=True),
    rates(
        "style named",
        "answers of people to painted pictures",
        "style_rate",
        "styles_named",
        "styles_asked",
        only_if_any=True,
    ),
    rates(
        "altered",
        "people who say that the picture was altered",
        "altered_rate",
        "altered",
        "altered_asked",
        only_if_any=True,
    ),
    means("kappa", "error consistency with people; 0 is chance", "kappa"),
    rates(
        "not shared",
        "flips that people do not share: of the photos that fool the classifier, those that most people name right",
        "not_shared_rate",
        "not_shared",
        "fooled",
        only_if_any=True,
    ),
)
CHECK_FIELDS = (
    words("check", "name of the check", "check"),
    _CLASSIFIER,
    words("attack", "the checked attack", "attack"),
    words("status", "pass, fail or not run", "status"),
    words("figures", "the numbers", "figures"),
    words("meaning", "conclusion from the result", "meaning"),
)


class Filled(NamedTuple):
    """The columns of a table, without omitted ones, and its cells, row by row."""

    columns: list[Field]
    rows: list[list[TableCell]]


def fill(table: pd.DataFrame, fields: Collection[Field], untrained: Collection[str] = ()) -> Filled:
    """Fill in the cells of a table.

    Args:
        table: the rows.
        fields: the columns to show.
        untrained: names of untrained networks, to mark.
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
    """Return rows of a `labelled` summary ordered by attack, each attack followed by the controls matched to it."""
    of = rows["matched_to"].fillna(rows["label"])
    order = {name: n for n, name in enumerate(of.drop_duplicates())}
    return rows.iloc[of.map(order).argsort(kind="stable")]


def with_place(pooled: pd.DataFrame) -> pd.DataFrame:
    """Return pooled attacks with the column `place`: the budget, such as `l2=5`; empty at own distances."""
    budget = pooled["budget"].map("{:g}".format).astype("string")
    return pooled.assign(place=(pooled["budget_distance"] + "=" + budget).fillna(""))


def with_relations(controls: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts of `judge_against_controls` with the column `relation` of `labelled`.

    Rows are in the order of `RELATIONS`.
    """
    relations = labelled(summary).rename(columns={"label": "variant"})[["variant", "classifier", "relation"]]
    told = controls.merge(relations, how="left", on=["variant", "classifier"])
    order = told["relation"].map({relation: n for n, relation in enumerate(RELATIONS)})
    return told.iloc[order.argsort(kind="stable")].reset_index(drop=True)
