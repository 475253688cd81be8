"""Draw the pages' pictures and tables from runs of the tool itself: `python docs/make_docs.py results`.

Each folder named is a run, or holds runs; what a run is called in its benchmark file says which page it belongs to:

artattack run --out results/default                          README.md
artattack run docs/comparison.yaml --out results/compared    docs/comparison.md
artattack run docs/guides.yaml --out results/guides          the same
artattack run docs/comparison-recipe.yaml --out results/recent  the same
artattack run docs/recipe.yaml --out results/recipe          docs/recipe.md
artattack run docs/recipe-free.yaml --out results/free       the same
artattack run docs/options.yaml --out results/options        the same
artattack study tv --steps 40 --out results/study-tv         docs/lessons/tv.md, and each study so

artattack run docs/transfer.yaml --out results/transfer      docs/transfer.md
artattack run docs/defences.yaml --out results/defences      docs/defences.md
python docs/purification.py results/purification             the same
artattack run docs/hardened.yaml --out results/hardened      docs/hardening.md
artattack run docs/with-art.yaml --out results/with-art      the same
artattack run docs/painter.yaml --out results/painter        docs/painter.md
artattack run docs/painter-unseen.yaml --out results/painter-unseen  the same
artattack run docs/painter-guided.yaml --out results/painter-guided  the same
artattack run docs/painter-losses.yaml --out results/painter-losses  the same

What is no run is named itself, `python docs/make_docs.py results results/efficiency.csv nets results/poster.png`:

artattack models --measure --csv results/efficiency.csv      docs/efficiency.md
artattack train groups -o nets ...                           docs/training.md, of the cards in the folder
artattack attack PHOTO ... -o results/poster.png             docs/lessons/art-attack.md
artattack atlas quicknet_distilled -o results/atlas.png      docs/atlas.md

`python docs/make_docs.py committed` writes the texts whose records are in results/, and needs no other run.

Tables of records that are kept in results/ come from those, pictures from the run folder. The page of a lesson says
from which run its figures come. Runs without pictures are passed over.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

import artattack  # noqa: F401  (chooses Keras 2 before TensorFlow loads)
from artattack.inputs.images import fit, read_image, to_uint8
from artattack.inputs.styles import load_styles
from artattack.models.card import read_card
from artattack.networks.runtimes import PAINTER
from artattack.report import save_figures
from artattack.report.page_tables import clean_error
from artattack.results.columns import EFFICIENCY
from artattack.results.paired import PooledDifference, pooled_difference
from artattack.results.power import ASSUMPTIONS, plan_survey
from artattack.results.run_folder import RunFolder, load_run
from artattack.results.standing import ENOUGH
from artattack.results.statistics import holm, pooled_rate
from artattack.results.tables import read_table

HERE = Path(__file__).parent
SHOWN = 4  # images in the gallery
CLASSIFIER = "efficientnet_lite0"
UNSEEN = ("efficientnet_lite1", "efficientnet_lite2")  # by any attack of docs/comparison-recipe.yaml
NEAR = "L2 10"  # the balls in docs/comparison.yaml
ALIKE = "SSIM 0.8"  # the budget in docs/comparison-far.yaml
VARIANT = ["attack", "style", "source"]
DISTANCES = {"l2": "L2", "delta_e": "ΔE", "ssim": "SSIM"}
README_PICTURE = ("imagenet_13_471", "marble")  # image and style
MANY_COLOURS = 20_000  # which no drawing has, and every photo
INK, PAPER = (30, 30, 30), (255, 255, 255)


def caption(picture: np.ndarray, text: str, height: int = 36) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with a line or two of text beneath."""
    canvas = Image.new("RGB", (picture.shape[1], picture.shape[0] + height), PAPER)
    canvas.paste(Image.fromarray(picture))
    ImageDraw.Draw(canvas).multiline_text((4, picture.shape[0] + 3), text, INK, ImageFont.load_default(13))
    return np.asarray(canvas)


def seen(row: pd.Series, when: str) -> str:
    """Return what the classifier saw: name and confidence."""
    return f"{row[f'top1_name_{when}'][:24]}\n{row[f'top1_confidence_{when}']:.0%}"


def readme_picture(run: RunFolder, records: pd.DataFrame, image: str, style: str) -> np.ndarray:
    """Return content, style, result in a row, with labels before and after."""
    row = records.query("image == @image and style == @style and classifier == @CLASSIFIER").iloc[0]
    original = read_image(run.original(image))
    painter = to_uint8(load_styles(style, original.shape[:2])[0])
    panels = [
        caption(original, seen(row, "before")),
        caption(painter, f"style: {style}"),
        caption(read_image(run.path / row["file"]), seen(row, "after")),
    ]
    return np.concatenate(panels, 1)


def readme_table(summary: pd.DataFrame) -> str:
    """Return seven rows of the default run, as Markdown: paintings, the best control and two PGD attacks."""
    ours = summary[summary["classifier"] == CLASSIFIER].fillna(dict.fromkeys([*VARIANT, "matched_to"], ""))
    error = clean_error(ours[ours["kind"] == "clean"].iloc[0].to_dict())
    paint = ours[ours["attack"].isin(("painter", "style"))]
    place = paint.iloc[-1]
    controls = ours[(ours["kind"] == "control") & ours["style"].isin(("", place["style"]))]
    best = controls[controls["flips"] == controls["flips"].max()].iloc[:1]
    rows = [
        *((f"{row['attack']}, {row['style']}, {row['classifier_relation']}", row) for row in paint.to_dict("records")),
        *((f"{row['attack']}, the best control at the L2 of {place['style']}", row) for row in best.to_dict("records")),
        *(
            (f"PGD on {row['source']}, {'white box' if row['classifier_seen'] else row['classifier_relation']}", row)
            for row in ours[ours["attack"] == "pgd"].to_dict("records")
        ),
    ]
    lines = [["none (untouched)", f"wrong: {error.note}, {error.text}", "", "0"]]
    for label, row in rows:
        named_style = counted(row, "style_identified_rate", "styles_identified", "styles_judged")
        seen = named_style if row["styles_judged"] else ""
        lines.append([label, counted(row, "flip_rate", "flips", "n"), seen, f"{row['mean_l2']:.1f}"])
    return markdown(["attack", "flips of EfficientNet-Lite0", "style recognised", "mean L2"], lines)


