"""The report of a small run made up here: its numbers, that text stays text, other formats, figures."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from artattack.cli import app
from artattack.comparison import CONTROL_COLUMNS, PAIR_COLUMNS
from artattack.errors import ArtattackError
from artattack.records import RECORD_COLUMNS, SUMMARY_COLUMNS
from artattack.report import save_figures, summary_table, write_report, write_tables
from artattack.report.figures import curves, flip_rates, to_plotly
from artattack.report.gallery import pictures
from artattack.report.glossary import glossary
from artattack.results import RunFolder

MakeRun = Callable[..., RunFolder]


class Page(HTMLParser):
    """The texts of a page's tables, by id, and everything that could reach out of it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._table = ""
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [value for name in ("src", "href", "srcset") if (value := values.get(name))]
        if tag == "table":
            self._table = values.get("id") or ""
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self._cell = True
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[self._table][-1][-1] += data


@pytest.fixture(scope="module")
def html(run: RunFolder) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_numbers_by_hand(run: RunFolder, html: str) -> None:
    rows = Page(html).tables["summary"]
    header, *body = rows
    table = {row[0]: dict(zip(header, row, strict=True)) for row in body}
    assert len(body) == len(run.summary)
    # 6 of 8: Wilson's interval is 41 to 93 %; 1 of 8: 2 to 47 %.
    assert table["style/waves/quick"]["flips"] == "6 of 8, 75% [41, 93]"
    assert table["style/waves/quick"]["success"] == "6 of 8, 75% [41, 93]"
    assert table["noise as style/waves/quick"]["flips"] == "1 of 8, 12% [2, 47]"
    assert table["clean"]["clean error"] == "0 of 8, 0% [0, 32]"
    assert table["style/waves/quick"]["L2"] == "2.0"
    assert table["style/waves/quick at l2=1"]["flips"] == "4 of 8, 50% [22, 78]"
    controls = Page(html).tables["controls"]
    first = dict(zip(controls[0], controls[1], strict=True))
    assert (first["attack"], first["best control"]) == ("style/waves/quick", "noise as style/waves/quick")
    assert first["verdict"] == "no better"  # 5 images flipped by the one alone: p = 2 / 32
    assert Page(html).tables["areas"][1][6].startswith("0.4")  # (0.5 * 0.5 + (0.5 + 0.75) / 2) / 2 = 0.4375


def test_every_number_of_the_first_table_is_the_summarys(run: RunFolder, html: str) -> None:
    shown = Page(html).tables["summary"][1:]
    for row, cells in zip(run.summary.to_dict("records"), shown, strict=True):
        assert cells[4].startswith(f"{row['flips']} of {row['n']}, {row['flip_rate']:.0%}") or row["n"] == 0
        assert cells[1] == ("" if pd.isna(row["classifier"]) else row["classifier"])


def test_nothing_reaches_out_of_the_page(html: str) -> None:
    page = Page(html)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "default-src 'none'" in html
    assert "link" not in page.tags or html.count("<link") == 1  # the empty icon


def test_failures_and_what_was_not_run_are_said(html: str) -> None:
    assert "broken.png: not an image" in html
    assert "Not run. <code>artattack check</code>" in html
    assert "RANDOM WEIGHTS" not in html


