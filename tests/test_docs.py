"""The documentation: links lead to files and headings, pages are in the navigation, and generated parts are current."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from inspect import signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from artattack.commands.models import agree
from artattack.models.card import Card
from artattack.models.model import PREPROCESSING
from artattack.results.run_folder import StudyResult
from artattack.studies import studies
from artattack.studies.study import Study

ROOT = Path(__file__).parents[1]
if not (ROOT / "docs").is_dir():
    pytest.skip("the documentation is part of the checkout", allow_module_level=True)
PAGES = [
    *ROOT.glob("*.md"),
    *(p for part in ("docs", "results", "datasets", "benchmarks", "artattack") for p in (ROOT / part).rglob("*.md")),
]
LESSONS = sorted(path.stem for path in (ROOT / "docs" / "lessons").glob("*.md") if path.stem != "index")


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_site() -> ModuleType:
    return load("make_site")


def text_of(page: Path) -> str:
    """Return a page without its code, in which brackets are no links."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)\s#]*)#?([^)\s]*)\)", text_of(page)):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"link to {path}"
        if anchor:
            assert anchor in anchors(target), f"link to {path}#{anchor}"


def listed(nav: Any) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    return {page for part in (nav.values() if isinstance(nav, dict) else nav) for page in listed(part)}