def readme_findings(recipe: RunFolder, near: RunFolder, comparison: RunFolder, far: RunFolder) -> str:
    """Return three findings, a sentence or two each, with the figures of four runs."""
    records = at_places(comparison)
    records = records[records["place"] == NEAR]
    unrelated = unrelated_to_all(records)
    rows = {label: mine[mine["classifier"].isin(unrelated)] for label, mine in by_variant(records)}
    rates = {label: mine["flip"].mean() for label, mine in rows.items()}
    guided, plain = "guided-bnn/waves/quicknet_tiny", "style/waves/quicknet_tiny"
    gradient = max((label for label in rows if "mi-fgsm" in label), key=rates.__getitem__)
    control = max((label for label, mine in rows.items() if mine["kind"].eq("control").all()), key=rates.__getitem__)

    def told(ours: str, other: str, name: str = "") -> str:
        found = lead(records, ours, other, unrelated)
        return standing(found.difference, found.low, found.high, name or other)

    bnn, net = (f"di-mi-fgsm/{name}" for name in ("bmxnet_resnet18_stage1float", "efficientnet_lite0"))
    photos = f"{records['image'].nunique()} photos and {len(unrelated)} classifiers of unrelated families"
    farther = 20
    verdicts = recipe.controls.set_index(["variant", "classifier"])
    paint = verdicts.loc[(f"style/waves/quicknet_tiny at l2={farther}", UNSEEN[1])]
    ahead, closest = paint[["difference", "difference_low", "difference_high"]], paint["control"].partition("/")[0]
    flips = {label: pooled_share(mine, "flip", effect=False) for label, mine in rows.items()}

    def beside_gradients(records: pd.DataFrame, name: str) -> str:
        gradients = [label for label, _ in by_variant(records) if "mi-fgsm" in label]
        found = [lead(records, guided, label, unrelated) for label in gradients]
        least = min(found, key=lambda each: each.difference)
        return standing(least.difference, least.low, least.high, name)

    alike = at_places(far)
    alike, close = alike[alike["place"] == ALIKE], at_places(near)
    return "\n".join([
        f"- **Paint guided by one-bit networks alone fools classifiers of other families.** On {photos}, {NEAR}, it "
        f"flips {flips[guided]}: {told(guided, gradient)}, the best gradient attack ({flips[gradient]}), and "
        f"{told(guided, control)}, the best control. On {alike['image'].nunique()} photos, at "
        f"{ALIKE}, it is {beside_gradients(alike, 'the best gradient attack')}; at {close['place'].iloc[0]}, "
        f"{beside_gradients(close, 'it')} "
        "([comparison](docs/comparison.md)).",
        f"- **Gradients of a real one-bit network carry over.** There, DI-MI-FGSM from a binary ResNet-18 flips "
        f"{flips[bnn]}: {told(bnn, net, 'the same from EfficientNet-Lite0')}.",
        f"- **Unguided paint through one-bit features flips more than every control.** There, it flips {flips[plain]}: "
        f"{told(plain, control)}. At L2 {farther}, it flips EfficientNet-Lite2 on {paint['flip_rate']:.0%} of "
        f"{paint['n']} photos: {standing(*ahead, closest)} "
        "([recipe](docs/comparison.md#the-default-recipe-through-the-small-bnn)).",
    ])  # fmt: skip


def standing(difference: float, low: float, high: float, other: str) -> str:
    """Say how far one attack stands ahead of another attack or a control: the difference of their rates."""
    points = f"{in_points(difference, low, high)} points"
    if low > 0:
        return f"{points} ahead of {other}"
    return f"{points}, so behind {other}" if high < 0 else f"{points}, so not told apart from {other}"


def counted(row: dict[Any, Any], name: str, part: str, whole: str) -> str:
    """Return a rate with what it counts and its interval: `10 of 20, 50% [30, 70]`."""
    return f"{row[part]} of {row[whole]}, {rate(row, name)}"


def comparison_tables(run: RunFolder) -> str:
    """Return flips, looks, and leads of the guided attack and of plain paint at each budget, as Markdown."""
    records = at_places(run)
    unrelated = unrelated_to_all(records)
    others = [name for name in dict.fromkeys(records["classifier"]) if name not in unrelated]
    judges = list(dict.fromkeys(run.judges["judge"]))
    flips, looks = [], []
    for place, there in records.groupby("place", sort=False):
        told = run.judges[places_of(run, run.judges) == place]
        for label, rows in by_variant(there):
            of = {name: rows[rows["classifier"] == name] for name in (*unrelated, *others)}
            pooled = pooled_share(rows[rows["classifier"].isin(unrelated)], "flip")
            singles = (pooled_share(of[name], "flip") for name in unrelated)
            relations = {name: of[name]["classifier_relation"].fillna("").iloc[0] for name in others}
            marked = (f"{pooled_share(of[name], 'flip')} {relations[name]}".strip() for name in others)
            flips.append([f"{label}, {place}", pooled, *singles, *marked])
            one = of[unrelated[0]]
            judged = told[variants_of(told) == label].to_dict("records")
            seen = {row["judge"]: rate(row, "identified_rate") for row in judged}
            forms = {"l2": ".1f", "ssim": ".2f", "gmsd": ".2f", "delta_e": ".1f"}
            looks.append([
                f"{label}, {place}",
                *(seen.get(name, "") for name in judges),
                *(f"{one[name].mean():{form}}" for name, form in forms.items()),
            ])  # fmt: skip
    names = [*map(short, unrelated), *map(short, others)]
    return "\n\n".join([
        markdown(["flips under", f"{len(unrelated)} unrelated families", *names], flips),
        leads(records, "guided-bnn/waves/quicknet_tiny", unrelated),
        leads(records, "style/waves/quicknet_tiny", unrelated),
        markdown([
            "images of", *(f"style recognised by {short(name)}" for name in judges), "L2", "SSIM", "GMSD", "ΔE"
        ], looks),
    ])  # fmt: skip


def at_places(run: RunFolder) -> pd.DataFrame:
    """Return the records under attacks, with the distance of each in words as `place`, such as `L2 10`."""
    attacked = run.records[run.records["kind"] != "clean"]
    return attacked.assign(place=places_of(run, attacked))


def places_of(run: RunFolder, table: pd.DataFrame) -> pd.Series[str]:
    """Return the distance of each row in words: its budget, or the ball of the run's first attack."""
    ball = run.info["config"]["benchmark"]["attacks"][0]["budget"]
    names = table["budget_distance"].fillna(ball[0]).map(DISTANCES.__getitem__).astype(str)
    return names + " " + table["budget"].fillna(ball[1]).map("{:g}".format)