def test_checks_are_shown_where_there_are_any(make_run: MakeRun, evil: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    row = {
        "check": "iterative",
        "classifier": "lite0",
        "attack": "pgd",
        "status": "fail",
        "figures": "2",
        "meaning": evil,
    }
    pd.DataFrame([row]).to_csv(run.path / "checks.csv", index=False)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.tables["checks"][1] == ["iterative", "lite0", "fail", "2", evil]


def test_untrained_networks_are_marked_loudly(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    info = json.loads((run.path / "run.json").read_text())
    info["config"]["models"]["quick"]["weights"] = "random"
    (run.path / "run.json").write_text(json.dumps(info))
    assert "RANDOM WEIGHTS: quick was never trained" in write_report(run).read_text(encoding="utf-8")


def test_text_stays_text(make_run: MakeRun, evil: str, tmp_path: Path) -> None:
    evil = evil.replace("/", "")  # a file name has none
    run = make_run(tmp_path / "run", name=evil)
    records = run.records
    assert (records["image"] == f"cat {evil}").any()
    html = write_report(run).read_text(encoding="utf-8")
    assert html.count("<script") == Page(html).tags.count("script") == 2 + len(list(curves(run))) + 1
    assert "<img src=x" not in html
    page = Page(html)
    assert all(not address.startswith("x") for address in page.addresses)


def test_figures_hold_the_summarys_numbers_and_no_markup(run: RunFolder, evil: str) -> None:
    rates = flip_rates(run)
    assert rates.categories == ["style/waves/quick", "fgsm/lite0", "noise as style/waves/quick"]
    assert rates.series[0].y == [0.75, 0.25, 0.125]
    figures = {figure.id: figure for figure in curves(run)}
    assert list(figures) == [f"{m}-l2-lite0" for m in ("flip-rate", "success-rate", "mean-confidence-shift")]
    style, noise = figures["flip-rate-l2-lite0"].series
    assert (style.x, style.y, style.control) == ([0.0, 1.0, 2.0], [0.0, 0.5, 0.75], False)
    assert (noise.y, noise.control) == ([0.0, 0.0, 0.25], True)
    series = rates.series[0]._replace(name=evil, x=[evil], y=[0.5], low=[0.4], high=[0.6])
    text = to_plotly(rates._replace(categories=[evil], series=[series]))
    assert "<" not in text
    assert json.loads(text)["layout"]["yaxis"]["ticktext"][0].startswith("&lt;/script&gt;")


def test_gallery_is_sampled_evenly_and_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=30)
    chosen, total = pictures(run, limit=10)
    assert total == 60
    assert [picture.attack for picture in chosen] == ["style/waves/quick"] * 5 + ["fgsm/lite0"] * 5
    assert [picture.image for picture in chosen[:5]] == ["cat tiny", "cat6", "cat12", "cat18", "cat24"]
    assert chosen[0].views[0].before == "tabby 75%"
    assert chosen[0].views[0].after == "beer bottle 50%"
    many = make_run(tmp_path / "many", images=50)
    assert "Showing 72 of 100 pictures" in write_report(many).read_text(encoding="utf-8")


def test_pictures_that_are_gone_are_left_out(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=3)
    for file in (run.path / "images" / "style").iterdir():
        file.unlink()
    chosen, _ = pictures(run)
    assert {picture.attack for picture in chosen} == {"fgsm/lite0"}


@pytest.mark.parametrize("columns", [("records.csv", RECORD_COLUMNS), ("summary.csv", SUMMARY_COLUMNS),
                                     ("controls.csv", CONTROL_COLUMNS), ("pairs.csv", PAIR_COLUMNS)])  # fmt: skip
def test_the_glossary_of_the_page_has_every_column(columns: tuple[str, dict[str, str]], html: str) -> None:
    title, names = columns
    told = {name for entry in glossary()[title] for name in re.findall(r"\w+", entry.columns)}
    assert set(names) <= told
    assert f"<h3>{title}</h3>" in html


# ---- other formats


def test_markdown_and_csv(run: RunFolder) -> None:
    lines = write_tables(run, "markdown").splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == list(summary_table(run).columns)
    assert len(lines) == 2 + len(run.summary)
    assert "6 of 8, 75% [41, 93]" in lines[3]
    assert write_tables(run, "csv") == (run.path / "summary.csv").read_text(encoding="utf-8")
    with pytest.raises(ArtattackError, match="unknown format 'latx'; did you mean 'latex'"):
        write_tables(run, "latx")


def test_latex_is_escaped_and_has_rules(make_run: MakeRun, tmp_path: Path) -> None:
    text = write_tables(make_run(tmp_path / "run", name="a_b"), "latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{tab:a_b}", r"75\% [41, 93]"):
        assert part in text
    body = text[text.index(r"\toprule") :]
    assert body.count(r"\\") == 1 + len(RunFolder.open(tmp_path / "run").summary)
    assert not re.search(r"(?<!\\)[%_#]", body.split(r"\bottomrule")[0])


def test_figures_for_papers(run: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need Matplotlib: pip install artattack[figures]")
    files = save_figures(run, tmp_path / "deep" / "figures")
    names = ["flip-rates", "flip-rate-l2-lite0", "success-rate-l2-lite0", "mean-confidence-shift-l2-lite0", "transfer"]
    assert [file.name for file in files] == [f"{name}.{suffix}" for name in names for suffix in ("png", "svg")]
    for file in files:
        start = file.read_bytes()[:200]
        assert start.startswith(b"\x89PNG") if file.suffix == ".png" else b"<svg" in file.read_bytes()[:1000]


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
