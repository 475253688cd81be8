"""The report of a small run made up here: its numbers, escaped text, other formats, figures."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from artattack.cli import app
from artattack.errors import ArtattackError
from artattack.report import save_figures, summary_table, write_report, write_tables
from artattack.report.figures import COLOURS, GREY, Point, curves, flip_rates, numbers
from artattack.report.findings import count_verdicts, failures, key_figures, skipped
from artattack.report.gallery import amplified, gallery
from artattack.report.page import render
from artattack.report.page_tables import TableCell, rate, with_relations
from artattack.report.plotly_figures import dots, panel
from artattack.report.transfer import OWN, matrices
from artattack.results.columns import TABLES
from artattack.results.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]


class Page(HTMLParser):
    """The texts of a page's tables, by id or else in order, its scripts, and everything that could reach out of it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self.text = ""
        self._table = ""
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [value for name in ("src", "href", "srcset") if (value := values.get(name))]
        if tag == "table":
            self._table = values.get("id") or str(len(self.tables))
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self._inside.append("cell")
            self.tables[self._table][-1].append("")
        elif tag == "script":
            self._inside.append("script")
            self.scripts.append((values.get("type") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "script"):
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text += data
        elif self._inside[-1] == "cell":
            self.tables[self._table][-1][-1] += data
        else:
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data


@pytest.fixture(scope="module")
def html(run: RunFolder) -> str:
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def by_name(rows: list[list[str]]) -> dict[str, dict[str, str]]:
    header, *body = rows
    return {row[0]: dict(zip(header, row, strict=True)) for row in body}


# ---- numbers


def test_numbers_by_hand(run: RunFolder, page: Page) -> None:
    table = by_name(page.tables["summary"])
    assert len(table) == len(run.summary)
    # 6 of 8: Wilson's interval is 41 to 93 %; 1 of 8: 2 to 47 %.
    assert table["style/waves/quick"]["flips"] == "75% [41, 93] 6 of 8"
    assert table["style/waves/quick"]["success"] == "75% [41, 93] 6 of 8"
    assert table["noise as style/waves/quick"]["flips"] == "12% [2, 47] 1 of 8"
    assert table["clean"]["clean error"] == "0% [0, 32] 0 of 8"
    assert table["style/waves/quick"]["L2"] == "2.0"
    assert table["style/waves/quick at l2=1"]["flips"] == "50% [22, 78] 4 of 8"
    controls = by_name(page.tables["controls"])["style/waves/quick"]
    assert controls["deciding control"] == "noise as style/waves/quick"
    assert controls["attack only"] == "5"
    assert controls["verdict"] == "no better"  # 5 images flipped by the one alone: p = 2 / 32
    area = by_name(page.tables["areas"])["style/waves/quick"]
    assert area["flips"].startswith("0.4")  # (0.5 * 0.5 + (0.5 + 0.75) / 2) / 2 = 0.4375


def test_every_rate_of_the_first_table_is_the_summarys(run: RunFolder, page: Page) -> None:
    header, *shown = page.tables["summary"]
    columns = {"flips": ("flip_rate", "flips", "n"), "success": ("success_rate", "successes", "n_correct")}
    columns["top-5 flips"] = ("top5_flip_rate", "top5_flips", "n")
    for row, cells in zip(run.summary.to_dict("records"), shown, strict=True):
        for column, (name, part, whole) in columns.items():
            cell = cells[header.index(column)]
            if pd.isna(row[name]):
                assert cell == ""
            else:
                found = [int(text) for text in re.findall(r"\d+", cell)]
                percents = [f"{100 * row[f'{name}{end}']:.0f}" for end in ("", "_low", "_high")]
                assert found == [*map(int, percents), row[part], row[whole]]
        assert cells[2] == ("" if pd.isna(row["classifier"]) else row["classifier"])


def test_flips_lost_to_rounding_have_a_column_where_there_are_any(
    make_run: MakeRun, page: Page, tmp_path: Path
) -> None:
    assert "lost to rounding" not in page.tables["summary"][0]
    run = make_run(tmp_path / "run")
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    made = [row | {"flip_float": True} if row.get("kind") == "baseline" else row for row in rows]
    run.write_cell("all", made)
    run.finish(["all"])
    table = by_name(Page(render(RunFolder.open(run.path))).tables["summary"])
    assert table["fgsm/lite0"]["lost to rounding"] == "6"  # 8 flips before rounding, 2 after
    assert table["style/waves/quick"]["lost to rounding"] == ""
    assert "lost to rounding" in summary_table(RunFolder.open(run.path)).columns


def test_key_figures_and_the_classifier_that_knows_nothing(run: RunFolder, page: Page) -> None:
    (key,) = key_figures(run)
    assert (key.classifier, key.classes, key.images) == ("lite0", "1000", "8")
    assert list(key.strongest) == ["unseen", "seen"]
    assert key.strongest["unseen"]["style attack"] == ("style/waves/quick", TableCell("75% [41, 93]", 0.75, "6 of 8"))
    assert page.tables["keys-unseen"][1][2:] == [
        "0% [0, 32] 0 of 8",
        "75% [41, 93] 6 of 8style/waves/quick",
        "none",  # fgsm has read lite0
        "12% [2, 47] 1 of 8noise as style/waves/quick",
    ]
    # White-box attacks have their own group.
    assert key.strongest["unseen"]["baseline attack"] is None
    noise = ("noise as style/waves/quick", TableCell("12% [2, 47]", 0.125, "1 of 8"))
    fgsm = ("fgsm/lite0", TableCell("25% [7, 59]", 0.25, "2 of 8"))
    assert key.strongest["seen"] == {"style attack": None, "baseline attack": fgsm, "control": noise}
    assert page.tables["keys-seen"][1][3:5] == ["none", "25% [7, 59] 2 of 8fgsm/lite0"]
    assert rate({"flip_rate": float("nan")}, "flip_rate", "flips").text == ""


def test_verdicts_are_one_table_with_unseen_classifiers_first(run: RunFolder, page: Page) -> None:
    header, *rows = page.tables["controls"]
    assert header[:4] == ["attack", "verdict", "classifier", "relation"]
    assert [row[:4] for row in rows] == [
        ["style/waves/quick", "no better", "lite0", "unseen"],
        ["style/waves/quick at l2=1", "no better", "lite0", "unseen"],
        ["style/waves/quick at l2=2", "no better", "lite0", "unseen"],
        ["fgsm/lite0", "no better", "lite0", "seen"],
    ]
    told = with_relations(run.controls, run.summary)
    assert count_verdicts(told[told["budget"].isna()]) == [
        "of 1 case where the attack did not read the classifier, 1 not shown to have more flips than every control",
        "of 1 case where the attack read the classifier (white box), 1 not shown to have more flips than every control",
    ]
    assert "; ".join(count_verdicts(told[told["budget"].isna()])) in page.text
    assert count_verdicts(told.iloc[:0]) == []


def test_a_run_without_controls_leaves_the_verdict_open_and_has_no_table_of_none(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run")
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    run.write_cell("all", [row for row in rows if row.get("kind") != "control"])
    run.finish(["all"])
    page = Page(render(RunFolder.open(run.path)))
    assert "controls" not in page.tables
    assert "no control was run at the distance of any attack" in " ".join(page.text.split())


def test_an_attack_of_a_kind_of_its_own_is_shown_wherever_attacks_are(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    patches = [row | {"kind": "patch", "attack": "sticker"} for row in rows if row.get("kind") == "style"]
    run.write_cell("patches", patches)
    run.finish(["all", "patches"])
    run = RunFolder.open(run.path)
    name = "sticker/waves/quick"
    assert list(key_figures(run)[0].strongest["unseen"]) == [
        "style attack",
        "baseline attack",
        "control",
        "patch attack",
    ]
    assert key_figures(run)[0].strongest["unseen"]["patch attack"] == (name, TableCell("75% [41, 93]", 0.75, "6 of 8"))
    assert (name, False) in next(flip_rates(run)).rows
    assert [panel.title for panel in next(curves(run)).panels] == ["Style attacks", "Controls", "Patch attacks"]
    assert name in {picture.attack for picture in gallery(run).pictures}
    assert "sticker, waves" in [line.attack for line in next(matrices(run)).lines]
    text = " ".join(Page(render(run)).text.split())
    assert "under 1 style attack, 1 baseline attack, 1 control and 1 patch attack, as seen by lite0" in text


def test_transfer_has_flips_and_successes_at_each_place(run: RunFolder) -> None:
    found = {(matrix.place, matrix.relation, matrix.title): matrix for matrix in matrices(run)}
    places = [(OWN, "unseen"), (OWN, "seen"), ("l2 = 1", "unseen"), ("l2 = 2", "unseen")]
    assert list(found) == [(*place, title) for place in places for title in ("Flips", "Successes")]

    def lines(relation: str) -> list[tuple[str, str, str]]:
        matrix = found[OWN, relation, "Flips"]
        assert matrix.classifiers == ["lite0"]
        return [(line.attack, line.source, line.squares[0].whole) for line in matrix.lines]

    assert lines("unseen") == [("style, waves", "quick", "75% [41, 93], 6 of 8")]
    assert lines("seen") == [("fgsm", "lite0", "25% [7, 59], 2 of 8")]


def test_the_recorded_models_read_override_the_source(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=2)
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    seen = {"style": True, "baseline": False, "control": False}  # guided by lite0; and of its name alone
    run.write_cell("all", [row | {"classifier_seen": seen.get(row.get("kind", ""))} for row in rows])
    run.finish(["all"])
    run = RunFolder.open(run.path)
    unseen, white_box = (
        {line.label for matrix in matrices(run) if matrix.relation == wanted for line in matrix.lines}
        for wanted in ("unseen", "seen")
    )
    assert (unseen, white_box) == ({"fgsm/lite0"}, {"style/waves/quick"})
    (key,) = key_figures(run)
    assert key.strongest["unseen"]["style attack"] is None
    assert "style/waves/quick (white box)" in next(curves(run)).panels[0].curves


def test_figures_hold_the_summarys_numbers(run: RunFolder) -> None:
    rates, white_box = flip_rates(run)
    # Each attack, then the controls matched to it.
    assert rates.rows == [("style/waves/quick", False), ("noise", True)]
    assert [point.value for point in rates.series["lite0"] if point] == [0.75, 0.125]
    assert (white_box.id, white_box.rows) == ("flip-rates-seen", [("fgsm/lite0", False)])
    assert [point.value for point in white_box.series["lite0"] if point] == [0.25]
    figures = {figure.id: figure for figure in curves(run)}
    assert list(figures) == [f"{m}-l2-lite0" for m in ("flip-rate", "success-rate", "mean-confidence-shift")]
    style, noise = figures["flip-rate-l2-lite0"].panels
    assert (style.title, noise.title) == ("Style attacks", "Controls")
    assert {x: point.value for x, point in style.curves["style/waves/quick"].items()} == {0.0: 0.0, 1.0: 0.5, 2.0: 0.75}
    assert style.beside == {0.0: 0.0, 1.0: 0.0, 2.0: 0.25}
    assert noise.beside == {}
    assert numbers(figures["flip-rate-l2-lite0"]) == (
        ["attack", "1", "2"],
        [["style/waves/quick", "50% [22, 78]", "75% [41, 93]"], ["noise", "0% [0, 32]", "25% [7, 59]"]],
    )
    assert numbers(rates)[1][1] == ["– noise", "12% [2, 47]"]


def test_a_similarity_falls_as_distance_grows(make_run: MakeRun, tmp_path: Path) -> None:
    figure = next(curves(make_run(tmp_path / "run", distance="ssim")))
    assert list(figure.panels[0].curves["style/waves/quick"]) == [1.0, 0.9, 0.5]
    assert json.loads(panel(figure, figure.panels[0]))["layout"]["xaxis"]["autorange"] == "reversed"


def test_colours_read_on_the_light_page_and_on_the_dark_one() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in (*COLOURS, GREY):
        for paper in ("#fdfdfb", "#171716"):
            low, high = sorted((luminance(colour), luminance(paper)))
            assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2.1, graphics


# ---- the page


def test_nothing_reaches_out_of_the_page_and_only_its_own_scripts_run(html: str, page: Page) -> None:
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert page.tags.count("link") == 1  # the empty icon
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none';")
    own = [text for kind, text in page.scripts if not kind]
    hashes = ["sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own]
    assert policy.split("script-src ")[1] == f"'{hashes[0]}' '{hashes[1]}'"
    for kind, text in page.scripts:
        if kind == "application/json":
            json.loads(text)
    assert len(html) < 8e6


def test_the_page_reports_failures_skipped_images_and_missing_parts(run: RunFolder, evil: str, page: Page) -> None:
    assert page.tables["failed"][1] == ["(images not read)", f"broken.png: not an image {evil}", "1", "broken"]
    assert "1 of 65 records have no result" in page.text
    assert "8 images of cats" in page.text
    assert "Not run. artattack check RUN checks whether" in page.text
    assert "RANDOM WEIGHTS" not in page.text
    assert skipped(run) == [("lite0", 8, 0, 0, 0, 8)]


def test_failures_of_many_images_are_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1)
    error = {"attack": "pgd", "kind": "baseline", "classifier": "lite0", "error": "no memory"}
    run.write_cell("more", [{"image": f"dog{i}", **error} for i in range(5)])
    run.finish(["all", "more"])
    found, count = failures(RunFolder.open(run.path))
    assert count == 6
    assert found[0] == ("pgd", "no memory", 5, "dog0, dog1, dog2 and 2 more")


def test_checks_are_shown_where_there_are_any(make_run: MakeRun, evil: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1)
    row = {"check": "more steps", "classifier": "lite0", "attack": "pgd", "status": "fail"}
    row |= {"figures": "2 of 8", "meaning": evil}
    pd.DataFrame([row]).to_csv(run.path / "checks.csv", index=False)
    page = Page(render(run))
    assert page.tables["check-results"][1] == list(row.values())
    (run.path / "checks.csv").write_text("")
    with pytest.raises(ArtattackError, match=r"checks\.csv: not a table of artattack"):
        render(run)


def test_untrained_networks_are_marked_loudly_everywhere(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1, weights="random")
    page = Page(render(run))
    assert "RANDOM WEIGHTS: quick was never trained" in page.text
    name = "style/waves/quick RANDOM WEIGHTS"
    tables = page.tables
    assert [row[0] for row in tables["summary"][1:]].count(name) == 1
    assert name.replace("quick ", "quick at l2=1 ") in [row[0] for row in tables["summary"]]
    assert name in [row[0] for row in tables["controls"]]
    assert name in [row[0] for row in tables["areas"]]
    assert tables["pairs"][1][1] == name
    assert "RANDOM WEIGHTS" in tables["keys-unseen"][1][3]
    assert next(flip_rates(run)).rows[0][0] == "style/waves/quick (RANDOM WEIGHTS)"
    assert "style/waves/quick (RANDOM WEIGHTS)" in next(curves(run)).panels[0].curves
    assert "style/waves/quick RANDOM WEIGHTS" in write_tables(run, "latex")
    assert "noise as style/waves/quick RANDOM" not in write_tables(run, "markdown")


def test_text_stays_text(make_run: MakeRun, evil: str, tmp_path: Path) -> None:
    evil = evil.replace("/", "")  # a file name cannot hold a slash
    run = make_run(tmp_path / "run", images=1, name=evil)
    assert (run.records["image"] == f"cat {evil}").any()
    html = render(run)
    page = Page(html)
    assert html.count("<script") == page.tags.count("script") == 2 + 2 + 3 * 2 + 1  # own, dots, curves, files
    assert "<img src=x" not in html
    assert f"cat {evil}, tabby" in page.text
    assert all(not address.startswith("x") for address in page.addresses)


def test_names_are_text_in_figures_and_safe_in_files(run: RunFolder, evil: str) -> None:
    rates = next(flip_rates(run))
    text = dots(rates._replace(rows=[(evil, False)], series={evil: [Point(0.5, 0.4, 0.6)]}))
    assert "<" not in text
    assert json.loads(text)["layout"]["yaxis"]["ticktext"][0].startswith("&lt;/script&gt;")
    assert json.loads(text)["data"][0]["name"].startswith("&lt;/script&gt;")


def test_classifiers_of_similar_names_have_figures_of_their_own(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1)
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    for i, name in enumerate(("../a b", "../A:b")):
        run.write_cell(f"copy{i}", [row | {"classifier": name} for row in rows if "classifier" in row])
    run.finish(["copy0", "copy1"])
    assert [figure.id for figure in curves(RunFolder.open(run.path))] == [
        f"{measure}-l2-..-{name}"
        for name in ("a-b", "A-b-2")
        for measure in ("flip-rate", "success-rate", "mean-confidence-shift")
    ]


def test_a_run_of_failures_alone_and_a_bare_one_have_a_page(tmp_path: Path) -> None:
    failed = RunFolder.create(tmp_path / "failed", {"config": {}})
    failed.write_cell("all", [{"image": "a", "error": "gone"}])
    failed.finish(["all"])
    page = Page(render(RunFolder.open(failed.path)))
    assert "No attack was scored." in page.text
    assert page.tables["failed"][1][1] == "gone"
    bare = RunFolder.create(tmp_path / "bare", {"config": {}})
    bare.write_cell("all", [])
    bare.finish(["all"])
    opened = RunFolder.open(bare.path)
    assert "The run has no results." in render(opened)
    assert save_figures(opened, tmp_path / "figures") == []
    for form in ("csv", "markdown", "latex"):
        assert write_tables(opened, form)


def test_an_unfinished_run_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match="not finished"):
        write_report(RunFolder.create(tmp_path / "run", {"config": {}}))


# ---- gallery


def test_gallery_is_sampled_evenly_and_says_so(make_run: MakeRun, page: Page, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=50)
    found = gallery(run, limit=12)
    assert found.total == 150
    names = [picture.attack for picture in found.pictures]
    assert names == ["style/waves/quick"] * 5 + ["fgsm/lite0"] * 4 + ["noise as style/waves/quick"] * 3
    assert [picture.image for picture in found.pictures[:5]] == ["cat tiny", "cat10", "cat20", "cat30", "cat40"]
    assert found.pictures[0].views == [("lite0", False, False, "tabby 75%", "beer bottle 50%", "success")]
    assert found.pictures[0].true_name == "tabby"
    originals = {picture.original for picture in found.pictures}
    assert len(found.files) == 2 * 12 + len(originals) < 3 * 12  # an original is there once
    assert all(file.startswith("data:image/webp;base64,") for file in found.files.values())
    assert "All 24 pictures" in page.text
    assert "Showing 96 of 150 pictures" in render(run)
    assert gallery(run, limit=1).pictures[0].attack == "style/waves/quick"


def test_pictures_that_are_gone_are_left_out(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=3)
    for file in (run.path / "images" / "style").iterdir():
        file.unlink()
    assert {picture.attack for picture in gallery(run).pictures} == {"fgsm/lite0", "noise as style/waves/quick"}


def test_a_change_is_amplified_by_the_factor_that_is_told() -> None:
    before = np.full((10, 10, 3), 100, np.uint8)
    after = before.copy()
    after[0, 0] = 110, 90, 100
    after[1:] = 108
    factor, shown = amplified(before, after)
    assert factor == 15  # 127 / 8 = 15.9; the change of 10 is 1 % of the values, and clipped
    assert tuple(shown[0, 0]) == (255, 0, 127)
    assert tuple(shown[1, 1]) == (247, 247, 247)  # 127.5 + 15 * 8
    assert amplified(before, before)[0] == 127
    assert amplified(np.zeros_like(before), np.full_like(before, 255))[0] == 1


# ---- what columns mean


def test_the_page_explains_every_column_of_a_runs_files(html: str) -> None:
    glossary = html.partition('<section id="glossary">')[2].partition("</section>")[0]
    sections = dict(part.split("</h3>", 1) for part in glossary.split("<h3>")[1:])
    assert list(sections) == [
        f"{name}.csv"
        for name in ("records", "summary", "controls", "pooled", "pairs", "defences", "judges", "areas", "checks")
    ]
    for name, text in sections.items():
        terms = [term.partition(" <small>")[0] for term in re.findall(r"<dt>(.*?)</dt>", text)]
        assert ", ".join(terms).split(", ") == [column.name for column in TABLES[name]]
    assert "<dt>l2 <small>float64, image units</small></dt><dd>root of the sum of squared differences</dd>" in glossary
    assert "`" not in glossary


# ---- other formats


def test_markdown_and_csv(run: RunFolder, make_run: MakeRun, tmp_path: Path) -> None:
    lines = write_tables(run, "markdown").splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == list(summary_table(run).columns)
    assert len(lines) == 2 + len(run.summary)
    assert "75% [41, 93], 6 of 8" in lines[3]
    assert write_tables(run, "csv") == (run.path / "summary.csv").read_text(encoding="utf-8")
    with pytest.raises(ArtattackError, match="unknown format 'latx'; did you mean 'latex'"):
        write_tables(run, "latx")
    other = make_run(tmp_path / "run", images=1)
    rows = json.loads((other.path / "cells" / "all.json").read_text())["rows"]
    other.write_cell("odd", [row | {"classifier": "a|b <i>*c*"} for row in rows if "classifier" in row])
    other.finish(["odd"])
    assert r"a\|b \<i>\*c\*" in write_tables(RunFolder.open(other.path), "markdown")


def test_latex_is_escaped_and_has_rules(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", name="a_b %}")
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    run.write_cell("odd", [row | {"classifier": "50%_{x}\\#$"} for row in rows if "classifier" in row])
    run.finish(["odd"])
    text = write_tables(RunFolder.open(run.path), "latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{tab:a-b}", "& 75 [41, 93] &"):
        assert part in text
    assert r"50\%\_\{x\}\textbackslash \#\$" in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert body.count("\\\\\n") == 1 + 4  # attacks and controls at their own distance
    assert not re.search(r"(?<!\\)[%_#$]", body)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1


def test_a_long_latex_table_runs_over_pages(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1)
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    keys = []
    for i in range(11):
        keys.append(f"copy{i}")
        run.write_cell(keys[-1], [row | {"classifier": keys[-1]} for row in rows if "classifier" in row])
    run.finish(keys)
    text = write_tables(RunFolder.open(run.path), "latex")
    assert text.startswith("% \\usepackage{booktabs}\n% \\usepackage{longtable}\n\\begin{longtable}")


def test_figures_for_papers(run: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need Matplotlib: pip install artattack[figures]")
    files = save_figures(run, tmp_path / "deep" / "figures")
    names = ["flip-rates", "flip-rates-seen"]
    names += ["unseen-flip-rate", "unseen-success-rate", "seen-flip-rate", "seen-success-rate"]
    names += ["flip-rate-l2-lite0", "success-rate-l2-lite0", "mean-confidence-shift-l2-lite0"]
    assert [file.name for file in files] == [f"{name}.{suffix}" for name in names for suffix in ("png", "svg")]
    for file in files:
        start = file.read_bytes()[:1000]
        assert start.startswith(b"\x89PNG") if file.suffix == ".png" else b"<svg" in start
    first = files[1].read_bytes()
    assert save_figures(run, tmp_path / "again")[1].read_bytes() == first  # the same run, the same file


def test_the_command(run: RunFolder, tmp_path: Path) -> None:
    def says(*words: object) -> Any:
        return CliRunner().invoke(app, ["report", *map(str, words)])

    done = says(run.path, "--out", tmp_path / "a" / "page.html")
    assert done.exit_code == 0
    assert (tmp_path / "a" / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert says(run.path, "--format", "markdown").stdout == write_tables(run, "markdown")
    assert says(run.path, "--format", "latex", "-o", tmp_path / "t.tex").exit_code == 0
    assert r"\toprule" in (tmp_path / "t.tex").read_text()
    for words, message in (((tmp_path,), "no run folder"), ((run.path, "--format", "pdf"), "unknown format 'pdf'")):
        done = says(*words)
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_the_report_needs_no_tensorflow_and_starts_without_the_libraries_it_draws_with(run: RunFolder) -> None:
    code = (
        "import sys; import artattack.report as report; from artattack.results.run_folder import load_run\n"
        "early = [name for name in ('plotly', 'jinja2', 'matplotlib') if name in sys.modules]\n"
        f"report.write_report(load_run({str(run.path)!r}))\n"
        "assert not early, early\n"
        "assert not {'tensorflow', 'keras', 'tf_keras', 'larq', 'art'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_relations_of_classifiers_stand_apart(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=4)
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    told = {"style": "kin", "baseline": "seen", "control": "unrelated"}
    rows = [row | {"classifier_relation": told.get(row.get("kind", ""))} for row in rows]
    other = {"classifier": "squeeze", "classifier_relation": "unrelated"}
    run.write_cell("all", rows + [row | other for row in rows if row.get("kind") == "style"])
    run.finish(["all"])
    run = RunFolder.open(run.path)
    assert {(m.place, m.relation): m.classifiers for m in matrices(run) if m.title == "Flips" and m.place == OWN} == {
        (OWN, "unrelated"): ["squeeze"],
        (OWN, "kin"): ["lite0"],
        (OWN, "seen"): ["lite0"],
    }
    assert [(f.id, f.rows) for f in flip_rates(run)] == [
        ("flip-rates", [("style/waves/quick", False)]),
        ("flip-rates-kin", [("style/waves/quick", False), ("noise", True)]),  # a control goes with what it copies
        ("flip-rates-seen", [("fgsm/lite0", False)]),
    ]
    assert "style/waves/quick (kin)" in next(curves(run)).panels[0].curves
    told_of = with_relations(run.controls, run.summary)
    assert told_of["relation"].tolist() == ["unrelated"] * 3 + ["kin"] * 3 + ["seen"]
    assert [part.partition(",")[0] for part in count_verdicts(told_of)] == [
        "of 3 cases where the classifier is unrelated to the models that the attack read",
        "of 3 cases where the classifier is kin to a model that the attack read",
        "of 1 case where the attack read the classifier (white box)",
    ]
    html = render(run)
    assert 'id="keys-unrelated"' in html
    assert "these figures do not show transfer" not in html
    run.write_cell("all", rows)
    run.finish(["all"])
    assert "these figures do not show transfer to unrelated classifiers" in render(RunFolder.open(run.path))
