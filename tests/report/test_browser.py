"""The report in a browser: no error, no request, and working controls. Skipped without Chromium."""

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from artattack.report import write_report
from artattack.results.run_folder import RunFolder

pytestmark = pytest.mark.slow

WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui", reason="needs selenium").WebDriverWait
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys


@pytest.fixture(scope="module")
def page(make_run: Callable[..., RunFolder], evil: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("run") / "run", images=20, name=evil.replace("/", ""))
    check = {"check": "more steps", "classifier": "lite0", "attack": "pgd", "status": "pass", "figures": evil}
    pd.DataFrame([check | {"meaning": "it holds"}]).to_csv(run.path / "checks.csv", index=False)
    return write_report(run)


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(page.as_uri())
    ready = "return document.querySelector('#gallery .page')?.textContent"  # which the page's script writes last
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(ready))
    return browser


def js(browser: Any, code: str) -> Any:
    return browser.execute_script(f"return {code}")


def choose(browser: Any, name: str, value: str) -> None:
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))",
        name,
        value,
    )


def test_it_opens_without_an_error_or_a_request(opened: Any, page: Path) -> None:
    assert js(opened, "document.querySelectorAll('.plot .main-svg').length") > 1
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {address for address in asked if not address.startswith("data:")} == {page.as_uri()}
    loaded = js(opened, "performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert opened.get_log("browser") == []


def test_text_from_names_stays_text(opened: Any, evil: str) -> None:
    name = evil.replace("/", "")
    assert js(opened, "window.evil") is None
    assert js(opened, "document.querySelector('h1').textContent") == name
    assert js(opened, "document.querySelectorAll('img[src=x]').length") == 0
    assert js(opened, "document.getElementById('gallery-image').options[1].text").startswith("cat <script>")
    assert js(opened, "document.querySelector('#gallery article img').alt") == f"cat {name}, original"


def test_the_policy_of_the_page_stops_scripts_that_are_not_its_own(opened: Any) -> None:
    js(opened, """(() => { const s = document.createElement('script'); s.textContent = 'window.evil = 1';
               document.body.append(s); })()""")  # fmt: skip
    assert js(opened, "window.evil") is None
    assert "Content Security Policy" in str(opened.get_log("browser"))


FLIPS = 5  # the column


def test_a_heading_sorts_by_numbers_down_and_up(opened: Any) -> None:
    def flips() -> list[float]:
        rows = "[...document.querySelectorAll('#summary tbody tr')]"
        cell = f"r.cells[{FLIPS}]"
        return [float(v) for v in js(opened, f"{rows}.filter(r => {cell}.textContent).map(r => {cell}.dataset.sort)")]

    heading = opened.find_elements("css selector", "#summary thead th")[FLIPS]
    assert heading.text.startswith("flips")
    assert heading.get_attribute("aria-sort") == "none"
    before = flips()
    assert before != sorted(before)
    button = heading.find_element("css selector", "button")
    js(opened, f"document.querySelectorAll('#summary thead button')[{FLIPS}].focus()")
    assert opened.switch_to.active_element == button
    button.send_keys("\n")  # with the keyboard
    assert flips() == sorted(before)
    assert heading.get_attribute("aria-sort") == "ascending"
    button.send_keys(" ")
    assert flips() == sorted(before, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    last = "document.querySelector('#summary tbody').lastElementChild"
    assert js(opened, f"{last}.cells[{FLIPS}].textContent") == ""  # what is missing stands last either way
    js(opened, "document.querySelector('#summary thead button').click()")
    names = js(opened, "[...document.querySelectorAll('#summary tbody tr')].map(r => r.cells[0].textContent)")
    assert [name for name in names if name] == sorted(name for name in names if name)
    assert heading.get_attribute("aria-sort") == "none"


def test_a_table_is_filtered(opened: Any) -> None:
    field = opened.find_element("css selector", "#summary-table input")
    field.send_keys("control l2=2")
    shown = js(
        opened, "[...document.querySelectorAll('#summary tbody tr')].filter(r => !r.hidden).map(r => r.innerText)"
    )
    assert len(shown) == 1
    assert "noise at l2=2" in shown[0]
    assert js(opened, "document.querySelector('#summary-table .count').textContent") == "1 of 9 rows"
    assert js(opened, "document.querySelector('#check-results-table .count').textContent") == "1 of 1 rows"


def test_the_gallery_has_pages_and_choices(opened: Any) -> None:
    shown = "[...document.querySelectorAll('#gallery article')].filter(a => !a.hidden)"

    def said() -> str:
        return str(js(opened, "document.querySelector('#gallery .page').textContent"))

    def press(name: str) -> None:
        js(opened, f"document.querySelector('#gallery .{name}').click()")

    assert js(opened, f"{shown}.length") == 8
    assert js(opened, "document.querySelectorAll('#gallery img[src]').length") == 3 * 8  # the others wait
    first = js(opened, f"{shown}[0].innerText")
    assert said() == "page 1 of 8, 60 pictures"
    assert js(opened, "document.querySelector('#gallery .previous').disabled")
    press("next")
    assert js(opened, f"{shown}[0].innerText") != first
    assert said() == "page 2 of 8, 60 pictures"
    for _ in range(9):
        press("next")
    assert said() == "page 8 of 8, 60 pictures"
    assert js(opened, f"{shown}.length") == 4
    js(opened, "document.getElementById('gallery-flips').click()")
    assert set(js(opened, f"{shown}.map(a => a.dataset.flip)")) == {"1"}
    choose(opened, "gallery-attack", "fgsm/lite0")
    choose(opened, "gallery-image", "cat1")
    assert said() == "page 1 of 1, 1 pictures"
    assert js(opened, f"{shown}[0].querySelector('h3').textContent") == "cat1, tabby"
    WebDriverWait(opened, 60).until(
        lambda _: js(opened, "[...document.querySelectorAll('#gallery img[src]')].every(i => i.naturalWidth)")
    )


def test_another_curve_and_another_place_can_be_chosen(opened: Any) -> None:
    choose(opened, "curve-choice", "success-rate-l2-lite0")
    visible = "[...document.querySelectorAll('.curve')].filter(c => !c.hidden)"
    assert js(opened, f"{visible}.map(c => c.dataset.curve)") == ["success-rate-l2-lite0"]
    assert js(opened, f"{visible}[0].querySelectorAll('.main-svg').length") > 0
    choose(opened, "transfer-choice", "l2 = 2")
    places = js(
        opened, "[...document.querySelectorAll('[data-place]')].filter(m => !m.hidden).map(m => m.dataset.place)"
    )
    assert places == ["l2 = 2"]


def test_headings_and_labels_are_there_for_those_who_do_not_see(opened: Any) -> None:
    levels = js(opened, "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert js(opened, "[...document.querySelectorAll('.plot')].every(p => p.ariaLabel.length > 20)")
    controls = "[...document.querySelectorAll('input, select, button')]"
    assert js(opened, f"{controls}.every(e => e.labels?.length || e.ariaLabel || e.textContent)")
    assert js(opened, "[...document.querySelectorAll('main table')].every(t => t.caption || t.closest('article'))")
    assert js(opened, "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == js(
        opened, "document.querySelectorAll('[id]').length"
    )


def set_width(browser: Any, width: int, *, mobile: bool = False) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture
def sizable(opened: Any) -> Iterator[Any]:
    yield opened
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(sizable: Any, page: Path, scheme: str) -> None:
    set_width(sizable, 390, mobile=True)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    sizable.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    sizable.get(page.as_uri())
    assert js(sizable, "document.documentElement.scrollWidth") <= 390
    red = js(sizable, "getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")[0]
    assert (int(red) < 64) == (scheme == "dark")


def test_nothing_is_cut_when_the_window_becomes_as_narrow_as_a_phone(sizable: Any, page: Path) -> None:
    set_width(sizable, 1280)
    sizable.get(page.as_uri())
    wide = js(sizable, "document.querySelector('#flip-rates .main-svg').getBoundingClientRect().width")
    assert wide > 700
    set_width(sizable, 390)  # as when it is turned: nothing is loaded anew
    drawn = "[...document.querySelectorAll('.plot .main-svg')].filter(s => s.getBoundingClientRect().width)"
    fits = f"{drawn}.every(s => s.getBoundingClientRect().right <= innerWidth)"
    WebDriverWait(sizable, 20).until(lambda _: js(sizable, fits))
    assert js(sizable, f"{drawn}.length") > 2
    # The names of the attacks stand above their points, where the narrow page has room for them.
    assert "style/waves/quick" in js(sizable, "document.querySelector('#flip-rates .infolayer').textContent")
    # Elements wider than the page scroll in their own boxes.
    outside = """[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth
        && !e.closest('.scroll, .plot, pre')).map(e => e.outerHTML.slice(0, 200))"""
    assert js(sizable, outside) == []
    assert js(sizable, "document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("width", "shown"), [(390, 704), (1280, 1000)])
def test_a_studys_figure_can_be_read_on_a_phone(
    sizable: Any, make_run: Callable[..., RunFolder], tmp_path: Path, width: int, shown: int
) -> None:
    run = make_run(tmp_path / "run")
    Image.new("RGB", (1000, 200)).save(run.path / "study.png")
    told = dict.fromkeys(("name", "question", "lesson", "answer", "caption"), "words")
    (run.path / "study.json").write_text(json.dumps(told | {"headings": ["case"], "rows": [["one"]]}))
    set_width(sizable, width, mobile=width < 500)
    sizable.get(write_report(run).as_uri())
    assert js(sizable, "document.querySelector('#study img').getBoundingClientRect().width") == shown
    assert js(sizable, "document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 1280])
def test_the_first_screen_shows_a_picture_before_and_after(sizable: Any, page: Path, width: int) -> None:
    set_width(sizable, width)
    sizable.get(page.as_uri())
    assert js(sizable, "document.querySelector('main section').id") == "striking"
    box = js(sizable, "document.querySelector('.compare').getBoundingClientRect().toJSON()")
    assert box["bottom"] < 844
    assert box["width"] > 300
    assert js(sizable, "[...document.querySelectorAll('.compare img')].every(i => i.naturalWidth)")


def test_the_handle_between_two_pictures_is_moved_with_the_keyboard(opened: Any) -> None:
    def shown() -> str:
        return str(js(opened, "getComputedStyle(document.querySelector('.compare .before')).clipPath"))

    assert "50%" in shown()
    handle = opened.find_element("css selector", ".compare input")
    js(opened, "document.querySelector('.compare input').focus()")
    handle.send_keys(Keys.HOME)
    assert "100%" in shown()  # all of the original is cut away
    handle.send_keys(Keys.ARROW_RIGHT * 3)
    assert "97%" in shown()
    assert handle.get_attribute("aria-valuetext") == "3 % original"


def test_paper_has_every_curve_and_picture(opened: Any) -> None:
    printed = opened.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(printed).startswith(b"%PDF")
    assert js(opened, "[...document.querySelectorAll('.plot')].every(p => p.dataset.drawn)")
    assert js(opened, "[...document.querySelectorAll('#gallery img')].every(i => i.src)")
    shown = "[...document.querySelectorAll('.curve, #gallery article')].filter(e => !e.hidden).length"
    assert js(opened, shown) == 1 + 8  # as it was