def distances_table(runs: Sequence[RunFolder]) -> str:
    """Return the flips of unrelated classifiers at the distances of several runs, and two attacks' leads, as Markdown.

    p values are adjusted for all differences of one attack (Holm).
    """
    places: dict[str, pd.DataFrame] = {}
    for run in runs:
        places |= dict(list(at_places(run).groupby("place", sort=False)))
    unrelated = {place: unrelated_to_all(records) for place, records in places.items()}
    shares = {
        place: {
            label: pooled_share(rows[rows["classifier"].isin(unrelated[place])], "flip", effect=False)
            for label, rows in by_variant(records)
        }
        for place, records in places.items()
    }
    labels = list(dict.fromkeys(label for of in shares.values() for label in of))
    titles = [f"{place}, {records['image'].nunique()} photos" for place, records in places.items()]
    parts = [markdown(["flips under", *titles], [[x, *(of.get(x, "") for of in shares.values())] for x in labels])]
    for ours in ("guided-bnn/waves/quicknet_tiny", "style/waves/quicknet_tiny"):
        against = [x for x in labels if x != ours]
        found = {
            (x, place): lead(records, ours, x, unrelated[place])
            for x in against
            for place, records in places.items()
            if x in shares[place]
        }
        cells = adjusted(found)
        lines = [[x, *(cells.get((x, place), "") for place in places)] for x in against]
        parts.append(markdown([f"{ours.partition('/')[0]} is ahead of", *titles], lines))
    return "\n\n".join(parts)


def variants_of(table: pd.DataFrame) -> pd.Series[str]:
    """Return the name of each row's attack or control, with its style and source."""
    keys = table[VARIANT].fillna("").itertuples(index=False, name=None)
    return pd.Series([named(key) for key in keys], index=table.index, dtype=object)


