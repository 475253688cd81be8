"""Every column of every table: dtype, unit, meaning and, for derived columns, the computation.

A new column is an entry here. Frames and CSV files take their columns and dtypes from these tables, as do
results/README.md (`python -m artattack.results.glossary`) and the report's glossary. The columns of distances come from
`artattack.distances`. Meanings are Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from artattack.distances import CHANGE_MEASURES, DISTANCES

if TYPE_CHECKING:
    from artattack.results.groups import Group
    from artattack.results.scores import Scores


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: name in frames and CSV files.
        dtype: pandas dtype: `string`, `Int64`, `float64` or `boolean`.
        unit: unit or range of numbers; format of text, if any.
        meaning: description, in Markdown.
        needed: whether every file of this table has the column; other columns may be missing in files of earlier
            versions.
        averaged: whether the summary has the mean of a column of the records.
        of: for the records, whether a value belongs to the perturbed `image`, and is equal for all classifiers, or to
            the `classifier`.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    needed: bool = False
    averaged: bool = False
    of: Literal["image", "classifier"] = "image"


@dataclass(frozen=True, kw_only=True)
class Outcome(Column):
    """A column of the records that is computed from a classifier's logits before and after an attack.

    Attributes:
        compute: function from the scores of a batch to its N values.
        where: function to (N,) bool, the images whose value is known; by default all. Other values are missing.
    """

    compute: Callable[[Scores], Any]
    where: Callable[[Scores], Any] | None = None
    of: Literal["image", "classifier"] = "classifier"


@dataclass(frozen=True, kw_only=True)
class Sum(Column):
    """A column of the summary that is computed from the records of its row; None or NaN is missing."""

    compute: Callable[[Group], Any]


@dataclass(frozen=True, kw_only=True)
class Rate(Column):
    """A column of the summary that is the ratio of two counts; missing if the second is 0.

    Attributes:
        part: column of the first count, the numerator.
        whole: column of the second count, the denominator.
    """

    part: str
    whole: str


def _distances() -> Iterator[Column]:
    for measure in (*DISTANCES.values(), *CHANGE_MEASURES):
        yield Column(measure.name, "float64", measure.unit, measure.meaning, averaged=True)


DISTANCE_NAMES = frozenset(column.name for column in _distances())  # columns computed from an image and its original

RECORDS: tuple[Column, ...] = (
    Column("image", "string", "", "id of the image, unique in its image set", needed=True),
    Column("image_sha256", "string", "", "SHA-256 of the image file, hexadecimal"),
    Column(
        "true_class",
        "Int64",
        "class",
        "label of the image: ImageNet index or, for classes of your own, index in the run's list; missing without a "
        "label",
    ),
    Column("true_name", "string", "", "name of the true class"),
    Column(
        "kind",
        "string",
        "",
        "`clean` (the untouched images), `control`, or a kind of attack: `style`, `baseline`",
        needed=True,
    ),
    Column("attack", "string", "", "name of the entry in the benchmark file, or `clean`", needed=True),
    Column("parameters", "string", "JSON", "parameters of the attack"),
    Column("backbone", "string", "", "style attacks: model whose features measure style"),
    Column(
        "style", "string", "", "style attacks, and controls that need a style: the style; `a+b` is a blend", needed=True
    ),
    Column(
        "style_class",
        "Int64",
        "class",
        "class of the style image, if it is an image of a labelled image set (`SET:ID`)",
    ),
    Column(
        "target_class",
        "Int64",
        "class",
        "target class of targeted attacks, and of style attacks with a `target`",
    ),
    Column(
        "source",
        "string",
        "",
        "model whose gradients or outputs the attack read; among the controls, only `random-backbone` has one",
        needed=True,
    ),
    Column(
        "source_weights",
        "string",
        "",
        "weights of the source: `imagenet`, `bundled`, `file`, `python`, `http` or `random` (never trained)",
    ),
    Column(
        "source_gradient",
        "string",
        "",
        "path of the attack's gradients through the defences of a model: `own` (the defences' gradients), "
        "`straight-through` (unchanged through a defence without a gradient: BPDA), `averaged` over draws (EOT) for a "
        "random defence; missing for attacks that read no gradient of a defended model",
    ),
    Column(
        "matched_to",
        "string",
        "",
        "controls: `ATTACK/STYLE/SOURCE` of the attack whose distance was copied, image by image",
        needed=True,
    ),
    Column(
        "budget_distance",
        "string",
        "",
        "distance of the budget; missing for attacks at their own distance",
        needed=True,
    ),
    Column("budget", "float64", "that distance's", "budget of the images", needed=True),
    Column(
        "eps_norm",
        "string",
        "",
        "distance of the ball that the attack stays in, from its own `eps` (`linf`, `l2` or `l1`), `budget` or "
        "`match`; missing without a ball",
    ),
    Column("eps", "float64", "that distance's", "radius of the ball"),
    Column("classifier", "string", "", "scored model", needed=True, of="classifier"),
    Column("classifier_weights", "string", "", "weights of the classifier, as in `source_weights`", of="classifier"),
    Column(
        "classifier_network",
        "string",
        "",
        "first 12 digits of the SHA-256 of the classifier's network: the same for a classifier and its defended selves",
        of="classifier",
    ),
    Column(
        "classifier_defences",
        "string",
        "",
        "defences in front of the classifier, in order; missing without any",
        of="classifier",
    ),
    Column(
        "classifier_draws",
        "Int64",
        "answers",
        "number of answers averaged, for a classifier with random answers (`random: true`, or a random defence), or "
        "that vote; missing for others",
        of="classifier",
    ),
    Column(
        "classifier_seen",
        "boolean",
        "",
        "whether the attack read this classifier (white box), as backbone, guide or source; missing for untouched "
        "images",
        of="classifier",
    ),
    Column(
        "classifier_relation",
        "string",
        "",
        "of this classifier to the attack: `seen` (read by it), `kin` (it or its teacher is of the family of a model "
        "that the attack read or of that model's teacher; they share a teacher; or it is the same network behind other "
        "defences or none) or `unrelated`; controls have read nothing. Missing for untouched images",
        of="classifier",
    ),
    Outcome(
        "classes",
        "Int64",
        "classes",
        "number of classes that the classifier chose among: its own or, with `images.label_space`, those of its own "
        "that the image set has. Its logits are restricted to these, the convention of ImageNet-A and -R",
        compute=lambda s: [len(s.classes)] * len(s.before),
    ),
    Outcome(
        "in_label_space",
        "boolean",
        "",
        "whether the true class is among those classes; missing without a label",
        compute=lambda s: s.known,
        where=lambda s: s.labelled,
    ),
    Outcome(
        "top1_class_before",
        "Int64",
        "class",
        "predicted class of the original",
        compute=lambda s: s.classes[s.top_before],
    ),
    Outcome("top1_name_before", "string", "", "name of that class", compute=lambda s: s.names(s.top_before)),
    Outcome(
        "top1_confidence_before",
        "float64",
        "[0, 1]",
        "confidence in that class",
        compute=lambda s: s.at(s.before, s.top_before),
    ),
    Outcome(
        "top1_class_after",
        "Int64",
        "class",
        "predicted class of the adversarial image",
        compute=lambda s: s.classes[s.top_after],
    ),
    Outcome("top1_name_after", "string", "", "name of that class", compute=lambda s: s.names(s.top_after)),
    Outcome(
        "top1_confidence_after",
        "float64",
        "[0, 1]",
        "confidence in that class",
        compute=lambda s: s.at(s.after, s.top_after),
    ),
    Outcome(
        "true_confidence_before",
        "float64",
        "[0, 1]",
        "confidence in the true class on the original; missing unless `in_label_space`",
        compute=lambda s: s.at(s.before, s.true),
        where=lambda s: s.known,
    ),
    Outcome(
        "true_confidence_after",
        "float64",
        "[0, 1]",
        "the same on the adversarial image",
        compute=lambda s: s.at(s.after, s.true),
        where=lambda s: s.known,
    ),
    Outcome(
        "correct_before",
        "boolean",
        "",
        "whether the classifier is right on the original; missing unless `in_label_space`",
        compute=lambda s: s.top_before == s.true,
        where=lambda s: s.known,
    ),
    Outcome(
        "flip",
        "boolean",
        "",
        "whether the predicted class changed",
        needed=True,
        compute=lambda s: s.top_before != s.top_after,
    ),
    Outcome(
        "flip_to_style_class",
        "boolean",
        "",
        "whether the predicted class changed to `style_class`; missing unless `style_class` is among the classifier's "
        "classes and is not the true class",
        compute=lambda s: (s.top_after == s.style) & (s.top_before != s.style),
        where=lambda s: s.style_known,
    ),
    Outcome(
        "style_class_confidence_after",
        "float64",
        "[0, 1]",
        "confidence in `style_class` on the adversarial image; missing in the same cases",
        compute=lambda s: s.at(s.after, s.style),
        where=lambda s: s.style_known,
    ),
    Outcome(
        "target_hit",
        "boolean",
        "",
        "whether the predicted class changed to `target_class`; missing unless `target_class` is among the "
        "classifier's classes and is not the true class",
        compute=lambda s: (s.top_after == s.target) & (s.top_before != s.target),
        where=lambda s: s.target_known,
    ),
    Outcome(
        "entry_class_before",
        "string",
        "",
        "entry-level class of the original, one of the 16 of Geirhos et al. (ICLR 2019): the one whose ImageNet "
        "classes have the highest mean confidence; missing for classifiers that lack one of the 16",
        compute=lambda s: s.entry_classes(s.before),
        where=lambda s: s.knows_entry_classes,
    ),
    Outcome(
        "entry_class_after",
        "string",
        "",
        "the same for the adversarial image",
        compute=lambda s: s.entry_classes(s.after),
        where=lambda s: s.knows_entry_classes,
    ),
    Column(
        "abstained_before",
        "boolean",
        "",
        "whether a smoothed classifier (`RandomizedSmoothing`) abstains on the original; its predicted class is then "
        "the one with most votes. Missing for other classifiers",
        of="classifier",
    ),
    Column("abstained_after", "boolean", "", "the same on the adversarial image", of="classifier"),
    Column(
        "flip_float",
        "boolean",
        "",
        "whether the attack's image changed the predicted class before it was rounded to 8 bits",
        of="classifier",
    ),
    Outcome(
        "success",
        "boolean",
        "",
        "whether the classifier is wrong after the attack; missing if it was wrong before (skipped), and unless "
        "`in_label_space`",
        compute=lambda s: s.top_after != s.true,
        where=lambda s: s.known & (s.top_before == s.true),
    ),
    Outcome(
        "top5_flip",
        "boolean",
        "",
        "whether c, the predicted class of the original, is not among the five most likely classes after",
        compute=lambda s: s.rank_after > 5,
    ),
    Outcome(
        "rank_after",
        "Int64",
        "rank",
        "rank of c after the attack; 1 is the most likely class",
        compute=lambda s: s.rank_after,
    ),
    Outcome(
        "confidence_shift",
        "float64",
        "[-1, 1]",
        "p_after(c) - p_before(c)",
        compute=lambda s: s.at(s.after, s.top_before) - s.at(s.before, s.top_before),
    ),
    Outcome(
        "true_confidence_shift",
        "float64",
        "[-1, 1]",
        "the same with c the true class; missing unless `in_label_space`",
        compute=lambda s: s.at(s.after, s.true) - s.at(s.before, s.true),
        where=lambda s: s.known,
    ),
    Outcome(
        "kl_divergence",
        "float64",
        "nats",
        "KL(before || after) of the confidences; 0 if they are equal",
        compute=lambda s: s.kl_divergence,
    ),
    Outcome(
        "top5_before",
        "string",
        "JSON",
        "up to five most likely classes of the original, best first: `[[class, name, confidence], ...]`",
        compute=lambda s: s.best_as_json(s.logits_before),
    ),
    Outcome(
        "top5_after",
        "string",
        "JSON",
        "the same for the adversarial image",
        compute=lambda s: s.best_as_json(s.logits_after),
    ),
    *_distances(),
    Column(
        "feature_distance",
        "float64",
        "ratio",
        "distance in features, relative to the original's norm, averaged over the content layers of the benchmark's "
        "`feature_model` (by default `efficientnet_lite0`)",
        averaged=True,
    ),
    Column(
        "style_distance_before",
        "float64",
        "ratio",
        "style attacks: squared distance of the original's style statistics from the style's in the backbone, divided "
        "by the style's squared norm; 0 is the style itself",
        averaged=True,
    ),
    Column("style_distance_after", "float64", "ratio", "the same for the adversarial image", averaged=True),
    Column(
        "style_judge",
        "string",
        "",
        "for images with a style, and controls that copy their distance: the judge of style, the first of the "
        "`style_judges` without a common ancestor with a model that the attack read; or `none`",
    ),
    Column(
        "style_nearest",
        "string",
        "",
        "the style whose Gram matrices in the judge's features are nearest; `none` if the image is no nearer to that "
        "style than the untouched image",
    ),
    Column("style_nearest_before", "string", "", "the style nearest to the untouched image, by the judge's features"),
    Column(
        "style_identified",
        "boolean",
        "",
        "whether `style_nearest` is the image's own style or, for a control, the style of the attack that it copies",
    ),
    Column("style_identified_before", "boolean", "", "whether `style_nearest_before` is that style"),
    Column("style_chance", "float64", "[0, 1]", "rate of correct guesses: 1 / number of styles in the bank"),
    Column(
        "style_seen_before",
        "float64",
        "ratio",
        "as `style_distance_before`, in the judge's features",
        averaged=True,
    ),
    Column("style_seen_after", "float64", "ratio", "the same for the adversarial image", averaged=True),
    Column(
        "style_judgements",
        "string",
        "JSON",
        "judgements of all judges without a common ancestor with a model that the attack read, in order, beginning "
        "with the judge of the columns above: `judge`, "
        "its `relation` to the attack (as `classifier_relation`), the image's own "
        "`style`, `nearest`, `nearest_before`, and the distances `before` and `after` from that style",
    ),
    Column(
        "queries",
        "Int64",
        "queries",
        "attacks without gradients: number of queries to the source for this image, including those for the original's "
        "label; missing for other attacks, and for images that were moved to a budget",
        averaged=True,
    ),
    Column("outside_eps", "boolean", "", "whether the 8-bit file is outside the ball of `eps`; missing without a ball"),
    Column("file", "string", "", "file of the adversarial image, relative to the run folder"),
    Column("seed", "Int64", "integer", "seed of the attack on this image"),
    Column("seconds", "float64", "s", "attack time: the cell's time divided by its images, without scoring"),
    Column(
        "from_cache",
        "boolean",
        "",
        "whether the image was taken from the cache of earlier runs; `seconds` is then their time. Missing for "
        "untouched images",
    ),
    Column(
        "error", "string", "", "reason why there is no result; results are then missing", needed=True, of="classifier"
    ),
)


def _as_in_records(name: str) -> Column:
    """Return the column of the summary with the common value of a row's records."""
    column = _record_column(name)
    return Sum(
        name, column.dtype, column.unit, "as in the records", needed=column.needed, compute=lambda g: g.first(name)
    )


