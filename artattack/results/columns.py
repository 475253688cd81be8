"""Every column of every table: its dtype, its unit, what it means and, where it follows from others, how.

A new column is an entry here. Frames and CSV files take their columns and dtypes from these tables, and so do
results/README.md (`python -m artattack.results.glossary`) and the report's list of columns. The columns that distances
make come from `artattack.distances`. Meanings are Markdown.
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
        name: as frames and CSV files have it.
        dtype: of pandas: `string`, `Int64`, `float64` or `boolean`.
        unit: of its numbers, or what they range over; of text, its format if it has one.
        meaning: what it says.
        needed: whether a file without it is not this table, rather than one written before the column existed.
        averaged: in the records, whether the summary has its mean.
        of: in the records, what its value belongs to: the perturbed `image`, so that the records of all classifiers
            have the same, or the `classifier` that looks at it.
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
    """A column of the records that follows from a classifier's logits before and after an attack.

    Attributes:
        compute: its values, one for each of the N images of a batch.
        where: of which images it is known, (N,) bool; by default of all. Elsewhere it is missing.
    """

    compute: Callable[[Scores], Any]
    where: Callable[[Scores], Any] | None = None
    of: Literal["image", "classifier"] = "classifier"


@dataclass(frozen=True, kw_only=True)
class Sum(Column):
    """A column of the summary that follows from the records which its row sums up; None or NaN is missing."""

    compute: Callable[[Group], Any]


@dataclass(frozen=True, kw_only=True)
class Rate(Column):
    """A column of the summary that is one count over another; missing where that is 0.

    Attributes:
        part, whole: the columns of the two counts.
    """

    part: str
    whole: str


def _distances() -> Iterator[Column]:
    for measure in (*DISTANCES.values(), *CHANGE_MEASURES):
        yield Column(measure.name, "float64", measure.unit, measure.meaning, averaged=True)


DISTANCE_NAMES = frozenset(column.name for column in _distances())  # what an image and its original alone tell

RECORDS: tuple[Column, ...] = (
    Column("image", "string", "", "the image's id, unique in its image set", needed=True),
    Column("image_sha256", "string", "", "SHA-256 of the image file, hexadecimal"),
    Column(
        "true_class",
        "Int64",
        "class",
        "the image's label: ImageNet's index or, of one's own classes, the place in the run's list; missing where it "
        "has none",
    ),
    Column("true_name", "string", "", "the name of that class"),
    Column(
        "kind",
        "string",
        "",
        "`clean` (the untouched images), `control`, or a kind of attack: `style`, `baseline`",
        needed=True,
    ),
    Column("attack", "string", "", "the entry's name in the benchmark file; `clean`", needed=True),
    Column("parameters", "string", "JSON", "the attack's parameters"),
    Column("backbone", "string", "", "style attacks: the model whose features say what style is"),
    Column(
        "style", "string", "", "style attacks, and controls made with one: the style; `a+b` is a blend", needed=True
    ),
    Column(
        "style_class",
        "Int64",
        "class",
        "what the style image shows, where it is an image of a labelled image set (`SET:ID`)",
    ),
    Column(
        "target_class",
        "Int64",
        "class",
        "targeted attacks, and style attacks with a `target`: the class that the image was led to",
    ),
    Column(
        "source",
        "string",
        "",
        "the model whose gradients or outputs the attack read; of the controls, only `random-backbone` has one",
        needed=True,
    ),
    Column(
        "source_weights",
        "string",
        "",
        "that model's weights: `imagenet`, `bundled`, `file`, `python`, `http` or `random` (never trained)",
    ),
    Column(
        "matched_to",
        "string",
        "",
        "controls: `ATTACK/STYLE/SOURCE` of the perturbation whose distance was copied, image by image",
        needed=True,
    ),
    Column(
        "budget_distance",
        "string",
        "",
        "the distance that images were brought to a budget of; missing for attacks at their own",
        needed=True,
    ),
    Column("budget", "float64", "that distance's", "how far, at most", needed=True),
    Column(
        "eps_norm",
        "string",
        "",
        "the distance that the attack was held to: by its own `eps` (`linf`, `l2` or `l1`), `budget` or `match`; "
        "missing where there is none",
    ),
    Column("eps", "float64", "that distance's", "how far, at most"),
    Column("classifier", "string", "", "the model scored", needed=True, of="classifier"),
    Column("classifier_weights", "string", "", "its weights, as in `source_weights`", of="classifier"),
    Column(
        "classifier_draws",
        "Int64",
        "answers",
        "that are averaged for one, of a classifier whose answers change from time to time (`random: true`); missing "
        "for others",
        of="classifier",
    ),
    Column(
        "classifier_seen",
        "boolean",
        "",
        "did the attack read this classifier, as backbone, guide or source; missing for untouched images",
        of="classifier",
    ),
    Column(
        "classifier_relation",
        "string",
        "",
        "of this classifier to the attack: `seen` (read by it), `kin` (of the family of a model that it read or of "
        "its teacher, or with a teacher in common) or `unrelated`; controls have read nothing. Missing for "
        "untouched images",
        of="classifier",
    ),
    Outcome(
        "classes",
        "Int64",
        "classes",
        "that the classifier chose among: its own or, where the image set has fewer (`images.label_space`), those of "
        "its own that are in the set. Its logits are restricted to these, the convention of ImageNet-A and -R",
        compute=lambda s: [len(s.classes)] * len(s.before),
    ),
    Outcome(
        "in_label_space",
        "boolean",
        "",
        "is the true class among those classes; missing without a label",
        compute=lambda s: s.known,
        where=lambda s: s.labelled,
    ),
    Outcome(
        "top1_class_before",
        "Int64",
        "class",
        "the most likely class of the original",
        compute=lambda s: s.classes[s.top_before],
    ),
    Outcome("top1_name_before", "string", "", "the name of that class", compute=lambda s: s.names(s.top_before)),
    Outcome(
        "top1_confidence_before",
        "float64",
        "[0, 1]",
        "the confidence in that class",
        compute=lambda s: s.at(s.before, s.top_before),
    ),
    Outcome(
        "top1_class_after",
        "Int64",
        "class",
        "the most likely class of the adversarial image",
        compute=lambda s: s.classes[s.top_after],
    ),
    Outcome("top1_name_after", "string", "", "the name of that class", compute=lambda s: s.names(s.top_after)),
    Outcome(
        "top1_confidence_after",
        "float64",
        "[0, 1]",
        "the confidence in that class",
        compute=lambda s: s.at(s.after, s.top_after),
    ),
    Outcome(
        "true_confidence_before",
        "float64",
        "[0, 1]",
        "confidence of the true class on the original; missing unless `in_label_space`",
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
        "was the original classified as its true class; missing unless `in_label_space`",
        compute=lambda s: s.top_before == s.true,
        where=lambda s: s.known,
    ),
    Outcome(
        "flip",
        "boolean",
        "",
        "does the most likely class after differ from that before",
        needed=True,
        compute=lambda s: s.top_before != s.top_after,
    ),
    Outcome(
        "flip_to_style_class",
        "boolean",
        "",
        "is the most likely class after `style_class`, and was another before; missing unless that is among the "
        "classifier's classes and not the true class",
        compute=lambda s: (s.top_after == s.style) & (s.top_before != s.style),
        where=lambda s: s.style_known,
    ),
    Outcome(
        "style_class_confidence_after",
        "float64",
        "[0, 1]",
        "confidence in `style_class` on the adversarial image; missing likewise",
        compute=lambda s: s.at(s.after, s.style),
        where=lambda s: s.style_known,
    ),
    Outcome(
        "target_hit",
        "boolean",
        "",
        "is the most likely class after `target_class`, and was another before; missing unless that is among the "
        "classifier's classes and not the true class",
        compute=lambda s: (s.top_after == s.target) & (s.top_before != s.target),
        where=lambda s: s.target_known,
    ),
    Outcome(
        "entry_class_before",
        "string",
        "",
        "which of the 16 entry-level classes of Geirhos et al. (ICLR 2019) the original is: that whose ImageNet "
        "classes have the highest mean confidence; missing for classifiers that lack one of the 16",
        compute=lambda s: s.entry_classes(s.before),
        where=lambda s: s.knows_entry_classes,
    ),
    Outcome(
        "entry_class_after",
        "string",
        "",
        "the same of the adversarial image",
        compute=lambda s: s.entry_classes(s.after),
        where=lambda s: s.knows_entry_classes,
    ),
    Column(
        "flip_float",
        "boolean",
        "",
        "does the image as the attack made it, before it was rounded to 8 bits, change the most likely class",
        of="classifier",
    ),
    Outcome(
        "success",
        "boolean",
        "",
        "correct before, is it wrong after; missing where it was not correct before (skipped) or not `in_label_space`",
        compute=lambda s: s.top_after != s.true,
        where=lambda s: s.known & (s.top_before == s.true),
    ),
    Outcome(
        "top5_flip",
        "boolean",
        "",
        "is c, the most likely class before, not among the five most likely after",
        compute=lambda s: s.rank_after > 5,
    ),
    Outcome(
        "rank_after",
        "Int64",
        "rank",
        "of c among the classes after, from 1 for the most likely",
        compute=lambda s: s.rank_after,
    ),
    Outcome(
        "confidence_shift",
        "float64",
        "[-1, 1]",
        "p_after(c) - p_before(c), c the most likely class before",
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
        "of the confidences after from those before, KL(before || after); 0 where they are the same",
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
        "how far features moved over their own length, mean over the content layers of the benchmark's `feature_model` "
        "(by default `efficientnet_lite0`)",
        averaged=True,
    ),
    Column(
        "style_distance_before",
        "float64",
        "ratio",
        "style attacks: squared distance of the original's style statistics from the style's in the backbone, over the "
        "style's own; 0 is the style itself",
        averaged=True,
    ),
    Column("style_distance_after", "float64", "ratio", "the same of the adversarial image", averaged=True),
    Column(
        "style_judge",
        "string",
        "",
        "of images with a style, and of controls that copy their distance: the network that says which style an image "
        "has, the first of the `style_judges` that shares no ancestor with a model that the attack read; "
        "or `none`",
    ),
    Column(
        "style_nearest",
        "string",
        "",
        "the style whose Gram matrices are nearest, as the judge sees it; `none` where the image is no nearer to that "
        "style than the untouched one, so that it would only be the least unlike",
    ),
    Column("style_nearest_before", "string", "", "the style nearest to the untouched image, as the judge sees it"),
    Column(
        "style_identified",
        "boolean",
        "",
        "is `style_nearest` the image's own style; a control's is that of the attack it copies",
    ),
    Column("style_identified_before", "boolean", "", "is `style_nearest_before` that style: without any paint"),
    Column("style_chance", "float64", "[0, 1]", "1 over the styles in the bank: how often guessing is right"),
    Column(
        "style_seen_before",
        "float64",
        "ratio",
        "as `style_distance_before`, as the judge sees it",
        averaged=True,
    ),
    Column("style_seen_after", "float64", "ratio", "the same of the adversarial image", averaged=True),
    Column(
        "style_judgements",
        "string",
        "JSON",
        "what every judge says that shares no ancestor with a model that the attack read, in order, the first as in "
        "the columns above: `judge`, its `relation` to the attack (as `classifier_relation`), the image's own `style`, "
        "`nearest`, `nearest_before`, and the distances `before` and `after` from the own style",
    ),
    Column(
        "queries",
        "Int64",
        "queries",
        "of ART's attacks that read answers alone, logits or decisions: how many images the source was asked about to "
        "make this one, questions about the original for its label among them; missing for other attacks, and where "
        "images of the attack were moved to a budget",
        averaged=True,
    ),
    Column("outside_eps", "boolean", "", "does the 8-bit file lie outside the ball of `eps`; missing without one"),
    Column("file", "string", "", "the adversarial image, relative to the run folder"),
    Column("seed", "Int64", "integer", "the seed the attack on this image started from"),
    Column("seconds", "float64", "s", "attack time per image: the cell's time over its images, scoring not included"),
    Column(
        "from_cache",
        "boolean",
        "",
        "was the image made before, as a rule by another run, and taken from the cache; `seconds` is then what that "
        "took. Missing for untouched images",
    ),
    Column("error", "string", "", "why there is no result: then the results are missing", needed=True, of="classifier"),
)


def _as_in_records(name: str) -> Column:
    """Return the column of the summary that says what the records of a row have in common."""
    column = _record_column(name)
    return Sum(
        name, column.dtype, column.unit, "as in the records", needed=column.needed, compute=lambda g: g.first(name)
    )


def _count(name: str, meaning: str, compute: Callable[[Group], Any], *, needed: bool = False) -> Column:
    return Sum(name, "Int64", "images", meaning, needed=needed, compute=compute)


def _count_of_known(name: str, of: str, meaning: str, counted: Callable[[Group], Any]) -> Column:
    """Return the column of a count that is missing where no record says anything in the column `of`."""
    return _count(
        name,
        f"{meaning}; missing where no record knows",
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


def _record_column(name: str) -> Column:
    return next(column for column in RECORDS if column.name == name)


def _shift_bound(side: int) -> Column:
    """Return the lower (0) or the upper end (1) of the interval of the mean confidence shift."""
    name = f"mean_confidence_shift_{('low', 'high')[side]}"
    return Sum(name, "float64", "[-1, 1]", "its interval", compute=lambda g: g.mean_interval("confidence_shift")[side])


def _style_gain() -> Iterator[Column]:
    """Yield the gain in recognition over the untouched images, and its interval for paired rates."""
    meaning = "`style_identified_rate` less the same of the untouched images: what the paint adds to recognition"
    yield Sum("style_gain", "float64", "[-1, 1]", meaning, compute=lambda g: g.style_gain()[0])
    says = "its 95 % interval (Newcombe 1998, method 10, for paired rates)"
    yield Sum("style_gain_low", "float64", "[-1, 1]", says, compute=lambda g: g.style_gain()[1])
    yield Sum("style_gain_high", "float64", "[-1, 1]", says, compute=lambda g: g.style_gain()[2])


def _calibration_error(when: Literal["before", "after"]) -> Column:
    says = (
        "expected calibration error over `n_labelled`, ten bins (Naeini et al. 2015): how far confidence is from "
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
            "matched_to",
            "budget_distance",
            "budget",
            "classifier",
            "classifier_weights",
            "classifier_seen",
            "classifier_relation",
            "classes",
        ),
    ),
    _count("n", "scored", lambda g: g.scored.sum(), needed=True),
    _count("errors", "with an error; they count nowhere else", lambda g: (~g.scored).sum()),
    _count(
        "n_standing",
        "at a budget: of `n`, those that stand there, no farther from it than 5 % of its distance from the untouched "
        "image; missing at an attack's own distance, and where the run has not measured the budget's distance",
        lambda g: None if g.standing is None else g.standing.sum(),
    ),
    Sum(
        "standing_share",
        "float64",
        "[0, 1]",
        "`n_standing` / `n`: below 0.8 the row's rates are of images that are elsewhere, and nothing is compared there",
        compute=lambda g: None if g.standing is None or not g.scored.any() else g.standing.sum() / g.scored.sum(),
    ),
    _count(
        "n_labelled", "scored, with a true class the classifier knows (`in_label_space`)", lambda g: g.labelled.sum()
    ),
    _count("n_correct", "of `n_labelled`, those classified correctly before", lambda g: g.correct_before.sum()),
    *_rate("clean_accuracy", "n_correct", "n_labelled", "accuracy on the originals"),
    _count("n_correct_after", "of `n_labelled`, those classified correctly after", lambda g: g.correct_after.sum()),
    *_rate(
        "robust_accuracy",
        "n_correct_after",
        "n_labelled",
        "accuracy under the attack; beside it the row `clean` shows natural mistakes",
    ),
    _count("flips", "of `n`, those whose most likely class changed", lambda g: g.yes("flip").sum()),
    *_rate("flip_rate", "flips", "n"),
    _count_of_known(
        "flips_float",
        "flip_float",
        "of `n`, those whose most likely class changed in the image before it was rounded to 8 bits",
        lambda g: g.yes("flip_float"),
    ),
    _count_of_known(
        "flips_to_style_class",
        "flip_to_style_class",
        "of `n`, those whose most likely class became that of the style image",
        lambda g: g.yes("flip_to_style_class"),
    ),
    _count_of_known(
        "n_targeted",
        "target_hit",
        "of `n`, those led to a class that the classifier knows and that is not the true one",
        lambda g: g.has("target_hit"),
    ),
    _count_of_known(
        "target_hits",
        "target_hit",
        "of `n_targeted`, those whose most likely class became the one they were led to",
        lambda g: g.yes("target_hit"),
    ),
    *_rate("target_hit_rate", "target_hits", "n_targeted"),
    _count_of_known(
        "lost_to_rounding",
        "flip_float",
        "of `flips_float`, those that are no flips once rounded",
        lambda g: g.yes("flip_float") & ~g.yes("flip"),
    ),
    _count_of_known(
        "outside_eps",
        "outside_eps",
        "of `n`, those whose 8-bit file lies outside the ball its attack was held to",
        lambda g: g.yes("outside_eps"),
    ),
    _count("top5_flips", "of `n`, those with a `top5_flip`", lambda g: g.yes("top5_flip").sum()),
    *_rate("top5_flip_rate", "top5_flips", "n"),
    _count(
        "successes",
        "of `n_correct`, those classified wrongly after",
        lambda g: (g.correct_before & g.yes("success")).sum(),
    ),
    *_rate(
        "success_rate",
        "successes",
        "n_correct",
        "the attack success rate; images already wrong before are skipped",
    ),
    _count_of_known(
        "styles_judged",
        "style_identified",
        "of `n`, those of which an independent network said which style they have",
        lambda g: g.has("style_identified"),
    ),
    _count_of_known(
        "styles_identified",
        "style_identified",
        "of `styles_judged`, those recognised as their own style",
        lambda g: g.yes("style_identified"),
    ),
    *_rate("style_identified_rate", "styles_identified", "styles_judged", "`styles_identified_before` is what to beat"),
    _count_of_known(
        "styles_identified_before",
        "style_identified_before",
        "of `styles_judged`, those whose untouched image is nearest to that style already",
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

_PLACE = (  # what is compared, and where it stands
    Column("variant", "string", "", "the attack, as the printed summary calls it"),
    Column("budget_distance", "string", "", "the distance it was brought to a budget of; missing at its own"),
    Column("budget", "float64", "that distance's", "how far, at most"),
    Column("classifier", "string", "", "who saw it"),
)
_DIFFERENCE_INTERVAL = "its 95 % interval (Newcombe 1998, method 10, for paired rates)"

CONTROLS: tuple[Column, ...] = (
    *_PLACE,
    Column(
        "n",
        "Int64",
        "images",
        "scored under both the attack and the control named here, and at the same distance within 5 %",
    ),
    Column("flip_rate", "float64", "[0, 1]", "of the attack, over those `n`: not the summary's where images failed"),
    Column("controls", "Int64", "controls", "at the same distance that count"),
    Column(
        "control",
        "string",
        "",
        "the one of them that decides: for the claim that the attack beats them all, the one with the largest p value; "
        "where the other claim is likelier, that some control flips more, the one with the smallest. Missing where "
        "there is none",
    ),
    Column("control_flip_rate", "float64", "[0, 1]", "its flip rate over the same `n`"),
    Column("difference", "float64", "[-1, 1]", "`flip_rate` - `control_flip_rate`"),
    *_interval("difference", "[-1, 1]", _DIFFERENCE_INTERVAL),
    Column("only_variant", "Int64", "images", "flipped by the attack and not by the control"),
    Column("only_control", "Int64", "images", "flipped by the control and not by the attack"),
    Column(
        "p",
        "float64",
        "[0, 1]",
        "of the likelier of the two claims, doubled since both are looked at; for a single control the two-sided exact "
        "McNemar test",
    ),
    Column(
        "p_holm",
        "float64",
        "[0, 1]",
        "the same, with each claim adjusted for the number of rows of this table that have a control (Holm)",
    ),
    Column(
        "verdict",
        "string",
        "",
        "`beats` (every control) or `worse` (than some control) where `p_holm` < 0.05, `no better` where neither is "
        "shown, `no control` where none counts",
    ),
    Column(
        "left_out",
        "string",
        "",
        "why controls do not count: scored, or at the attack's distance within 5 %, on fewer than 80 % of its images; "
        "or the attack itself stands short of the budget",
    ),
)

JUDGES: tuple[Column, ...] = (
    *(
        Column(name, _record_column(name).dtype, _record_column(name).unit, "as in the records")
        for name in ("kind", "attack", "style", "source", "matched_to", "budget_distance", "budget")
    ),
    Column("judge", "string", "", "the network that says which style an image has"),
    Column("relation", "string", "", "of the judge to the attack, as `classifier_relation` in the records"),
    Column("n", "Int64", "images", "that it has judged"),
    Column("none", "Int64", "images", "of these, those that are nearest to none of the styles"),
    Column("identified", "Int64", "images", "of these, those that it recognises as their own style"),
    Column("identified_rate", "float64", "[0, 1]", "`identified` / `n`"),
    *_interval("identified_rate", "[0, 1]", "its 95 % interval (Wilson)"),
    Column("identified_before", "Int64", "images", "whose untouched image is nearest to that style already"),
    Column("gain", "float64", "[-1, 1]", "(`identified` - `identified_before`) / `n`"),
    *_interval("gain", "[-1, 1]", _DIFFERENCE_INTERVAL),
    Column("mean_before", "float64", "ratio", "mean distance of the untouched image from the own style, as it sees it"),
    Column("mean_after", "float64", "ratio", "the same of the adversarial image"),
)

PAIRS: tuple[Column, ...] = (
    Column("classifier", "string", "", "who saw them"),
    Column("a", "string", "", "an attack"),
    Column("b", "string", "", "another"),
    Column("n", "Int64", "images", "scored under both"),
    Column("rate_a", "float64", "[0, 1]", "flip rate of `a` over those `n`"),
    Column("rate_b", "float64", "[0, 1]", "flip rate of `b` over those `n`"),
    Column("difference", "float64", "[-1, 1]", "`rate_a` - `rate_b`"),
    *_interval("difference", "[-1, 1]", _DIFFERENCE_INTERVAL),
    Column("only_a", "Int64", "images", "flipped by `a` and not by `b`"),
    Column("only_b", "Int64", "images", "flipped by `b` and not by `a`"),
    Column("p", "float64", "[0, 1]", "exact McNemar test, two-sided, that both flip equally often"),
    Column("p_holm", "float64", "[0, 1]", "the same, adjusted for the number of tests in the table (Holm)"),
)


def _area(name: str, unit: str, meaning: str) -> Iterator[Column]:
    yield Column(name, "float64", unit, meaning)
    yield from _interval(name, unit, "its 95 % bootstrap interval over images")


AREAS: tuple[Column, ...] = (
    Column("kind", "string", "", "as in the records"),
    Column("attack", "string", "", "as in the records"),
    Column("style", "string", "", "as in the records"),
    Column("source", "string", "", "as in the records"),
    Column("budget_distance", "string", "", "along which the curve goes"),
    Column("classifier", "string", "", "who saw it"),
    Column("n", "Int64", "images", "scored at every budget of the curve"),
    Column(
        "largest_budget",
        "float64",
        "that distance's",
        "where the curve ends: the largest budget at which 80 % of the images or more stand; missing if there is none. "
        "Areas up to different budgets are not to be compared",
    ),
    *_area(
        "flip_area",
        "[0, 1]",
        "area under the flip rate over the width: the mean flip rate over all distances up to the largest budget",
    ),
    *_area("success_area", "[0, 1]", "the same of the success rate, over images correct before"),
    *_area("confidence_shift_area", "[-1, 1]", "the same of the mean confidence shift"),
    Column(
        "half_flip_budget",
        "float64",
        "that distance's",
        "where the flip rate first reaches one half; missing if it never does",
    ),
)

CHECKS: tuple[Column, ...] = (
    Column("check", "string", "", "what is checked", needed=True),
    Column("classifier", "string", "", "of whom"),
    Column("attack", "string", "", "the attack looked at; missing where there is none"),
    Column("status", "string", "", "`pass`, `fail` or `not run`: it does not apply, or broke down"),
    Column("figures", "string", "", "the numbers; of a check that broke down, the error"),
    Column("meaning", "string", "", "what that shows, or what to do"),
)

SIDES: tuple[Column, ...] = (
    Column("reference", "string", "", "the first run's folder"),
    Column("run", "string", "", "the other run's folder"),
    Column("kind", "string", "", "as in the records"),
    *_PLACE,
    Column("rate", "string", "", "`clean_accuracy` (of the untouched images), `flip_rate` or `success_rate`"),
    Column(
        "paired",
        "boolean",
        "",
        "image by image, where at least half the images of the smaller run are in the other (same `image_sha256`); "
        "otherwise as independent samples",
    ),
    Column(
        "n_reference",
        "Int64",
        "images",
        "that the reference's rate counts: where paired, known in both runs (for success: right before the attack in "
        "both)",
    ),
    Column("n_run", "Int64", "images", "that the run's rate counts, likewise"),
    Column("rate_reference", "float64", "[0, 1]", "the rate over those"),
    Column("rate_run", "float64", "[0, 1]", "the rate over those"),
    Column("difference", "float64", "[-1, 1]", "`rate_run` - `rate_reference`"),
    *_interval("difference", "[-1, 1]", "its 95 % interval: Newcombe 1998, for paired rates or for independent ones"),
    Column("only_reference", "Int64", "images", "counted in the reference and not in the run; missing unless paired"),
    Column("only_run", "Int64", "images", "counted in the run and not in the reference; missing unless paired"),
    Column("p", "float64", "[0, 1]", "exact McNemar test or, unless paired, Fisher's exact test, two-sided"),
    Column("p_holm", "float64", "[0, 1]", "the same, adjusted for the number of tests in the table (Holm)"),
    Column(
        "change",
        "string",
        "",
        "`higher` or `lower` where `p_holm` < 0.05, `no change shown`, `identical` (the same on every image), "
        "`not tested` (no images)",
    ),
    Column(
        "setup_differs",
        "string",
        "",
        "what is not the same in the attack's parameters and in the models it reads and is seen by",
    ),
)

EFFICIENCY: tuple[Column, ...] = (
    Column(
        "model", "string", "", "the network: a registry name, or a release that is only known by what was published"
    ),
    Column(
        "weights",
        "string",
        "",
        "with which it was measured, as in `source_weights`; `random` where none are on the machine, which take as "
        "much time and space and have learnt nothing; missing where nothing was measured",
    ),
    Column("input_size", "Int64", "px", "side of the images it classifies"),
    Column("parameters", "Int64", "numbers", "as larq counts them: a batch normalisation has two a channel"),
    Column("binary_share", "float64", "[0, 1]", "of these, those that are one bit"),
    Column("float32_mib", "float64", "MiB", "the parameters as float32"),
    Column("packed_mib", "float64", "MiB", "the same with a bit for each binary one"),
    Column("tflite_mib", "float64", "MiB", "the network as a TensorFlow Lite file, float32"),
    Column("lce_mib", "float64", "MiB", "as a file of Larq Compute Engine, binary weights packed"),
    Column("macs", "Int64", "operations", "multiply-accumulates for one image, as larq counts them"),
    Column("binary_macs_share", "float64", "[0, 1]", "of these, those of one bit with one bit"),
    Column("published_top1", "float64", "[0, 1]", "top-1 accuracy on ImageNet's validation set, as published"),
    Column("published_top5", "float64", "[0, 1]", "top-5 accuracy, likewise"),
    Column("published_parameters", "Int64", "numbers", "parameters, likewise"),
    Column("published_mib", "float64", "MiB", "size of the weights, likewise; binary ones packed"),
    Column("published_source", "string", "", "where that stands"),
    Column("images", "string", "", "the image set on which accuracy was measured; missing for random weights"),
    Column("n_labelled", "Int64", "images", "of it, those whose class the network knows"),
    Column("n_correct", "Int64", "images", "of these, those classified correctly"),
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
                "the same of processor time, which other work on the machine leaves as it is",
            ),
            Column(f"{runtime}_ms_all", "float64", "ms", "the time on the clock with every core"),
            Column(
                f"{runtime}_run_mib",
                "float64",
                "MiB",
                "memory that loading the network there and running it on one thread added to a process",
            ),
        )
    ),
    Column("machine", "string", "", "processors and system on which it was measured"),
    Column("measured", "string", "", "the day on which it was measured"),
    Column("versions", "string", "", "of the packages that it was measured with"),
    Column("failed", "string", "", "what could not be exported or timed, and why"),
)

# TextAttack's own nine, then what tells our records apart.
TEXTATTACK: tuple[Column, ...] = (
    Column("original_text", "string", "", "the original image's file, relative to the run folder"),
    Column("perturbed_text", "string", "", "the adversarial image's file, likewise"),
    Column("original_score", "float64", "[0, 1]", "1 minus the confidence of the true class on the original"),
    Column("perturbed_score", "float64", "[0, 1]", "the same on the adversarial image"),
    Column("original_output", "Int64", "class", "the most likely class of the original"),
    Column("perturbed_output", "Int64", "class", "the most likely class of the adversarial image"),
    Column("ground_truth_output", "Int64", "class", "the image's label; missing where it has none"),
    Column("num_queries", "Int64", "queries", "as `queries` in the records"),
    Column(
        "result_type",
        "string",
        "",
        "`Successful` or `Failed` by our `success`; `Skipped` where there is none: wrong before, unlabelled, not among "
        "the classifier's classes, or failed (see `error`)",
    ),
    Column("image", "string", "", "as in the records"),
    Column("attack", "string", "", "as the printed summary calls it"),
    Column("classifier", "string", "", "as in the records"),
    Column("error", "string", "", "as in the records"),
)

# What each is called where columns are explained; those of a run folder by their file's name.
TABLES: dict[str, tuple[Column, ...]] = {
    "records.csv": RECORDS,
    "summary.csv": SUMMARY,
    "controls.csv": CONTROLS,
    "pairs.csv": PAIRS,
    "judges.csv": JUDGES,
    "areas.csv": AREAS,
    "checks.csv": CHECKS,
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
# What follows from an image, its original and a classifier, so that it can be measured at any later time.
MEASURED_COLUMNS = OUTCOME_COLUMNS | {column.name for column in _distances()} | {"feature_distance"}
SUMMARY_COLUMNS = dtypes(SUMMARY)
CONTROL_COLUMNS = dtypes(CONTROLS)
PAIR_COLUMNS = dtypes(PAIRS)
JUDGE_COLUMNS = dtypes(JUDGES)
AREA_COLUMNS = dtypes(AREAS)
CHECK_COLUMNS = dtypes(CHECKS)
SIDE_COLUMNS = dtypes(SIDES)
TEXTATTACK_COLUMNS = dtypes(TEXTATTACK)