def by_variant(records: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name and the rows of each attack and control, in their order."""
    yield from records.groupby(variants_of(records), sort=False)


def unrelated_to_all(records: pd.DataFrame) -> list[str]:
    """Return the classifiers that are unrelated to every attack."""
    related = set(records.loc[records["classifier_relation"].isin(("seen", "kin")), "classifier"])
    return [name for name in dict.fromkeys(records["classifier"]) if name not in related]


def lead(records: pd.DataFrame, ours: str, other: str, classifiers: Sequence[str]) -> PooledDifference:
    """Return the difference of two variants' flips over some classifiers, with an interval over photos."""
    mine = records[records["classifier"].isin(classifiers)]
    names = variants_of(mine)
    return pooled_difference(mine[names == ours], mine[names == other], by=("image", "classifier"))


def adjusted(found: Mapping[Any, PooledDifference]) -> dict[Any, str]:
    """Return differences in points with their intervals, and their p values adjusted for all of them (Holm)."""
    p = holm([each.p_value for each in found.values()])
    return {
        key: f"{in_points(each.difference, each.low, each.high)}, p {value:.2g}"
        for (key, each), value in zip(found.items(), p, strict=True)
    }


def leads(records: pd.DataFrame, ours: str, classifiers: Sequence[str]) -> str:
    """Return how far one attack is ahead of every other and of each control, in points, as Markdown.

    p values are adjusted for all comparisons in the table (Holm).
    """
    found: list[tuple[str, PooledDifference]] = []
    for place, rows in records.groupby("place", sort=False):
        found += [
            (f"{label}, {place}", lead(rows, ours, label, classifiers))
            for label, _ in by_variant(rows)
            if label != ours
        ]
    adjusted = holm([difference.p_value for _, difference in found])
    lines = [
        [label, in_points(each.difference, each.low, each.high), f"{each.design_effect:.1f}", f"{p:.2g}"]
        for (label, each), p in zip(found, adjusted, strict=True)
    ]
    return markdown([f"{ours.partition('/')[0]} is ahead of", "points", "design effect", "p"], lines)


def flips_at_budgets(curves: pd.DataFrame) -> str:
    """Return flip rates of the unseen classifiers at each budget, as Markdown."""
    budgets = list(curves[["budget_distance", "budget"]].drop_duplicates().itertuples(index=False, name=None))
    titles = [f"{short(name)}, {DISTANCES[distance]} {value:g}" for name in UNSEEN for distance, value in budgets]
    lines = []
    for key, rows in curves.fillna(dict.fromkeys(VARIANT, "")).groupby(VARIANT, sort=False):
        by = rows.set_index(["classifier", "budget_distance", "budget"]).to_dict("index")
        rates = [at_its_distance(by[name, *budget], "flip_rate") for name in UNSEEN for budget in budgets]
        lines.append([named(key), *rates])
    return markdown(["attack or control", *titles], lines)


def recipe_table(records: pd.DataFrame) -> str:
    """Return what became of each attack and control over all styles, without a budget and at each, as Markdown.

    Intervals resample photos, which come once in each style, and stand with the design effect.
    """
    records = records[records["kind"] != "clean"]
    classifiers = list(dict.fromkeys(records["classifier"]))
    titles = ["recognised", *(f"flips, {short(name)}" for name in classifiers)]
    lines = []
    for (budget, attack), rows in records.groupby([records["budget"].fillna(np.inf), "attack"], sort=False):
        images = rows[rows["classifier"] == classifiers[0]]
        of = [rows[rows["classifier"] == name] for name in classifiers]
        parts = [(images, "style_identified"), *((mine, "flip") for mine in of)]
        place = budget if np.isfinite(budget) else round(images["l2"].mean())
        lines.append((place, [
            f"{attack}, L2 {images['l2'].mean():.0f}",
            *(pooled_share(mine, column) for mine, column in parts),
            f"{images['ssim'].mean():.2f}",
            f"{images['gmsd'].mean():.2f}",
            f"{images['checkerboard'].median():.1f}",
        ]))  # fmt: skip
    lines.sort(key=lambda line: line[0])  # stable: attacks stay in their order
    return markdown(["", *titles, "SSIM", "GMSD", "grid"], [line for _, line in lines])


def recipe_differences(
    run: RunFolder, attack: str = "style", classifiers: Sequence[str] = (CLASSIFIER, *UNSEEN)
) -> str:
    """Return how far an attack is ahead of each control at each budget, in points, as Markdown.

    Intervals resample photos, which come once in each style. p values are those of the sign-flip test over photos,
    adjusted for all differences of the table (Holm).
    """
    records = run.records[run.records["budget"].notna()]
    of_images = ("recognised", "style_identified", classifiers[0])  # the same in the rows of each classifier
    columns = [of_images, *((short(name), "flip", name) for name in classifiers)]
    found: dict[tuple[str, str], PooledDifference] = {}
    for budget, rows in records.groupby("budget"):
        for control in dict.fromkeys(rows.loc[rows["kind"] == "control", "attack"]):
            for title, column, classifier in columns:
                mine = rows[rows["classifier"] == classifier]
                ours, other = (mine[mine["attack"] == name] for name in (attack, control))
                by = ("image", "style", "classifier") if other["style"].notna().all() else ("image", "classifier")
                found[f"L2 {budget:g}, {control}", title] = pooled_difference(ours, other, what=column, by=by)
    told = adjusted({place: each for place, each in found.items() if each.n})
    repeats = {
        place: f", design effect {each.design_effect:.1f}" for place, each in found.items() if each.n > each.photos
    }
    lines = [
        [against, *(told.get((against, title), "") + repeats.get((against, title), "") for title, _, _ in columns)]
        for against in dict.fromkeys(against for against, _ in found)
    ]
    headings = ["points ahead of", "recognised", *(f"flips, {title}" for title, _, _ in columns[1:])]
    return markdown(headings, lines)


def at_its_distance(row: dict[Any, Any], name: str) -> str:
    """Return a rate with its interval and the mean L2 it stands at, marked where too few images stand at the budget."""
    short_of = f", {row['standing_share']:.0%} there" if row["standing_share"] < ENOUGH else ""
    return f"{rate(row, name)} at L2 {row['mean_l2']:.1f}{short_of}"


def pooled_share(rows: pd.DataFrame, column: str, *, effect: bool = True) -> str:
    """Return the share of a column of booleans, its interval over photos and, where they repeat, the design effect.

    Args:
        rows: records, with a row or more for each photo.
        column: a column of True and False.
        effect: whether the design effect is told.
    """
    found = pooled_rate(rows[column], rows["image"])
    shown = rate({"of": found.mean, "of_low": found.low, "of_high": found.high}, "of")
    repeats = effect and found.n > found.clusters and np.isfinite(found.design_effect)
    return f"{shown}, design effect {found.design_effect:.1f}" if repeats else shown


def named(key: Any) -> str:
    """Return what a table calls an attack, by its name, style and source."""
    return "/".join(part for part in map(str, key) if part)


def with_copied(key: Any) -> str:
    """Return the name of a variant, with the attack whose distance it copies, if any: (*VARIANT, matched_to)."""
    return named(key[:3]) + (f" as {key[3]}" if key[3] else "")


def short(name: str) -> str:
    """Return what a table calls a classifier."""
    return name.replace("efficientnet_lite", "Lite")


def has_read(run: RunFolder, key: Any, classifier: str) -> bool:
    """Return whether an attack has read a classifier."""
    records = run.records.fillna({"style": "", "source": ""})
    mine = records[(records[["attack", "style", "source"]] == list(key)).all(axis=1)]
    return bool((mine["classifier_seen"] & (mine["classifier"] == classifier)).any())


def verdict(row: pd.Series) -> str:
    """Say how an attack stands against its controls: `beats blend/waves by 12 points [5, 19], p 0.003`."""
    if row["verdict"] == "no control":
        return "no control" + ("" if pd.isna(row["left_out"]) else f": {row['left_out']}")
    points = (
        f"{100 * row['difference']:+.0f} points [{100 * row['difference_low']:.0f}, {100 * row['difference_high']:.0f}]"
    )
    return f"{row['verdict']}: {points} to {row['control'].partition(' at ')[0]}, p {row['p_holm']:.2g}"


def in_points(difference: float, low: float, high: float) -> str:
    """Return a difference of rates with its interval, in percentage points."""
    return f"{100 * difference:+.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def markdown(headings: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))


def rate(row: dict[Any, Any], name: str) -> str:
    """Return a rate with its interval, in percent."""
    if pd.isna(row[name]):
        return ""
    return f"{row[name]:.0%} [{row[f'{name}_low']:.0%}, {row[f'{name}_high']:.0%}]".replace("%,", ",").replace(
        "%]", "]"
    )


def gallery(run: RunFolder, records: pd.DataFrame) -> np.ndarray:
    """Return a grid: an image in each row, the original and each attack in the columns."""
    attacks = list(dict.fromkeys(records["attack"]))
    rows = []
    for image in list(dict.fromkeys(records["image"]))[:SHOWN]:
        original = read_image(run.original(image))
        panels = [caption(fit(original, 160, 1.0), "original\n")]
        for attack in attacks:
            row = records.query("image == @image and attack == @attack and classifier == @CLASSIFIER").iloc[0]
            panels.append(
                caption(fit(read_image(run.path / row["file"]), 160, 1.0), f"{attack}\n{row['top1_name_after'][:22]}")
            )
        rows.append(panels)
    half = (len(rows[0]) + 1) // 2
    blank = np.full_like(rows[0][0], 255)
    lines = [np.concatenate((line + [blank] * half)[:half], 1) for row in rows for line in (row[:half], row[half:])]
    return np.concatenate(lines, 0)


def options_table(run: RunFolder) -> str:
    """Return flips, style left, distances and checkerboard energy of each attack of docs/options.yaml, as Markdown."""
    lines = []
    for attack, rows in run.records[run.records["kind"] != "clean"].groupby("attack", sort=False):
        ours, other = rows[rows["classifier"] == CLASSIFIER], rows[rows["classifier"] != CLASSIFIER]
        style = ours["style_seen_after"].mean()
        lines.append([
            str(attack),
            *(f"{part['flip'].sum()} of {len(part)}" for part in (ours, other)),
            "" if pd.isna(style) else f"{style:.2f}",
            f"{ours['l2'].mean():.1f}",
            f"{ours['ssim'].mean():.2f}",
            f"{ours['checkerboard'].median():.1f}",
            f"{ours['seconds'].mean():.1f}",
        ])  # fmt: skip
    flips = ["flips, EfficientNet-Lite0", "flips, quicknet_tiny"]
    return markdown(["attack", *flips, "style distance", "L2", "SSIM", "grid", "s/image"], lines)


def copy_figure(run: RunFolder, figure: str, name: str) -> None:
    """Keep one of a run's figures among the pictures of the pages."""
    with TemporaryDirectory() as drawn:
        save_figures(run, Path(drawn))
        shutil.copy(Path(drawn) / f"{figure}.png", HERE / "images" / f"{name}.png")


def insert(page: Path, text: str, what: str = "table") -> None:
    """Put a text between the two marks of a page that name what it is.

    Raises:
        SystemExit: the page is not there, or has no such marks.
    """
    start, end = f"<!-- {what} -->\n", f"<!-- end of {what.partition(' ')[0]} -->"
    try:
        before, found, rest = page.read_text(encoding="utf-8").partition(start)
    except FileNotFoundError:
        raise SystemExit(f"{page}: no such page; docs/lessons/tv.md shows what one of a study has") from None
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"{page}: no marks {start.strip()} and {end}, between which the {what} goes")
    page.write_text(before + start + text + "\n" + end + after, encoding="utf-8")