def _count(name: str, meaning: str, compute: Callable[[Group], Any], *, needed: bool = False) -> Column:
    return Sum(name, "Int64", "images", meaning, needed=needed, compute=compute)


def _count_of_known(name: str, of: str, meaning: str, counted: Callable[[Group], Any]) -> Column:
    """Return the column of a count that is missing if every record lacks the column `of`."""
    return _count(
        name,
        f"{meaning}; missing if no record has the value",
        lambda g: counted(g).sum() if g.knows(of) else None,
    )


def _rate(name: str, part: str, whole: str, meaning: str = "") -> Iterator[Column]:
    """Yield a rate and the two ends of its interval."""
    says = f"`{part}` / `{whole}`" + (f": {meaning}" if meaning else "")
    yield Rate(name, "float64", "[0, 1]", says, part=part, whole=whole)
    yield from _interval(name, "[0, 1]")


def _interval(name: str, unit: str, meaning: str = "its interval") -> Iterator[Column]:
    for end in ("low", "high"):
        yield Column(f"{name}_{end}", "float64", unit, meaning)


def _mean(name: str, meaning: str = "") -> Column:
    says = meaning or f"mean of `{name}` over `n`"
    return Sum(f"mean_{name}", "float64", _record_column(name).unit, says, compute=lambda g: g.mean(name))


