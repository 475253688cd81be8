"""The headline of a run: its classifier and attack, its verdict, and the rows of its table."""

import io
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from artattack.commands.printing import print_headline
from artattack.results.against_controls import judge_against_controls
from artattack.results.headline import ROWS, Headline, headline_of
from artattack.results.order import classifiers_by_accuracy
from artattack.results.records import records_frame
from artattack.results.summary import summarise

IMAGES = 10


def rows(
    attack: str, flips: int, classifier: str = "lite", kind: str = "style", right: bool | None = True, **values: Any
) -> list[dict[str, Any]]:
    """Records of one attack on `IMAGES` images, the first `flips` of which it flips."""
    usual = {
        "kind": kind,
        "attack": attack,
        "classifier": classifier,
        "classifier_weights": "imagenet",
        "correct_before": right,
        "true_class": None if right is None else 3,
        "in_label_space": None if right is None else True,
        "l2": 0.0 if kind == "clean" else 20.0,
    }
    if kind not in ("clean", "control"):
        usual |= {"source": "quick", "source_weights": "imagenet", "classifier_seen": False}
    return [usual | {"image": str(i), "flip": i < flips} | values for i in range(IMAGES)]


def untouched(classifier: str, right: int, **values: Any) -> list[dict[str, Any]]:
    found = rows("clean", 0, classifier, "clean", **values)
    return [row | {"correct_before": i < right} for i, row in enumerate(found)]


def headline(*groups: list[dict[str, Any]]) -> Headline:
    records = records_frame([row for group in groups for row in group])
    return headline_of(summarise(records), judge_against_controls(records))