def origin(run: RunFolder) -> str:
    """Say which run a page's figures come from."""
    info = run.info
    benchmark = info["config"]["benchmark"]
    day = datetime.fromisoformat(info["finished"])
    images = "/".join(Path(benchmark["images"]["set"]).parts[-2:])  # of a folder
    return (
        f"Figures and picture: run `{benchmark['name']}` of {day:%d %B %Y}, {run.records['image'].nunique()} images of "
        f"`{images}`, seed {benchmark['seed']}, artattack {info['versions']['artattack']}, "
        f"configuration `{info['config_hash'][:8]}`."
    )


def with_origin(tables: Callable[[RunFolder], str], run: RunFolder) -> str:
    """Return the tables of a run, and a line that names the run."""
    return f"{tables(run)}\n\n{origin(run)}"


def committed_texts() -> Iterator[tuple[Path, str, str]]:
    """Yield the generated texts whose records are committed: the page, the name of its marks, and the text."""
    kept = HERE.parent / "results"
    recipe, comparison = load_run(kept / "comparison-recipe"), load_run(kept / "comparison")
    near, far = load_run(kept / "comparison-near"), load_run(kept / "comparison-far")
    readme, page = HERE.parent / "README.md", HERE / "comparison.md"
    yield readme, "table", readme_table(load_run(kept / "reference").summary)
    yield readme, "findings", readme_findings(recipe, near, comparison, far)
    yield page, "table", with_origin(comparison_tables, comparison)
    others = "\n\n".join([distances_table([near, comparison, far]), origin(near), origin(far)])
    yield page, "table of distances", others
    yield page, "table of guides", with_origin(guides_table, load_run(kept / "guides"))
    yield page, "table of the default recipe", with_origin(default_recipe_tables, recipe)
    yield HERE / "recipe.md", "table of six styles", with_origin(six_styles_tables, load_run(kept / "recipe"))
    yield HERE / "recipe.md", "table without a budget", with_origin(free_tables, load_run(kept / "recipe-free"))
    yield HERE / "recipe.md", "table", with_origin(options_table, load_run(kept / "options"))
    yield HERE / "transfer.md", "table", with_origin(transfer_table, load_run(kept / "transfer"))
    yield HERE / "defences.md", "table of defences", with_origin(defences_table, load_run(kept / "defences"))
    repainted = load_run(kept / "purification")
    yield HERE / "defences.md", "table of repainting", with_origin(beside_undefended, repainted)
    one_pass = painter_tables(painted := load_run(kept / "painter"), six := load_run(kept / "recipe"))
    yield HERE / "painter.md", "table", f"{one_pass}\n\n{origin(painted)}\n\nThe rows of `style`. {origin(six)}"
    unseen = with_origin(painter_tables, load_run(kept / "painter-unseen"))
    yield HERE / "painter.md", "table of other photos", unseen
    for table, folder in (("guides", "painter-guided"), ("guide losses", "painter-losses")):
        yield HERE / "painter.md", f"table of {table}", with_origin(guided_tables, load_run(kept / folder))
    costs = read_table(kept / "painter" / "efficiency.csv", EFFICIENCY)
    yield HERE / "painter.md", "table of bits", efficiency_tables(costs)
    families = read_table(kept / "networks" / "efficiency.csv", EFFICIENCY)
    yield HERE / "efficiency.md", "table of families", efficiency_tables(families)
    for folder in sorted(path.parent for path in kept.glob("*/study.json")):
        told = load_run(folder).study
        assert told is not None
        yield HERE / "lessons" / f"{told.name}.md", "table", markdown(told.headings, told.rows)
    yield HERE / "hardening.md", "table", with_origin(beside_undefended, load_run(kept / "hardened"))
    yield HERE / "hardening.md", "table of bits", with_origin(with_art_tables, load_run(kept / "with-art"))
    yield HERE / "people.md", "plan", power_table()


def power_table() -> str:
    """Return how often a survey tells 90 % right answers from 80 %, by people and photos, as Markdown."""
    powers = plan_survey().pivot(index="people", columns="photos", values="power")
    lines = [[f"{people}", *(f"{power:.0%}" for power in line)] for people, line in powers.iterrows()]
    table = markdown(["people", *(f"{photos} photos" for photos in powers.columns)], lines)
    return f"{table.rstrip()}\n\n{ASSUMPTIONS}"


def guides_table(run: RunFolder) -> str:
    """Return what options of a guided attack do to flips of unrelated classifiers, as Markdown, best first."""
    records = run.records[run.records["kind"] != "clean"]
    unrelated = unrelated_to_all(records)
    lines = []
    for label, rows in by_variant(records):
        mine = rows[rows["classifier"].isin(unrelated)]
        images = mine[mine["classifier"] == unrelated[0]]
        each = mine.groupby("classifier")["flip"].mean()
        flips = [pooled_share(mine, "flip"), *(f"{each[name]:.0%}" for name in unrelated)]
        kept = f"{mine['true_confidence_after'].mean():.0%}"
        lines.append((mine["flip"].mean(), [label, *flips, kept, f"{images['ssim'].mean():.2f}"]))
    lines.sort(key=lambda line: -line[0])
    names = [short(name) for name in unrelated]
    headings = ["", f"flips of {len(unrelated)} unrelated families", *names, "confidence in the true class", "SSIM"]
    return markdown(headings, [line for _, line in lines])


def readme_page(run: RunFolder) -> None:
    """Write the README's table; its findings come from committed records."""
    insert(HERE.parent / "README.md", readme_table(run.summary))


def comparison_page(run: RunFolder) -> None:
    """Draw the picture of docs/comparison.md and write its tables."""
    copy_figure(run, "flip-rates", "comparison")
    insert(HERE / "comparison.md", with_origin(comparison_tables, run))


def style_page(run: RunFolder) -> None:
    """Draw the gallery of docs/recipe.md and write its table of options."""
    records = run.records[run.records["kind"] != "clean"]
    Image.fromarray(gallery(run, records)).save(HERE / "images" / "gallery.jpg", quality=88)
    insert(HERE / "recipe.md", with_origin(options_table, run))


def lesson_page(run: RunFolder) -> None:
    """Put a study's question, its figure, small enough for a page, and its table into its page in docs/lessons."""
    told = run.study
    if told is None or told.figure is None:
        raise SystemExit(f"{run.path}: a study without results")
    page = HERE / "lessons" / f"{told.name}.md"
    picture = f"../images/{keep_picture(told.figure, f'study-{told.name}')}"
    asked = [
        f"**Asked.** {told.question}",
        f"**Seen in 2020.** {told.lesson}",
        f"![{told.caption}]({picture})",
        f"{told.caption} {origin(run)}",
    ]
    insert(page, "\n\n".join(asked), "study")
    insert(page, markdown(told.headings, told.rows))