def _median(name: str, meaning: str = "") -> Column:
    says = meaning or f"median of `{name}` over `n`"
    return Sum(f"median_{name}", "float64", _record_column(name).unit, says, compute=lambda g: g.median(name))


# Columns of the records that identify an attack or control at its place, among those of one image.
VARIANT = ("kind", "attack", "style", "source", "matched_to", "budget_distance", "budget")


def _of_records(*names: str) -> Iterator[Column]:
    """Yield columns of the records for another table."""
    for name in names:
        column = _record_column(name)
        yield Column(name, column.dtype, column.unit, "as in the records")


def _record_column(name: str) -> Column:
    return next(column for column in RECORDS if column.name == name)


def _shift_bound(side: int) -> Column:
    """Return the lower (0) or the upper end (1) of the interval of the mean confidence shift."""
    name = f"mean_confidence_shift_{('low', 'high')[side]}"
    return Sum(name, "float64", "[-1, 1]", "its interval", compute=lambda g: g.mean_interval("confidence_shift")[side])


def _style_gain() -> Iterator[Column]:
    """Yield the gain in recognition over the untouched images, and its interval for paired rates."""
    meaning = "`style_identified_rate` minus the same rate of the untouched images: the gain in recognition"
    yield Sum("style_gain", "float64", "[-1, 1]", meaning, compute=lambda g: g.style_gain()[0])
    says = "its 95 % interval (Newcombe 1998, method 10, for paired rates)"
    yield Sum("style_gain_low", "float64", "[-1, 1]", says, compute=lambda g: g.style_gain()[1])
    yield Sum("style_gain_high", "float64", "[-1, 1]", says, compute=lambda g: g.style_gain()[2])