def printed(found: Headline, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_headline(found, console)
    lines: list[str] = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return lines


NOISE = rows("noise", 1, kind="control", matched_to="style/quick")
READ = rows("pgd", 10, kind="baseline", source="lite", classifier_seen=True)


def test_two_sentences_name_the_strongest_unseen_attack_and_the_control_that_decides() -> None:
    found = headline(untouched("lite", 9), rows("style", 8), NOISE, READ)
    assert found.sentences == (
        "On lite, style/quick flips most among the attacks that did not read it: 80% [49, 94] of 10 images, "
        "at a mean L2 of 20.0.",  # Wilson's interval of 8 of 10
        "It flips more than every control at the same distance; the closest, noise as style/quick, flips 10% "
        "(adjusted p 0.016).",  # 7 images flipped by the attack alone: 2 / 128
    )
    assert found.caption == "lite, right on 90% [60, 98] of 10 untouched images; flips with 95 % intervals, most first:"
    assert found.table["attack or control"].tolist() == ["pgd/lite", "style/quick", "noise as style/quick"]
    assert found.table["verdict"].tolist() == ["beats", "beats", "control"]
    assert found.table["relation"].tolist() == ["white box", "", ""]


def test_figures_of_unrelated_classifiers_come_first() -> None:
    """The better classifier is kin of what the stronger attack read, and the headline is about the other one."""
    kin, unrelated = ({"classifier_relation": relation} for relation in ("kin", "unrelated"))
    better = [*untouched("lite", 9), *rows("style", 9, **kin), *rows("pgd", 7, kind="baseline", **kin)]
    other = [*untouched("squeeze", 5), *rows("style", 4, "squeeze", **unrelated)]
    other += rows("pgd", 6, "squeeze", kind="baseline", **kin)
    found = headline(better, other)
    assert found.sentences[0].startswith(
        "On squeeze, style/quick flips most among the attacks that read no relative of it: 40%"
    )
    assert found.table[["attack or control", "relation"]].values.tolist() == [
        ["pgd/quick", "kin"],
        ["style/quick", "unrelated"],
    ]
    alone = headline(better)
    assert "among the attacks that read a relative of it, not itself: 90%" in alone.sentences[0]


def test_targeted_attacks_say_how_often_they_reach_their_target() -> None:
    told = rows("pgd", 10, kind="baseline", target_class=7)
    found = headline(untouched("lite", 9), [row | {"target_hit": n < 5} for n, row in enumerate(told)], NOISE)
    assert found.table["to target"].tolist() == ["50% [24, 76]", ""]  # Wilson's interval of 5 of 10


@pytest.mark.parametrize(
    ("attack", "control", "start"),
    [(4, 2, "It is not shown to flip more"), (1, 9, "It flips fewer than a control"), (9, None, "No control stands")],
)
def test_the_other_verdicts(attack: int, control: int | None, start: str) -> None:
    noise = [] if control is None else rows("noise", control, kind="control", matched_to="style/quick")
    assert headline(untouched("lite", 9), rows("style", attack), noise).sentences[1].startswith(start)


def test_where_every_attack_read_the_classifier_the_headline_says_white_box() -> None:
    first, _ = headline(untouched("lite", 9), READ).sentences
    assert first.startswith("On lite, pgd/lite flips most among the attacks, which all read it (white box): 100%")


def test_the_headline_classifier_is_not_one_that_is_right_on_no_photo() -> None:
    """The first classifier of the benchmark is right on no photo, the last is untrained."""
    luckless = [*untouched("zero", 0), *rows("style", 10, "zero", right=False)]
    random = [*untouched("random", 10), *rows("style", 10, "random")]
    random = [row | {"classifier_weights": "random"} for row in random]
    fair = [*untouched("fair", 6), *rows("style", 5, "fair")]
    found = headline(luckless, random, fair, untouched("good", 7), rows("style", 3, "good"))
    assert found.sentences[0].startswith("On good, style/quick flips most")
    assert found.table.iloc[0].to_dict() == {
        "attack or control": "style/quick",
        "flips": "30% [11, 60]",
        "verdict": "no control",
        "L2": "20.0",
        "fair": "50%",
        "zero": "100%",
        "random RANDOM WEIGHTS": "100%",
    }
    summary = summarise(records_frame([*luckless, *random, *fair]))
    assert classifiers_by_accuracy(summary) == ["fair", "zero", "random"]


def test_the_table_is_one_screen_and_the_rest_is_counted() -> None:
    attacks = [row for n in range(ROWS + 5) for row in rows(f"style{n}", n % 10)]
    at_budgets = rows("style1", 2, budget_distance="l2", budget=20.0)
    found = headline(untouched("lite", 9), attacks, at_budgets)
    rates = [float(cell.split("%")[0]) for cell in found.table["flips"]]
    assert (len(rates), rates) == (ROWS, sorted(rates, reverse=True))
    lines = printed(found)
    assert len(lines) == 1 + 1 + ROWS + 1 + 2  # caption, header, rows, what is left out, two sentences
    assert "6 more attacks and controls are in the report." in lines  # five, and one at a budget


def test_attacks_at_budgets_stand_in_the_table_where_there_is_no_other() -> None:
    found = headline(untouched("lite", 9), rows("style", 4, budget_distance="l2", budget=20.0))
    assert found.table["attack or control"].tolist() == ["style/quick at l2=20"]


def test_an_attack_judged_at_the_budget_that_is_its_own_ball_has_its_verdict() -> None:
    """At a larger budget the attack has the same images, short of it."""
    ball = {"eps_norm": "l2", "eps": 20.0}
    at, beyond = ({"budget_distance": "l2", "budget": budget} for budget in (20.0, 40.0))
    pgd = [rows("pgd", 8, kind="baseline", **ball, **place) for place in ({}, at, beyond)]
    noise = [rows("noise", 1, kind="control", **at), rows("noise", 9, kind="control", **beyond, l2=40.0)]
    found = headline(untouched("lite", 9), *pgd, *noise)
    assert "It flips more than every control" in found.sentences[1]
    assert found.table["verdict"].tolist() == ["beats"]


def test_without_labels_or_attacks_the_headline_says_less() -> None:
    clean = rows("clean", 0, kind="clean", right=None)
    found = headline(clean, rows("style", 4, right=None))
    assert found.caption == "lite; flips with 95 % intervals, most first:"
    assert headline(clean).sentences == ("No attack was scored.",)
    assert headline([]).table.empty
    assert printed(headline(clean)) == ["No attack was scored."]
    controls = headline(clean, rows("noise", 2, kind="control", right=None, matched_to="style/quick"))
    assert controls.sentences == ("No attack was scored on lite.",)


def test_a_narrow_terminal_keeps_attack_flips_and_verdict() -> None:
    found = headline(untouched("lite", 9), rows("style", 8), untouched("other", 3), rows("style", 2, "other"))
    for width in (40, 60, 100):
        table = [line for line in printed(found, width) if not line.startswith(("On ", "No control", "lite,"))]
        assert max(map(len, table)) <= width
    assert printed(found, 40)[1].split()[-2:] == ["flips", "verdict"]
    assert printed(found)[1].split() == ["attack", "or", "control", "flips", "verdict", "L2", "other"]


@pytest.mark.parametrize("role", ["source_weights", "classifier_weights"])
def test_random_weights_are_marked_loudly(role: str) -> None:
    shown = [*untouched("lite", 9), *rows("style", 8)]
    text = " ".join(printed(headline([row | {role: "random"} for row in shown])))
    assert text.count("RANDOM WEIGHTS") == 2  # the name and the note below
    assert "RANDOM WEIGHTS: untrained networks" in text
    backbone = rows("noise", 1, kind="control", source_weights="random")
    assert "RANDOM" not in " ".join(printed(headline(untouched("lite", 9), rows("style", 8), backbone)))


def test_names_are_not_markup() -> None:
    found = headline(untouched("[red]x[/red]", 9), rows("style", 8, "[red]x[/red]"))
    assert "On [red]x[/red]," in " ".join(printed(found))
    assert isinstance(found.table, pd.DataFrame)