def keep_picture(file: Path, name: str) -> str:
    """Keep a picture, small enough for a page, among those of the pages: photos as JPEG, drawings as PNG.

    Returns:
        The file's name.
    """
    with Image.open(file) as figure:
        small = figure.convert("RGB")
    small.thumbnail((1400, 1800), Image.Resampling.LANCZOS)
    has_photos = small.getcolors(MANY_COLOURS) is None  # a photo in 192 colours has bands
    kept = HERE / "images" / f"{name}.{'jpg' if has_photos else 'png'}"
    kept.with_suffix(".png" if has_photos else ".jpg").unlink(missing_ok=True)
    if has_photos:
        small.save(kept, quality=88)
    else:
        small.quantize(192, dither=Image.Dither.NONE).save(kept, optimize=True)
    return kept.name


def default_recipe_tables(run: RunFolder) -> str:
    """Return flips, style and structure at each budget, and all verdicts there, as Markdown."""
    verdicts = run.controls[run.controls["budget"].notna()].to_dict("records")
    lines = [[row["variant"], short(row["classifier"]), verdict(pd.Series(row))] for row in verdicts]
    judged = markdown(["attack", "flips of", "against controls"], lines)
    return f"{flips_at_budgets(run.curves)}\n\n{kept_at_budgets(run.curves)}\n\n{judged}"


def kept_at_budgets(curves: pd.DataFrame) -> str:
    """Return what is left of images at each budget, and how often their style is recognised, as Markdown."""
    images = curves[curves["classifier"] == UNSEEN[0]].fillna(dict.fromkeys(VARIANT, ""))
    lines = [
        [
            named([row[name] for name in VARIANT]),
            *(f"{row[f'mean_{name}']:{form}}" for name, form in (("l2", ".1f"), ("ssim", ".2f"), ("gmsd", ".2f"))),
            rate(row, "style_identified_rate"),
        ]
        for row in images.sort_values("budget", kind="stable").to_dict("records")
    ]
    return markdown(["attack or control", "L2", "SSIM", "GMSD", "style recognised"], lines)


def six_styles_tables(run: RunFolder) -> str:
    """Return the tables of docs/recipe.md on six styles, inside balls."""
    inside = run.records[run.records["budget"].notna()]
    return f"{recipe_table(inside)}\n\n{recipe_differences(run)}"


def painter_tables(run: RunFolder, descent: RunFolder | None = None) -> str:
    """Return the tables of docs/painter.md: the painter, what stands beside it, and its lead over the controls.

    Args:
        run: the painter's run.
        descent: a run on the same photos, whose style attack joins the first table.
    """
    inside = run.records[run.records["budget"].notna()]
    names = tuple(dict.fromkeys(run.records["classifier"]))
    if descent is not None:
        others = descent.records[descent.records["budget"].notna() & descent.records["classifier"].isin(names)]
        inside = pd.concat([inside, others[others["attack"] == "style"]])
    return f"{recipe_table(inside)}\n\n{recipe_differences(run, 'painter', names)}"


GUIDED = {  # painters of docs/painter-guided.yaml and docs/painter-losses.yaml, and the attacks that they stand beside
    "painter-bnn": ("style-bnn", "di-mi/bmx1.h5", "painter", "noise", "jpeg"),
    "painter-lite0": ("style-lite0", "di-mi/efficientnet_lite0", "painter", "noise", "jpeg"),
    "painter-margin": ("di-mi/efficientnet_lite0", "noise", "jpeg"),
    "painter-relativistic": ("painter-margin", "di-mi/efficientnet_lite0", "noise", "jpeg"),
    "painter-features": ("painter-margin", "di-mi/efficientnet_lite0", "noise", "jpeg"),
}


def guided_tables(run: RunFolder) -> str:
    """Return the tables of docs/painter.md on guided painters: flips of families that nothing read, and leads.

    p values are adjusted for all differences (Holm).
    """
    records = run.records[run.records["kind"] != "clean"]
    unrelated = unrelated_to_all(records)
    mine = records[records["classifier"].isin(unrelated)]
    by_source = mine["attack"] + ("/" + mine["source"].fillna("")).where(mine["attack"] == "di-mi", "")
    groups = dict(list(mine.groupby([mine["budget"], by_source], sort=False)))
    own = mine[mine["budget"].isna() & (mine["eps_norm"] == "l2")]  # whose files a budget of the same radius copies
    made = dict(list(own.groupby([own["eps"], by_source], sort=False)))
    lines = []
    for (budget, name), rows in sorted(groups.items(), key=lambda item: item[0][0]):
        images = rows[rows["classifier"] == unrelated[0]]
        each = rows.groupby("classifier")["flip"].mean()
        recognised = pooled_share(images, "style_identified") if images["style_identified"].notna().all() else ""
        lines.append(
            [f"{name.removesuffix('.h5')}, L2 {budget:g}", pooled_share(rows, "flip")]
            + [f"{each[other]:.0%}" for other in unrelated]
            + [recognised, f"{images['ssim'].mean():.2f}"]
            + [f"{1000 * made.get((budget, name), rows)['seconds'].mean():.0f}"]
        )
    headings = ["", f"flips of {len(unrelated)} unrelated families", *map(short, unrelated), "recognised", "SSIM"]
    found = {
        (budget, ours, other): pooled_difference(
            groups[budget, ours], groups[budget, other], by=("image", "classifier")
        )
        for budget in sorted({budget for budget, _ in groups})
        for ours, others in GUIDED.items()
        if (budget, ours) in groups
        for other in others
    }
    leading = [
        [f"{ours} over {other.removesuffix('.h5')}, L2 {budget:g}", told]
        for (budget, ours, other), told in adjusted(found).items()
    ]
    return markdown([*headings, "ms an image"], lines) + "\n\n" + markdown(["lead of", "points"], leading)


def painter_page(run: RunFolder) -> None:
    """Draw the pictures of docs/painter.md and of the README."""
    painted = run.records[run.records["attack"] == "painter"]
    farthest = painted[painted["budget"] == painted["budget"].max()]
    picture = readme_picture(run, farthest, *README_PICTURE)
    Image.fromarray(picture).save(HERE / "images" / "readme.png", optimize=True)
    rows = []
    for image, mine in list(farthest.groupby("image", sort=False))[:SHOWN]:
        original = read_image(run.original(image))
        files = mine.drop_duplicates("file").set_index("style")["file"]
        panels = [caption(fit(original, 200, 1.0), "photo", 20)]
        panels += [caption(fit(read_image(run.path / file), 200, 1.0), style, 20) for style, file in files.items()]
        rows.append(np.concatenate(panels, 1))
    Image.fromarray(np.concatenate(rows, 0)).save(HERE / "images" / "painter.jpg", quality=88)