def _calibration_error(when: Literal["before", "after"]) -> Column:
    says = (
        "expected calibration error over `n_labelled` in ten bins (Naeini et al. 2015): difference of confidence and "
        "accuracy. Biased upwards for few images"
    )
    return Sum(f"ece_{when}", "float64", "[0, 1]", says, compute=lambda g: g.calibration_error(when))


SUMMARY: tuple[Column, ...] = (
    *map(
        _as_in_records,
        (
            "kind",
            "attack",
            "parameters",
            "backbone",
            "style",
            "source",
            "source_weights",
            "source_gradient",
            "matched_to",
            "budget_distance",
            "budget",
            "classifier",
            "classifier_weights",
            "classifier_defences",
            "classifier_seen",
            "classifier_relation",
            "classes",
        ),
    ),
    _count("n", "number of scored images", lambda g: g.scored.sum(), needed=True),
    _count("errors", "number of images with an error; they count nowhere else", lambda g: (~g.scored).sum()),
    _count(
        "n_standing",
        "number of images of `n` that stand at the budget, within 5 %; missing at an attack's own distance, and if the "
        "run has not measured the budget's distance",
        lambda g: None if g.standing is None else g.standing.sum(),
    ),
    Sum(
        "standing_share",
        "float64",
        "[0, 1]",
        "`n_standing` / `n`; below 0.8 most images stand elsewhere, and nothing is compared at the budget",
        compute=lambda g: None if g.standing is None or not g.scored.any() else g.standing.sum() / g.scored.sum(),
    ),
    _count(
        "n_labelled", "scored images whose true class the classifier has (`in_label_space`)", lambda g: g.labelled.sum()
    ),
    _count("n_correct", "images of `n_labelled` that are right before the attack", lambda g: g.correct_before.sum()),
    *_rate("clean_accuracy", "n_correct", "n_labelled", "accuracy on the originals"),
    _count("n_correct_after", "images of `n_labelled` that are right after it", lambda g: g.correct_after.sum()),
    *_rate(
        "robust_accuracy",
        "n_correct_after",
        "n_labelled",
        "accuracy under the attack; in the row `clean`, accuracy without an attack",
    ),
    _count("flips", "images of `n` whose predicted class changed", lambda g: g.yes("flip").sum()),
    *_rate("flip_rate", "flips", "n"),
    _count_of_known(
        "flips_float",
        "flip_float",
        "images of `n` whose predicted class changed before rounding to 8 bits",
        lambda g: g.yes("flip_float"),
    ),
    _count_of_known(
        "flips_to_style_class",
        "flip_to_style_class",
        "images of `n` whose predicted class changed to that of the style image",
        lambda g: g.yes("flip_to_style_class"),
    ),
    _count_of_known(
        "n_targeted",
        "target_hit",
        "images of `n` with a target class that the classifier has and that is not the true class",
        lambda g: g.has("target_hit"),
    ),
    _count_of_known(
        "target_hits",
        "target_hit",
        "images of `n_targeted` whose predicted class changed to the target class",
        lambda g: g.yes("target_hit"),
    ),
    *_rate("target_hit_rate", "target_hits", "n_targeted"),
    _count_of_known(
        "lost_to_rounding",
        "flip_float",
        "flips of `flips_float` that rounding undid",
        lambda g: g.yes("flip_float") & ~g.yes("flip"),
    ),
    _count_of_known(
        "outside_eps",
        "outside_eps",
        "images of `n` whose 8-bit file is outside the attack's ball",
        lambda g: g.yes("outside_eps"),
    ),
    _count_of_known(
        "abstentions",
        "abstained_after",
        "images of `n` on which a smoothed classifier abstains after the attack; they count as their predicted class",
        lambda g: g.yes("abstained_after"),
    ),
    _count("top5_flips", "images of `n` with a `top5_flip`", lambda g: g.yes("top5_flip").sum()),
    *_rate("top5_flip_rate", "top5_flips", "n"),
    _count(
        "successes",
        "images of `n_correct` that are wrong after the attack",
        lambda g: (g.correct_before & g.yes("success")).sum(),
    ),
    *_rate(
        "success_rate",
        "successes",
        "n_correct",
        "attack success rate; images that are wrong before are skipped",
    ),
    _count_of_known(
        "styles_judged",
        "style_identified",
        "images of `n` judged by an independent network",
        lambda g: g.has("style_identified"),
    ),
    _count_of_known(
        "styles_identified",
        "style_identified",
        "images of `styles_judged` recognised as their own style",
        lambda g: g.yes("style_identified"),
    ),
    *_rate("style_identified_rate", "styles_identified", "styles_judged", "compare with `styles_identified_before`"),
    _count_of_known(
        "styles_identified_before",
        "style_identified_before",
        "images of `styles_judged` whose untouched image is nearest to that style",
        lambda g: g.yes("style_identified_before"),
    ),
    *_style_gain(),
    Sum("style_chance", "float64", "[0, 1]", "as in the records", compute=lambda g: g.first("style_chance")),
    _mean("confidence_shift"),
    _shift_bound(0),
    _shift_bound(1),
    _median("confidence_shift", "its median"),
    _mean("true_confidence_shift", "mean of `true_confidence_shift` over `n_labelled`"),
    _median("true_confidence_shift", "its median"),
    _mean("kl_divergence"),
    _median("rank_after"),
    _median("queries"),
    _calibration_error("before"),
    _calibration_error("after"),
    *(_mean(column.name) for column in RECORDS if column.averaged),
    Sum("seconds_per_image", "float64", "s", "mean of `seconds` over `n`", compute=lambda g: g.mean("seconds")),
)

