"""The report in a browser: no error, no request, and what can be clicked works. Skipped where there is no Chromium."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artattack.report import write_report
from artattack.results import RunFolder

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium")
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("the browser test needs Chromium and chromedriver", allow_module_level=True)
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "hide-scrollbars",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(make_run: Callable[..., RunFolder], evil: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("run") / "run", images=20, name=evil.replace("/", ""))
    return write_report(run)


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(page.as_uri())
    ready = "return document.getElementById('gallery-page').textContent"  # which the page's script writes last
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(ready))
    return browser


def js(browser: Any, code: str) -> Any:
    return browser.execute_script(f"return {code}")


def test_it_opens_without_an_error_or_a_request(opened: Any, page: Path) -> None:
    assert js(opened, "document.querySelectorAll('.plot .main-svg').length") > 1
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {address for address in asked if not address.startswith(("data:", "blob:"))} == {page.as_uri()}
    assert opened.get_log("browser") == []


def test_text_from_names_stays_text(opened: Any, evil: str) -> None:
    assert js(opened, "window.evil") is None
    assert js(opened, "document.querySelector('h1').textContent") == evil.replace("/", "")
    assert js(opened, "document.querySelectorAll('img[src=x]').length") == 0


def test_a_heading_sorts_by_numbers_down_and_up(opened: Any) -> None:
    def flips() -> list[float]:
        rows = "[...document.querySelectorAll('#summary tbody tr')]"
        values = js(opened, f"{rows}.filter(r => r.cells[4].textContent).map(r => r.cells[4].dataset.sort)")
        return [float(value) for value in values]

    heading = "document.querySelector('#summary thead').rows[0].cells[4]"
    before = flips()
    assert before != sorted(before)
    js(opened, f"{heading}.querySelector('button').click()")
    assert flips() == sorted(before)
    assert js(opened, f"{heading}.getAttribute('aria-sort')") == "ascending"
    js(opened, f"{heading}.querySelector('button').click()")
    assert flips() == sorted(before, reverse=True)
    last = "document.querySelector('#summary tbody').lastElementChild.cells[4].textContent"
    assert js(opened, last) == ""  # what is missing stands last either way


def test_a_table_is_filtered(opened: Any) -> None:
    field = opened.find_element("css selector", "input[data-table=summary]")
    field.send_keys("noise l2=2")
    shown = js(
        opened, "[...document.querySelectorAll('#summary tbody tr')].filter(r => !r.hidden).map(r => r.innerText)"
    )
    assert len(shown) == 1
    assert "noise at l2=2" in shown[0]
    assert js(opened, "document.querySelector('#table-summary .count').textContent") == "1 of 9 rows"


def test_the_gallery_has_pages_and_a_choice(opened: Any) -> None:
    shown = "[...document.querySelectorAll('#gallery article')].filter(a => !a.hidden)"
    assert js(opened, f"{shown}.length") == 12
    first = js(opened, f"{shown}[0].innerText")
    assert js(opened, "document.getElementById('gallery-page').textContent") == "page 1 of 4, 40 pictures"
    js(opened, "document.getElementById('gallery-next').click()")
    assert js(opened, f"{shown}[0].innerText") != first
    js(opened, "document.getElementById('gallery-flips').click()")
    assert set(js(opened, f"{shown}.map(a => a.dataset.flip)")) == {"1"}
    loaded = "[...document.querySelectorAll('#gallery img')].every(i => i.complete && i.naturalWidth)"
    assert js(opened, loaded)


def test_another_curve_can_be_chosen(opened: Any) -> None:
    js(opened, "(() => { const c = document.getElementById('curve-choice'); c.selectedIndex = 1; "
               "c.dispatchEvent(new Event('change')); })()")  # fmt: skip
    visible = js(opened, "[...document.querySelectorAll('.curve')].filter(c => !c.hidden).map(c => c.dataset.curve)")
    assert visible == ["success-rate-l2-lite0"]
    assert js(opened, "document.querySelectorAll('.curve:not([hidden]) .main-svg').length") > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(opened: Any, page: Path, scheme: str) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    opened.get(page.as_uri())
    assert js(opened, "document.documentElement.scrollWidth") <= 390
    red = js(opened, "getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")[0]
    assert (int(red) < 64) == (scheme == "dark")
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