def free_tables(run: RunFolder) -> str:
    """Return the table of docs/recipe.md on paintings without a budget."""
    return recipe_table(run.records)


def transfer_table(run: RunFolder) -> str:
    """Return flips of unrelated classifiers by each momentum attack from each source, against MI-FGSM, as Markdown.

    Noise counts for the source whose attack has the same distance. p values are adjusted for all differences (Holm).
    """
    attacked = run.records[run.records["kind"] != "clean"]
    unrelated = unrelated_to_all(attacked)
    mine = attacked[attacked["classifier"].isin(unrelated)]
    source = mine["source"].fillna(mine["matched_to"].astype("string").str.rpartition("/")[2])
    groups = dict(list(mine.groupby([source, mine["attack"]], sort=False)))
    against = {
        (by, name): pooled_difference(rows, groups[by, "mi-fgsm"], by=("image", "classifier"))
        for (by, name), rows in groups.items()
        if name != "mi-fgsm"
    }
    ahead = adjusted(against)
    lines = []
    for (by, name), rows in groups.items():
        each = rows.groupby("classifier")["flip"].mean()
        lines.append(
            [f"{name}/{short(by)}", pooled_share(rows, "flip"), ahead.get((by, name), "")]
            + [f"{each[other]:.0%}" for other in unrelated]
            + [f"{rows.drop_duplicates('image')['l2'].mean():.1f}"]
        )
    names = [f"{len(unrelated)} unrelated families", "ahead of mi-fgsm", *map(short, unrelated), "L2"]
    return markdown(["flips under", *names], sorted(lines, key=lambda line: line[0].partition("/")[2]))


def defences_table(run: RunFolder) -> str:
    """Return the table of docs/defences.md: each defended classifier beside the network without defences."""
    own = run.summary[run.summary["classifier"] == CLASSIFIER].fillna(dict.fromkeys([*VARIANT, "matched_to"], ""))
    places = ["clean", *dict.fromkeys(named(row) for row in own.loc[own["kind"] == "style", VARIANT].to_numpy())]
    read = f"pgd/{CLASSIFIER}"
    table = run.defences[run.defences["rate"] != "robust_accuracy"]
    same = table[table["variant"] == table["variant_undefended"]]
    lines = []
    for name, rows in table.groupby("classifier", sort=False):
        shown = [same[(same["classifier"] == name) & (same["variant"] == place)] for place in (*places, read)]
        shown.append(rows[(rows["variant"] == f"pgd/{name}") & (rows["variant_undefended"] == read)])
        first = rows.iloc[0]
        cells = ["".join(map(beside, found.to_dict("records"))) for found in shown]
        abstains = "" if pd.isna(first["abstentions"]) else f"{first['abstentions']} of {first['n']}"
        lines.append([f"`{name}`, {first['defences']}", *cells, abstains])
    headings = ["classifier", "right, untouched", *(f"flips, {place}" for place in (*places[1:], f"{read}, unread"))]
    text = markdown([*headings, "flips, pgd that reads it", "abstains, untouched"], lines)
    note = "In brackets: without the defences, and the difference in points with its 95 % interval, image by image."
    return f"{text.rstrip()}\n\n{note}"


def flips_beside(run: RunFolder, others: Mapping[str, str]) -> str:
    """Return flips of the classifiers of a run, and differences between pairs of them, as Markdown.

    Args:
        run: a run without budgets.
        others: for each classifier, the one to compare it with.
    """
    names = list(dict.fromkeys(run.summary["classifier"]))
    columns = dict.fromkeys([*VARIANT, "matched_to"], "")
    lines = []
    for key, rows in run.summary.fillna(columns).groupby([*VARIANT, "matched_to"], sort=False):
        by = rows.set_index("classifier").to_dict("index")
        if by[names[0]]["kind"] == "clean":
            label = "right, untouched"
            cells = [counted(by[n], "clean_accuracy", "n_correct", "n_labelled") for n in names]
        else:
            label = with_copied(key)
            cells = [counted(by[n], "flip_rate", "flips", "n") + " seen" * has_read(run, key[:3], n) for n in names]
        lines.append([label, *cells, f"{by[names[0]]['mean_l2']:.1f}"])
    differences: dict[tuple[str, str], PooledDifference] = {}
    for kind, what in (("clean", "correct_before"), ("style", "flip"), ("control", "flip")):
        of_kind = run.records[run.records["kind"] == kind]
        for attack, rows in of_kind.groupby("attack", sort=False, dropna=False):
            mine = dict(list(rows.groupby("classifier")))
            label = "right, untouched" if kind == "clean" else f"flips, {attack}"
            for name, other in others.items():
                by = ("image", "style", "source", "matched_to")
                differences[label, name] = pooled_difference(mine[name], mine[other], what=what, by=by)
    told = adjusted(differences)
    labels = dict.fromkeys(label for label, _ in differences)
    first = markdown(["flips under", *names, "L2"], lines)
    headings = ["points", *(f"{name} less {other}" for name, other in others.items())]
    second = markdown(headings, [[label, *(told[label, name] for name in others)] for label in labels])
    return f"{first}\n\n{second}\n\np values are adjusted for all differences of this table (Holm)."


def beside_undefended(run: RunFolder) -> str:
    """Return flips of classifiers, and their differences from the first one, EfficientNet-Lite0 undefended."""
    names = list(dict.fromkeys(run.summary["classifier"]))
    return flips_beside(run, dict.fromkeys(names[1:], names[0]))


def with_art_tables(run: RunFolder) -> str:
    """Return flips of networks trained without and with paint, and the differences, at one bit and as float."""
    return flips_beside(run, {"w1a1-art": "w1a1", "float-art": "float"})


def beside(row: dict[Any, Any]) -> str:
    """Return a defended rate and, in brackets, the undefended one and their difference with its interval."""
    low, high = (100 * row[f"difference_{end}"] for end in ("low", "high"))
    points = f"{100 * row['difference']:+.0f} [{low:+.0f}, {high:+.0f}]"
    return f"{row['rate_defended']:.0%} of {row['n']} ({row['rate_undefended']:.0%}, {points})"