_PLACE = (  # the attack, its distance and the classifier
    Column("variant", "string", "", "name of the attack, with its budget"),
    Column("budget_distance", "string", "", "distance of the budget; missing at the attack's own distance"),
    Column("budget", "float64", "that distance's", "budget"),
    Column("classifier", "string", "", "scored model"),
)
_DIFFERENCE_INTERVAL = "its 95 % interval (Newcombe 1998, method 10, for paired rates)"

CONTROLS: tuple[Column, ...] = (
    *_PLACE,
    Column(
        "n",
        "Int64",
        "images",
        "images scored under both the attack and the deciding control, at the same distance within 5 %",
    ),
    Column(
        "flip_rate", "float64", "[0, 1]", "flip rate of the attack over `n`; differs from the summary if images failed"
    ),
    Column("controls", "Int64", "controls", "number of controls at the same distance"),
    Column(
        "control",
        "string",
        "",
        "deciding control: the one with the largest p value for the claim that the attack beats all controls or, if "
        "the claim that some control flips more is likelier, the one with the smallest. Missing without controls",
    ),
    Column("control_flip_rate", "float64", "[0, 1]", "flip rate of the deciding control over the same `n`"),
    Column("difference", "float64", "[-1, 1]", "`flip_rate` - `control_flip_rate`"),
    *_interval("difference", "[-1, 1]", _DIFFERENCE_INTERVAL),
    Column("only_variant", "Int64", "images", "flipped by the attack and not by the control"),
    Column("only_control", "Int64", "images", "flipped by the control and not by the attack"),
    Column(
        "p",
        "float64",
        "[0, 1]",
        "p value of the likelier claim, doubled because both are tested; for a single control, the two-sided exact "
        "McNemar test",
    ),
    Column(
        "p_holm",
        "float64",
        "[0, 1]",
        "p value adjusted for the number of rows of this table with a control, claim by claim (Holm)",
    ),
    Column(
        "verdict",
        "string",
        "",
        "`beats` (every control) or `worse` (than some control) if `p_holm` < 0.05, `no better` if neither is shown, "
        "`no control` without a control at the same distance",
    ),
    Column(
        "left_out",
        "string",
        "",
        "reason why controls do not count: scored, or at the attack's distance within 5 %, on fewer than 80 % of its "
        "images; or the attack itself stands short of the budget",
    ),
)

POOLED: tuple[Column, ...] = (
    *_of_records("kind", "attack", "source", "budget_distance", "budget"),
    Column(
        "relation", "string", "", "relation of the classifiers to the attack (`classifier_relation` in the records)"
    ),
    Column("styles", "Int64", "styles", "number of pooled styles"),
    Column("classifiers", "Int64", "classifiers", "number of pooled classifiers: all with this relation to the attack"),
    Column("photos", "Int64", "photos", "number of scored photos"),
    Column("n", "Int64", "rows", "number of scored rows: photo x style x classifier"),
    Column("flips", "Int64", "rows", "rows of `n` whose predicted class changed"),
    Column("flip_rate", "float64", "[0, 1]", "`flips` / `n`"),
    *_interval("flip_rate", "[0, 1]", "its 95 % interval, by resampling photos"),
    Column(
        "design_effect",
        "float64",
        "ratio",
        "variance of the rate, divided by its variance for `n` rows of `n` photos: with 3, the rows are worth a third "
        "of their number; missing if all rows are equal",
    ),
    Column("mean_l2", "float64", "image units", "mean of `l2` over `n`"),
    Column("controls", "Int64", "controls", "number of controls at the attack's distance on at least 80 % of `n`"),
    Column("control", "string", "", "deciding control, as in controls.csv"),
    Column("n_compared", "Int64", "rows", "rows scored under both attack and deciding control, at the same distance"),
    Column("control_flip_rate", "float64", "[0, 1]", "flip rate of the deciding control over `n_compared`"),
    Column("difference", "float64", "[-1, 1]", "flip rate of the attack minus that of the control, over `n_compared`"),
    *_interval("difference", "[-1, 1]", "its 95 % interval, by resampling photos"),
    Column("difference_design_effect", "float64", "ratio", "design effect of the difference, as `design_effect`"),
    Column(
        "p",
        "float64",
        "[0, 1]",
        "p value of the likelier claim, doubled, as in controls.csv; from exact sign-flip tests, which flip the sign "
        "of all rows of a photo together",
    ),
    Column(
        "p_holm", "float64", "[0, 1]", "p value adjusted for the number of rows of this table, claim by claim (Holm)"
    ),
    Column("verdict", "string", "", "`beats`, `worse`, `no better` or `no control`, as in controls.csv"),
)

JUDGES: tuple[Column, ...] = (
    *_of_records(*VARIANT),
    Column("judge", "string", "", "the network that recognises styles"),
    Column("relation", "string", "", "relation of the judge to the attack, as `classifier_relation` in the records"),
    Column("n", "Int64", "images", "number of judged images"),
    Column("none", "Int64", "images", "images of `n` nearest to no style"),
    Column("identified", "Int64", "images", "images of `n` recognised as their own style"),
    Column("identified_rate", "float64", "[0, 1]", "`identified` / `n`"),
    *_interval("identified_rate", "[0, 1]", "its 95 % interval (Wilson)"),
    Column("identified_before", "Int64", "images", "images of `n` whose untouched image is nearest to that style"),
    Column("gain", "float64", "[-1, 1]", "(`identified` - `identified_before`) / `n`"),
    *_interval("gain", "[-1, 1]", _DIFFERENCE_INTERVAL),
    Column("mean_before", "float64", "ratio", "mean distance of the untouched images from their own style"),
    Column("mean_after", "float64", "ratio", "the same for the adversarial images"),
)