def test_every_page_is_in_the_navigation(make_site: ModuleType) -> None:
    nav = re.search(r"^nav:\n(?:(?: .*)?\n)+", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    assert nav is not None
    ours = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert listed(yaml.safe_load(nav[0])["nav"]) == ours | {*make_site.ELSEWHERE.values()}


@pytest.mark.parametrize("name", LESSONS)
def test_the_list_of_lessons_has_them_all(name: str) -> None:
    assert f"({name}.md)" in (ROOT / "docs" / "lessons" / "index.md").read_text("utf-8")


@pytest.mark.parametrize("study", [study for study in studies() if study.name in LESSONS], ids=lambda study: study.name)
def test_the_page_of_a_study_gives_its_question_and_its_run(study: Study) -> None:
    page = (ROOT / "docs" / "lessons" / f"{study.name}.md").read_text("utf-8")
    for words in (
        study.question,
        study.lesson,
        f"artattack study {study.name}",
        f"run `study-{study.name}` of ",
        "configuration `",
    ):
        assert words in page


def test_links_of_the_checkout_become_links_of_the_site(make_site: ModuleType) -> None:
    lines = {
        "[a](docs/lessons/tv.md#answer)": "[a](lessons/tv.md#answer)",
        "[b](results/README.md)": "[b](columns.md)",
        "[c](benchmarks)": "[c](benchmarks.md)",
        "![d](docs/images/readme.png)": "![d](images/readme.png)",
        "[e](results/reference)": "e",  # which the site does not have
        "[f](https://example.org/a)": "[f](https://example.org/a)",
        "`[g](docs/style.md)`": "`[g](docs/style.md)`",
    }
    for before, after in lines.items():
        assert make_site.relink(before, "README.md", "overview.md") == after
    up = make_site.relink("[h](../../README.md#speed) [i](../style.md)", "docs/lessons/tv.md", "lessons/tv.md")
    assert up == "[h](../overview.md#speed) [i](../style.md)"
    with pytest.raises(SystemExit, match=r"README.md: link to docs/nowhere.md, which does not exist"):
        make_site.relink("[j](docs/nowhere.md)", "README.md", "overview.md")


def test_tables_of_figures_are_marked_and_pictures_open_in_full(make_site: ModuleType) -> None:
    figures = "| a | b |\n| --- | --- |\n| a long name of an attack that may break | 50% [15, 85], 2 of 4 |\n"
    words = figures.replace("50%", "what it says in a sentence that goes on")
    assert make_site.lay_out(f"{figures}\n{words}") == f'<div class="figures" markdown>\n\n{figures}\n</div>\n\n{words}'
    assert make_site.lay_out("![a](b.png)\n") == "[![a](b.png)](b.png){.figure}\n"


def test_commands_are_told_with_examples_as_code_and_lists_as_links(make_site: ModuleType) -> None:
    told = make_site.commands()
    assert "\n* [`run`](#artattack-run)\n" in told
    assert "\n* [`fetch`](#artattack-datasets-fetch)\n" in told
    assert "\n* [`models fetch`](#artattack-models-fetch)\n" in told
    assert "```console\n$ artattack styles\n```" in told
    assert "[bold]" not in told
    assert "## `artattack run`" in told


def test_a_site_that_fetches_something_elsewhere_is_found_out(make_site: ModuleType, tmp_path: Path) -> None:
    own = '<script src="a.js"></script><a href="https://example.org">a link</a><link rel="canonical" href="https://b.org">'
    (tmp_path / "own.html").write_text(own + '<img src="data:image/png;base64,AA">')
    (tmp_path / "own.css").write_text("a { background: url(a.svg) url('data:image/svg+xml,b') }")
    assert list(make_site.other_hosts(tmp_path)) == []
    (tmp_path / "other.html").write_text(
        '<script src="//cdn.example/a.js"></script><link href="https://f.example/f.css">'
    )
    (tmp_path / "other.css").write_text("@import 'https://f.example/g.css'; a { src: url(http://f.example/h.woff) }")
    assert list(make_site.other_hosts(tmp_path)) == [
        "other.html fetches //cdn.example/a.js",
        "other.html fetches https://f.example/f.css",
        "other.css fetches https://f.example/g.css",
        "other.css fetches http://f.example/h.woff",
    ]


def test_a_study_fills_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_docs = load("make_docs")
    monkeypatch.setattr(make_docs, "HERE", tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "lessons").mkdir()
    Image.new("RGB", (2800, 700)).save(tmp_path / "figure.png")
    told = StudyResult(
        "tv", "How much?", "Not too much.", "10.", "Flips.", ["case", "flips"], [["a", "1"]], tmp_path / "figure.png"
    )
    run = SimpleNamespace(
        path=tmp_path,
        study=told,
        records={"image": SimpleNamespace(nunique=lambda: 4)},
        info={
            "finished": "2026-11-24T23:44:01+00:00",
            "config_hash": "8e782c03790b",
            "versions": {"artattack": "0.1.0"},
            "config": {"benchmark": {"name": "study-tv", "images": {"set": "samples"}, "seed": 0}},
        },
    )
    with pytest.raises(SystemExit, match=r"tv.md: no such page"):
        make_docs.lesson_page(run)
    page = tmp_path / "lessons" / "tv.md"
    page.write_text("# TV\n\n<!-- study -->\nold\n<!-- end of study -->\n\nours\n")
    with pytest.raises(SystemExit, match=r"no marks <!-- table --> and <!-- end of table -->"):
        make_docs.lesson_page(run)
    page.write_text(page.read_text() + "<!-- table -->\n<!-- end of table -->\n")
    make_docs.lesson_page(run)
    assert page.read_text().split("\n\n") == [
        "# TV",
        "<!-- study -->\n**Asked.** How much?",
        "**Seen in 2020.** Not too much.",
        "![Flips.](../images/study-tv.png)",
        "Flips. Figures and picture: run `study-tv` of 24 November 2026, 4 images of `samples`, seed 0, "
        "artattack 0.1.0, configuration `8e782c03`.\n<!-- end of study -->",
        "ours\n<!-- table -->\n| case | flips |\n| --- | --- |\n| a | 1 |\n<!-- end of table -->\n",
    ]
    with Image.open(tmp_path / "images" / "study-tv.png") as small:
        assert small.size == (1400, 350)


@pytest.mark.slow
def test_figures_of_committed_runs_are_those_of_their_records(tmp_path: Path) -> None:
    make_docs = load("make_docs")
    pages = set()
    for page, marks, text in make_docs.committed_texts():
        copy = tmp_path / page.name
        copy.write_text(page.read_text("utf-8"), "utf-8")
        make_docs.insert(copy, text, marks)
        assert copy.read_text("utf-8") == page.read_text("utf-8"), f"{marks}: python docs/make_docs.py committed"
        pages.add(page.name)
    names = ("comparison", "defences", "efficiency", "hardening", "painter", "people", "recipe", "transfer")
    kept = {path.parent.name.removeprefix("study-") for path in (ROOT / "results").glob("*/study.json")}
    assert "shape-bias" in kept
    assert pages == {"README.md", *(f"{name}.md" for name in (*names, *kept))}


@pytest.mark.parametrize(("name", "l2"), [("near", 5), ("far", 20)])
def test_the_comparison_at_other_distances_has_the_same_recipe(name: str, l2: int) -> None:
    """One more attack, 100 of the photos, and a budget are all else that differs."""
    docs = Path(__file__).parents[1] / "docs"
    whole, other = (yaml.safe_load((docs / f"comparison{end}.yaml").read_text()) for end in ("", f"-{name}"))
    for entry in whole["attacks"]:
        entry |= {"budget": f"l2={l2}"} if "budget" in entry else {"eps": l2} if "eps" in entry else {}
    assert whole["attacks"][-1].pop("source") == "efficientnet_lite0"
    assert other["attacks"][-1].pop("source") == ["bmxnet_resnet18_stage1float", "efficientnet_lite0"]
    changed = {"name": f"comparison-{name}", "images": whole["images"] | {"limit": 100}}
    assert other == whole | changed | ({"budgets": {"ssim": [0.8]}} if name == "far" else {})


def test_a_finding_says_on_which_side_an_interval_lies() -> None:
    told = load("make_docs").standing
    assert told(0.12, 0.05, 0.19, "blur") == "+12 [5, 19] points ahead of blur"
    assert told(-0.12, -0.19, -0.05, "blur") == "-12 [-19, -5] points, so behind blur"
    assert told(0.02, -0.03, 0.07, "blur") == "+2 [-3, 7] points, so not told apart from blur"


def test_headline_figures_are_those_of_classifiers_unrelated_to_every_attack() -> None:
    columns = ["attack", "classifier", "classifier_relation"]
    rows = [["a", "one", "unrelated"], ["b", "one", "unrelated"], ["a", "two", "unrelated"], ["b", "two", "kin"]]
    records = pd.DataFrame([*rows, ["a", "three", "seen"], ["noise", "three", None]], columns=columns)
    assert load("make_docs").unrelated_to_all(records) == ["one"]


NO_RESULTS = {"5 %", "17 %", "30 %", "80 %", "95 %"}  # of intervals, tolerances, chance and options


@pytest.mark.parametrize("name", ["style", "recipe", "comparison", "training"])
def test_percentages_stand_in_generated_tables_alone(name: str) -> None:
    """Figures in prose would not follow a new run."""
    text = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    prose = re.sub(r"<!-- (\w+).*?<!-- end of \1 -->|^```.*?^```|`[^`\n]*`", "", text, flags=re.M | re.S)
    assert {found.replace("%", " %").replace("  ", " ") for found in re.findall(r"\d+ ?%", prose)} <= NO_RESULTS


def test_photos_are_kept_as_jpeg_and_drawings_as_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_docs = load("make_docs")
    monkeypatch.setattr(make_docs, "HERE", tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (2800, 700), "white").save(tmp_path / "a.png")
    assert make_docs.keep_picture(tmp_path / "a.png", "study-x") == "study-x.png"
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    assert make_docs.keep_picture(tmp_path / "a.png", "study-x") == "study-x.jpg"
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["study-x.jpg"]  # not both


def test_a_training_and_a_poster_fill_their_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_docs = load("make_docs")
    monkeypatch.setattr(make_docs, "HERE", tmp_path)
    for folder in ("images", "lessons", "nets"):
        (tmp_path / folder).mkdir()
    facts = {
        "accuracy": {"rate": 0.373, "low": 0.31, "high": 0.44, "count": 91, "n": 244},
        "bytes": 118_000,
        "bytes_as_float32": 3_520_000,
        "bytes_of_file": 233_000,
        "best_epoch": 36,
        "epochs": 40,
        "minutes": 6.2,
    }
    card = Card(title="t", preprocessing="tf", facts=facts)
    (tmp_path / "nets" / "w1a1.json").write_text(card.model_dump_json())
    (tmp_path / "nets" / "w1a1.keras").touch()
    (tmp_path / "nets" / "settings.json").write_text('{"precisions": ["w1a1"]}')
    page = tmp_path / "training.md"
    page.write_text("<!-- table of what training reached -->\n<!-- end of table -->\n")
    make_docs.training_table(tmp_path / "nets")
    assert "| w1a1 | 37% [31, 44], 91 of 244 | 118 kB | 29.8 | 233 kB | 36 of 40 | 6 |" in page.read_text()
    (tmp_path / "lessons" / "art-attack.md").write_text("<!-- poster -->\n<!-- end of poster -->\n")
    Image.new("RGB", (1024, 683)).save(tmp_path / "poster.png")
    make_docs.poster(tmp_path / "poster.png")
    text = (tmp_path / "lessons" / "art-attack.md").read_text()
    assert "![A photo of 1024 x 683 pixels painted at its own size](../images/poster.png)" in text


def test_every_preprocessing_is_named_wherever_they_are_listed() -> None:
    (option,) = signature(agree, eval_str=True).parameters["preprocessing"].annotation.__metadata__
    for text in ((ROOT / "docs" / "models.md").read_text("utf-8"), option.help):
        assert {*PREPROCESSING} <= {*re.findall(r"\w+", text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_table_is_cut_in_two(page: Path) -> None:
    """A row behind a blank line belongs to no table: each table begins with a heading and a line of dashes."""
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text("utf-8"), re.M):
        assert re.match(r"\|.*\n\|[\s:|-]+\|?\n", table), table.splitlines()[0]