def training_table(folder: Path) -> None:
    """Write the table of docs/training.md on what a training has reached, from the cards in its folder."""
    cards = {network.stem: read_card(network) for network in sorted(folder.glob("*.keras"))}
    lines = []
    for name, card in cards.items():
        if card is None or "accuracy" not in card.facts:
            continue
        facts = card.facts
        right = {
            f"rate{end}": facts["accuracy"][key] for end, key in (("", "rate"), ("_low", "low"), ("_high", "high"))
        }
        lines.append([
            name,
            f"{rate(right, 'rate')}, {facts['accuracy']['count']} of {facts['accuracy']['n']}",
            f"{facts['bytes'] / 1000:,.0f} kB",
            f"{facts['bytes_as_float32'] / facts['bytes']:.1f}",
            f"{facts['bytes_of_file'] / 1000:,.0f} kB",
            f"{facts['best_epoch']} of {facts['epochs']}",
            f"{facts['minutes']:.0f}",
        ])  # fmt: skip
    headings = [
        "network",
        "right, of those held out",
        "weights packed",
        "times smaller",
        "file",
        "epoch kept",
        "minutes",
    ]
    insert(HERE / "training.md", markdown(headings, lines), "table of what training reached")


def poster(file: Path) -> None:
    """Put the poster into the page of art attacks."""
    with Image.open(file) as picture:
        width, height = picture.size
    name = keep_picture(file, "poster")
    text = f"![A photo of {width} x {height} pixels painted at its own size](../images/{name})"
    insert(HERE / "lessons" / "art-attack.md", text, "poster")


PICTURES: dict[str, Callable[[Path], Any]] = {  # by the file's name
    "poster": poster,
    "atlas": lambda file: keep_picture(file, "atlas"),
}

PAGES = {  # by the benchmark's name
    "painter": painter_page,
    "default": readme_page,
    "comparison": comparison_page,
    "options": style_page,
}


def runs_in(folder: Path) -> list[RunFolder]:
    """Return the finished runs that a folder is or holds, without those of which only tables are kept."""
    folders = [path.parent for path in sorted([*folder.glob("run.json"), *folder.glob("*/run.json")])]
    return [run for run in map(load_run, folders) if run.info["status"] == "finished" and run.images.exists()]


def efficiency_tables(found: pd.DataFrame) -> str:
    """Return what networks cost, what they are worth, and how long they take, as Markdown."""

    def shown(row: dict[Any, Any], column: str, form: str) -> str:
        return "" if pd.isna(row[column]) else format(row[column], form)

    def exported(row: dict[Any, Any], to: str) -> str:
        failed = f"{to}, export" in str(row["failed"])
        return "failed" if failed else shown(row, f"{to}_mib", ".2f")

    costs, worth, times = [], [], []
    runtimes = ("keras", "compiled", "tflite", "lce")
    for row in found.to_dict("records"):
        known = "parameters" if pd.notna(row["parameters"]) else "published_parameters"
        packed = "packed_mib" if pd.notna(row["packed_mib"]) else "published_mib"
        millions = "" if pd.isna(row["macs"]) else f"{row['macs'] / 1e6:,.0f}"
        costs.append(
            [row["model"], shown(row, known, ","), shown(row, "binary_share", ".1%")]
            + [shown(row, name, ".2f") for name in ("float32_mib", packed)]
            + [exported(row, to) for to in ("tflite", "lce")]
            + [millions, shown(row, "binary_macs_share", ".1%")]
        )
        here = f"{rate(row, 'top1')}, {row['n_correct']} of {row['n_labelled']}" if pd.notna(row["top1"]) else ""
        tops = [shown(row, f"published_{top}", ".1%") for top in ("top1", "top5")]
        source = "" if pd.isna(row["published_source"]) else row["published_source"]
        if row["weights"] != PAINTER:  # which classifies nothing
            worth.append([row["model"], *tops, source, here])
        if pd.notna(row["compiled_ms_one"]):
            times.append(
                [row["model"] + " (random weights)" * (row["weights"] == "random")]
                + [shown(row, f"{name}_cpu_ms_one", ".1f") for name in runtimes]
                + [shown(row, f"{name}_ms_all", ".1f") for name in runtimes]
                + [shown(row, f"{name}_run_mib", ".0f") for name in runtimes]
            )
    headings = [
        ["model", "parameters", "binary", "float32", "packed", "tflite", "lce", "M MACs", "1-bit"],
        ["model", "top-1", "top-5", "published in", "top-1 here"],
        [
            "model",
            *(f"{part}: {name}" for part in ("one", "all", "MiB") for name in ("Keras", "compiled", "TFLite", "LCE")),
        ],
    ]
    tables = zip(headings, (costs, worth, times), strict=True)
    made = found.dropna(subset="machine")
    by = made.fillna({"measured": "a day not noted", "versions": "versions not noted"})
    where = [
        f"{', '.join(rows['model'])}: measured on {machine}, {day}, with {versions}."
        for (machine, day, versions), rows in by.groupby(["machine", "measured", "versions"], sort=False)
    ]
    return "\n\n".join([*(markdown(names, rows) for names, rows in tables if rows), *where])


def main() -> None:
    """Write the pages of all runs in the folders named, and of the tables."""
    done: dict[str, Path] = {}
    if "committed" in sys.argv[1:]:
        for page, marks, text in committed_texts():
            insert(page, text, marks)
        print("written from the committed records")
        sys.argv.remove("committed")
        if not sys.argv[1:]:
            return
    for file in [Path(name) for name in sys.argv[1:] if name.endswith(".csv")]:
        insert(HERE / "efficiency.md", efficiency_tables(read_table(file, EFFICIENCY)))
        done["efficiency"] = file
        sys.argv.remove(str(file))
    for name in list(sys.argv[1:]):
        file = Path(name)
        if file.suffix == ".png" and file.stem in PICTURES:
            PICTURES[file.stem](file)
        elif (file / "settings.json").is_file() and "precisions" in json.loads((file / "settings.json").read_bytes()):
            training_table(file)
        else:
            continue
        done[name] = file
        print(f"{file}: written")
        sys.argv.remove(name)
    for run in (run for folder in sys.argv[1:] for run in runs_in(Path(folder))):
        name = run.info["config"]["benchmark"]["name"]
        write = lesson_page if run.study else PAGES.get(name)
        if write is None:
            print(f"{run.path}: no page has pictures of {name}")
            continue
        if name in done:
            raise SystemExit(f"{run.path} and {done[name]} are both runs of {name}: name one of them")
        done[name] = run.path
        write(run)
        print(f"{run.path}: {name} written")
    if not done:
        raise SystemExit("no finished run there that a page has figures of; name run folders, or folders of them")


if __name__ == "__main__":
    main()