DEFENCES: tuple[Column, ...] = (
    Column("classifier", "string", "", "defended classifier"),
    Column("defences", "string", "", "its defences, in order"),
    Column("undefended", "string", "", "scored classifier with the same network and no defences"),
    Column("kind", "string", "", "as in the records"),
    Column("variant", "string", "", "attack on the images that the defended classifier saw; `clean` for the originals"),
    Column(
        "variant_undefended",
        "string",
        "",
        "attack on the images that the undefended one saw: the same one or, where each was read by the same attack, "
        "the one that read it",
    ),
    Column("budget_distance", "string", "", "distance of the budget; missing at the attack's own distance"),
    Column("budget", "float64", "that distance's", "budget"),
    Column("relation", "string", "", "of the defended classifier to its attack, as `classifier_relation`"),
    Column("relation_undefended", "string", "", "of the undefended one to its attack"),
    Column("source_gradient", "string", "", "as in the records, of `variant`"),
    Column(
        "rate",
        "string",
        "",
        "`clean_accuracy` (of the originals), `flip_rate`, or `robust_accuracy` (accuracy under the attack)",
    ),
    Column("n", "Int64", "images", "images with both outcomes known"),
    Column("rate_undefended", "float64", "[0, 1]", "rate of the undefended classifier over `n`"),
    Column("rate_defended", "float64", "[0, 1]", "rate of the defended one"),
    Column(
        "difference",
        "float64",
        "[-1, 1]",
        "`rate_defended` - `rate_undefended`: below 0, accuracy given up or flips saved",
    ),
    *_interval("difference", "[-1, 1]", _DIFFERENCE_INTERVAL),
    Column("only_undefended", "Int64", "images", "that count for the undefended classifier only"),
    Column("only_defended", "Int64", "images", "that count for the defended one only"),
    Column("abstentions", "Int64", "images", "of `n`, those on which a smoothed classifier abstains after the attack"),
    Column("p", "float64", "[0, 1]", "p value of equal rates: exact McNemar test, two-sided"),
    Column("p_holm", "float64", "[0, 1]", "p value adjusted for the number of tests in the table (Holm)"),
)

PAIRS: tuple[Column, ...] = (
    Column("classifier", "string", "", "scored model"),
    Column("a", "string", "", "name of the first attack, with its budget"),
    Column("b", "string", "", "name of the second attack, with its budget"),
    Column("n", "Int64", "images", "images scored under both"),
    Column("rate_a", "float64", "[0, 1]", "flip rate of `a` over `n`"),
    Column("rate_b", "float64", "[0, 1]", "flip rate of `b` over `n`"),
    Column("difference", "float64", "[-1, 1]", "`rate_a` - `rate_b`"),
    *_interval("difference", "[-1, 1]", _DIFFERENCE_INTERVAL),
    Column("only_a", "Int64", "images", "flipped by `a` and not by `b`"),
    Column("only_b", "Int64", "images", "flipped by `b` and not by `a`"),
    Column("p", "float64", "[0, 1]", "p value of equal flip rates: exact McNemar test, two-sided"),
    Column("p_holm", "float64", "[0, 1]", "p value adjusted for the number of tests in the table (Holm)"),
)


def _area(name: str, unit: str, meaning: str) -> Iterator[Column]:
    yield Column(name, "float64", unit, meaning)
    yield from _interval(name, unit, "its 95 % bootstrap interval over images")


AREAS: tuple[Column, ...] = (
    Column("kind", "string", "", "as in the records"),
    Column("attack", "string", "", "as in the records"),
    Column("style", "string", "", "as in the records"),
    Column("source", "string", "", "as in the records"),
    Column("budget_distance", "string", "", "distance of the curve's budgets"),
    Column("classifier", "string", "", "scored model"),
    Column("n", "Int64", "images", "images scored at every budget of the curve"),
    Column(
        "largest_budget",
        "float64",
        "that distance's",
        "end of the curve: largest budget at which at least 80 % of the images stand, if any. Areas "
        "up to different budgets are not comparable",
    ),
    *_area(
        "flip_area",
        "[0, 1]",
        "area under the flip rate divided by the width: mean flip rate over all distances up to the largest budget",
    ),
    *_area("success_area", "[0, 1]", "the same for the success rate, over images that are right before"),
    *_area("confidence_shift_area", "[-1, 1]", "the same for the mean confidence shift"),
    Column(
        "half_flip_budget",
        "float64",
        "that distance's",
        "distance at which the flip rate first reaches one half; missing if it never does",
    ),
)

ANSWERS: tuple[Column, ...] = (
    Column("participant", "string", "", "code of the person", needed=True),
    Column("trial", "Int64", "place", "place of the picture among those that the person saw, from 1", needed=True),
    Column(
        "role",
        "string",
        "",
        "`trial`, `practice`, or `attention` (an easy untouched photo); only `trial` counts in rates",
        needed=True,
    ),
    Column("picture", "string", "", "id of the picture in the survey", needed=True),
    *_of_records("image", *VARIANT, "true_class", "true_name"),
    Column("classes", "string", "", "classes asked for: `run` (the run's) or `entry` (the 16 of Geirhos et al.)"),
    Column("answer_class", "Int64", "class", "class answered; missing for *cannot tell* and for `entry`"),
    Column("answer", "string", "", "name of the class answered, or `cannot tell`"),
    Column("right", "boolean", "", "whether the answer is the true class; *cannot tell* is wrong"),
    Column("style_said", "string", "", "style answered, `none` or `cannot tell`; missing if not asked"),
    Column("style_named", "boolean", "", "whether that is the picture's style; missing without a style or question"),
    Column("altered_said", "string", "", "whether the picture was altered: `yes`, `no`, `cannot tell`"),
    Column("seconds", "float64", "s", "time from the grid of classes to the answer"),
    Column("shown_seconds", "float64", "s", "time the picture was shown, as the browser measured it"),
    Column("showings", "Int64", "times", "times the picture was shown: 2 and more if the page was closed meanwhile"),
    Column("survey", "string", "", "id of the survey page"),
    Column("file", "string", "", "file of the answers"),
)

_OVER_BOTH = "its 95 % interval, which resamples people and photos; of a classifier, photos (Wilson)"

PEOPLE: tuple[Column, ...] = (
    *_of_records(*VARIANT),
    Column("who", "string", "", "`people`, or a classifier on the photos that people were asked about", needed=True),
    Column("relation", "string", "", "of the classifier to the attack, as `classifier_relation` in the records"),
    Column("people", "Int64", "people", "who answered"),
    Column("photos", "Int64", "photos", "that were asked about"),
    Column("n", "Int64", "answers", "of people; of a classifier, photos whose class it knows"),
    Column("right", "Int64", "answers", "of `n`, those that are the true class"),
    Column("right_rate", "float64", "[0, 1]", "`right` / `n`"),
    *_interval("right_rate", "[0, 1]", _OVER_BOTH),
    Column("n_before", "Int64", "answers", "to the same photos, untouched"),
    Column("right_before", "Int64", "answers", "of `n_before`, those that are the true class"),
    Column("right_before_rate", "float64", "[0, 1]", "`right_before` / `n_before`"),
    *_interval("right_before_rate", "[0, 1]", _OVER_BOTH),
    Column("n_flips", "Int64", "answers", "to photos whose untouched version someone (else) was asked about"),
    Column(
        "flips",
        "Int64",
        "answers",
        "of a classifier, as `flip` in the records; of people, answers other than the most frequent one that (other) "
        "people give to the untouched photo, so that the row of untouched photos shows how far people disagree anyway",
    ),
    Column("flip_rate", "float64", "[0, 1]", "`flips` / `n_flips`"),
    *_interval("flip_rate", "[0, 1]", _OVER_BOTH),
    Column("cannot_tell", "Int64", "answers", "of `n`, those that are *cannot tell*"),
    Column("cannot_tell_rate", "float64", "[0, 1]", "`cannot_tell` / `n`"),
    *_interval("cannot_tell_rate", "[0, 1]", _OVER_BOTH),
    Column("styles_asked", "Int64", "answers", "to the question for the style, of pictures that have one"),
    Column("styles_named", "Int64", "answers", "of these, those that name it"),
    Column("style_rate", "float64", "[0, 1]", "`styles_named` / `styles_asked`"),
    *_interval("style_rate", "[0, 1]", _OVER_BOTH),
    Column("altered_asked", "Int64", "answers", "to the question whether the picture was altered"),
    Column("altered", "Int64", "answers", "of these, those that say yes"),
    Column("altered_rate", "float64", "[0, 1]", "`altered` / `altered_asked`"),
    *_interval("altered_rate", "[0, 1]", _OVER_BOTH),
    Column(
        "kappa",
        "float64",
        "at most 1",
        "error consistency of the classifier with people: Cohen's kappa of right and wrong, over answers (Geirhos et "
        "al., NeurIPS 2020); missing if both are always right, or always wrong",
    ),
    *_interval("kappa", "at most 1", "its 95 % interval, which resamples people and photos"),
    Column("fooled", "Int64", "photos", "that the classifier names right before and wrong after"),
    Column("not_shared", "Int64", "photos", "of `fooled`, those that more than half of the people asked name right"),
    Column("not_shared_rate", "float64", "[0, 1]", "`not_shared` / `fooled`"),
    *_interval("not_shared_rate", "[0, 1]", "its 95 % interval, which resamples people and photos"),
)

CHECKS: tuple[Column, ...] = (
    Column("check", "string", "", "name of the check", needed=True),
    Column("classifier", "string", "", "checked model"),
    Column("attack", "string", "", "attack of the check, if any"),
    Column("status", "string", "", "`pass`, `fail` or `not run` (does not apply, or raised an error)"),
    Column("figures", "string", "", "measured numbers, or the error"),
    Column("meaning", "string", "", "interpretation, or what to do"),
)

SIDES: tuple[Column, ...] = (
    Column("reference", "string", "", "folder of the reference run"),
    Column("run", "string", "", "folder of the other run"),
    Column("kind", "string", "", "as in the records"),
    *_PLACE,
    Column("rate", "string", "", "`clean_accuracy` (of the untouched images), `flip_rate` or `success_rate`"),
    Column(
        "paired",
        "boolean",
        "",
        "whether rates are compared image by image, because at least half of the smaller run's images are in the other "
        "(same `image_sha256`); otherwise as independent samples",
    ),
    Column(
        "n_reference",
        "Int64",
        "images",
        "images of the reference's rate; if paired, images with a value in both runs (for success: right before the "
        "attack in both)",
    ),
    Column("n_run", "Int64", "images", "images of the run's rate, in the same way"),
    Column("rate_reference", "float64", "[0, 1]", "rate over `n_reference`"),
    Column("rate_run", "float64", "[0, 1]", "rate over `n_run`"),
    Column("difference", "float64", "[-1, 1]", "`rate_run` - `rate_reference`"),
    *_interval("difference", "[-1, 1]", "its 95 % interval: Newcombe 1998, for paired rates or for independent ones"),
    Column("only_reference", "Int64", "images", "images that count in the reference only; missing unless paired"),
    Column("only_run", "Int64", "images", "images that count in the run only; missing unless paired"),
    Column("p", "float64", "[0, 1]", "p value: exact McNemar test or, unless paired, Fisher's exact test, two-sided"),
    Column("p_holm", "float64", "[0, 1]", "p value adjusted for the number of tests in the table (Holm)"),
    Column(
        "change",
        "string",
        "",
        "`higher` or `lower` if `p_holm` < 0.05, else `no change shown`; `identical` if equal on every image, "
        "`not tested` without images",
    ),
    Column(
        "setup_differs",
        "string",
        "",
        "differences in the attack's parameters, its source and the classifier",
    ),
)

EFFICIENCY: tuple[Column, ...] = (
    Column(
        "model",
        "string",
        "",
        "name of the network in the registry, a painter's file, or a release with published figures only",
    ),
    Column(
        "weights",
        "string",
        "",
        "measured weights, as in `source_weights`; `random` if none are on the machine, which take the same time and "
        "space; `painter` for a painter; missing if nothing was measured",
    ),
    Column("input_size", "Int64", "px", "side of the network's input"),
    Column(
        "parameters",
        "Int64",
        "numbers",
        "number of parameters, counted by larq: two per channel of a batch normalization",
    ),
    Column("binary_share", "float64", "[0, 1]", "share of one-bit parameters"),
    Column("float32_mib", "float64", "MiB", "size of the parameters as float32"),
    Column("packed_mib", "float64", "MiB", "size with one bit for each binary parameter"),
    Column("tflite_mib", "float64", "MiB", "size of the TensorFlow Lite file, float32"),
    Column("lce_mib", "float64", "MiB", "size of the Larq Compute Engine file, with packed binary weights"),
    Column("macs", "Int64", "operations", "multiply-accumulates for one image, counted by larq"),
    Column("binary_macs_share", "float64", "[0, 1]", "share of operations between one-bit values"),
    Column("published_top1", "float64", "[0, 1]", "published top-1 accuracy on ImageNet's validation set"),
    Column("published_top5", "float64", "[0, 1]", "published top-5 accuracy on ImageNet's validation set"),
    Column("published_parameters", "Int64", "numbers", "published number of parameters"),
    Column("published_mib", "float64", "MiB", "published size of the weights, binary ones packed"),
    Column("published_source", "string", "", "source of the published figures"),
    Column("images", "string", "", "image set of the measured accuracy; missing for random weights"),
    Column("n_labelled", "Int64", "images", "images whose class the network has"),
    Column("n_correct", "Int64", "images", "images of `n_labelled` that are classified correctly"),
    Column("top1", "float64", "[0, 1]", "`n_correct` / `n_labelled`"),
    *_interval("top1", "[0, 1]", "its 95 % interval (Wilson)"),
    *(
        column
        for runtime, where in (
            ("keras", "Keras, eager"),
            ("compiled", "Keras, as one `tf.function`"),
            ("tflite", "TensorFlow Lite, from the exported file"),
            ("lce", "Larq Compute Engine, from its file; its fast kernels are for ARM v8"),
        )
        for column in (
            Column(f"{runtime}_ms_one", "float64", "ms", f"median time for one image in {where}, one thread"),
            Column(
                f"{runtime}_cpu_ms_one",
                "float64",
                "ms",
                "processor time of the same, which other work on the machine does not change",
            ),
            Column(f"{runtime}_ms_all", "float64", "ms", "wall-clock time with all cores"),
            Column(
                f"{runtime}_run_mib",
                "float64",
                "MiB",
                "memory that loading the network and running it on one thread added to a process",
            ),
        )
    ),
    Column("machine", "string", "", "processors and system of the measurement"),
    Column("measured", "string", "", "day of the measurement"),
    Column("versions", "string", "", "versions of the packages used"),
    Column("failed", "string", "", "exports and timings that failed, with the reasons"),
)

# TextAttack's own nine columns, then those that identify a record.
TEXTATTACK: tuple[Column, ...] = (
    Column("original_text", "string", "", "file of the original, relative to the run folder"),
    Column("perturbed_text", "string", "", "file of the adversarial image, relative to the run folder"),
    Column("original_score", "float64", "[0, 1]", "1 minus the confidence in the true class on the original"),
    Column("perturbed_score", "float64", "[0, 1]", "the same on the adversarial image"),
    Column("original_output", "Int64", "class", "predicted class of the original"),
    Column("perturbed_output", "Int64", "class", "predicted class of the adversarial image"),
    Column("ground_truth_output", "Int64", "class", "label of the image; missing without a label"),
    Column("num_queries", "Int64", "queries", "as `queries` in the records"),
    Column(
        "result_type",
        "string",
        "",
        "`Successful` or `Failed`, from `success` in the records; `Skipped` if `success` is missing: wrong before, "
        "unlabelled, not among the classifier's classes, or failed (see `error`)",
    ),
    Column("image", "string", "", "as in the records"),
    Column("attack", "string", "", "name of the attack, with its budget"),
    Column("classifier", "string", "", "as in the records"),
    Column("error", "string", "", "as in the records"),
)

# Tables by their name in the glossary; those of a run folder by their file name.
TABLES: dict[str, tuple[Column, ...]] = {
    "records.csv": RECORDS,
    "summary.csv": SUMMARY,
    "controls.csv": CONTROLS,
    "pooled.csv": POOLED,
    "pairs.csv": PAIRS,
    "defences.csv": DEFENCES,
    "judges.csv": JUDGES,
    "areas.csv": AREAS,
    "checks.csv": CHECKS,
    "answers.csv": ANSWERS,
    "people.csv": PEOPLE,
    "artattack compare": SIDES,
    "artattack models --measure": EFFICIENCY,
    "artattack export --format textattack": TEXTATTACK,
}


def dtypes(columns: Iterable[Column]) -> dict[str, str]:
    """Return the pandas dtype of each column, by its name."""
    return {column.name: column.dtype for column in columns}


RECORD_COLUMNS = dtypes(RECORDS)
CLASSIFIER_COLUMNS = frozenset(column.name for column in RECORDS if column.of == "classifier")
OUTCOME_COLUMNS = frozenset(column.name for column in RECORDS if isinstance(column, Outcome))
# Columns computed from an image, its original and a classifier, which can be measured at any later time.
MEASURED_COLUMNS = OUTCOME_COLUMNS | {column.name for column in _distances()} | {"feature_distance"}
SUMMARY_COLUMNS = dtypes(SUMMARY)
CONTROL_COLUMNS = dtypes(CONTROLS)
PAIR_COLUMNS = dtypes(PAIRS)
DEFENCE_COLUMNS = dtypes(DEFENCES)
JUDGE_COLUMNS = dtypes(JUDGES)
POOLED_COLUMNS = dtypes(POOLED)
AREA_COLUMNS = dtypes(AREAS)
CHECK_COLUMNS = dtypes(CHECKS)
SIDE_COLUMNS = dtypes(SIDES)
TEXTATTACK_COLUMNS = dtypes(TEXTATTACK)
