"""The survey in a browser, as a participant takes it. Skipped where there is no Chromium."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artattack.report.survey import make_survey
from artattack.results.answers import read_answers
from artattack.results.people import pictures_of
from artattack.results.run_folder import RunFolder

pytestmark = pytest.mark.slow

Keys = pytest.importorskip("selenium.webdriver.common.keys", reason="needs selenium").Keys
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
PRACTICE, ATTENTION, TRIALS = 1, 2, 5


@pytest.fixture(scope="module")
def run(make_run: Callable[..., RunFolder], evil: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("survey") / "run", images=12, name=evil.replace("/", ""))


@pytest.fixture(scope="module")
def page(run: RunFolder) -> Path:
    return make_survey(run, practice=PRACTICE, attention=ATTENTION, per_person=TRIALS).path


@pytest.fixture
def desk(browser: Any) -> Iterator[Any]:
    """A browser that forgets what the page has kept."""
    yield browser
    browser.execute_script("localStorage.clear()")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get_log("browser")


def found(browser: Any, selector: str) -> list[Any]:
    elements: list[Any] = browser.find_elements("css selector", selector)
    return elements


def until(browser: Any, *selectors: str) -> Any:
    """Return the first element of the first selector that there is."""
    return WebDriverWait(browser, 60).until(
        lambda driver: next((own[0] for own in (found(driver, selector) for selector in selectors) if own), None)
    )


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def begin(browser: Any, page: Path, code: str) -> None:
    browser.get(page.as_uri())
    until(browser, "#code-input").clear()
    press(browser, code, Keys.ENTER)
    until(browser, "#agree").click()
    until(browser, "button.main").click()
    until(browser, "#go").click()


def answer_all(browser: Any, answer: Callable[[Any], None], stop: int = 10_000) -> int:
    """Answer pictures until the end, or until so many are answered; return how many were."""
    done = 0
    while done < stop:
        next_one = until(browser, "#save-json", "#go", ".choice")
        name = next_one.get_attribute("id")
        if name == "save-json":
            break
        if name == "go":
            next_one.click()
            continue
        browser.execute_script("document.querySelector('fieldset').dataset.asked = 'yes'")
        answer(browser)
        WebDriverWait(browser, 60).until(lambda driver: not found(driver, "fieldset[data-asked]"))
        done += 1
    return done


def by_mouse(browser: Any) -> None:
    labels = found(browser, ".choice")
    next(label for label in labels if label.text.split("\n")[-1] == "tabby").click()
    found(browser, "#next")[0].click()


def by_keys(browser: Any) -> None:
    labels = found(browser, ".choice")
    tabby = next(label for label in labels if label.text.split("\n")[-1] == "tabby")
    press(browser, tabby.find_element("css selector", "kbd").text.lower(), Keys.ENTER)


def file_of(browser: Any, kind: str = "json") -> str:
    text: str = browser.execute_script("return artattackSurvey.file(arguments[0])", kind)
    return text


@pytest.mark.parametrize("answer", [by_mouse, by_keys])
def test_a_participant_answers_to_the_end_and_the_file_is_read_back(
    desk: Any, page: Path, run: RunFolder, tmp_path: Path, answer: Callable[[Any], None]
) -> None:
    begin(desk, page, "P-1")
    assert answer_all(desk, answer) == PRACTICE + ATTENTION + TRIALS
    for kind in ("json", "csv"):
        (tmp_path / f"answers.{kind}").write_text(file_of(desk, kind), newline="")
    read = read_answers(run, tmp_path)
    assert (read.people, read.left_out) == (1, ())
    assert Counter(read.table["role"]) == {"practice": PRACTICE, "attention": ATTENTION, "trial": TRIALS}
    assert read.table["right"].all()
    assert not read.table["image"].duplicated().any()
    assert (read.table["seconds"] > 0).all()
    (tmp_path / "answers.json").unlink()
    csv_alone = read_answers(run, tmp_path).table
    assert csv_alone.drop(columns="file").equals(read.table.drop(columns="file"))
    assert desk.get_log("browser") == []


def test_the_order_follows_from_the_code_and_versions_are_balanced(desk: Any, page: Path, run: RunFolder) -> None:
    desk.get(page.as_uri())
    trials = "return artattackSurvey.trialsOf(arguments[0]).map(t => [t.role, t.picture])"
    first, again, other = (desk.execute_script(trials, code) for code in ("A1", "A1", "A2"))
    assert first == again != other
    pictures = pictures_of(run.records, 3).set_index("picture")
    versions: Counter[tuple[str, str]] = Counter()
    for n in range(400):
        own = desk.execute_script(trials, f"{n}P")
        names = [name for role, name in own if role == "trial"]
        images = pictures.loc[[name for _, name in own], "image"]
        assert not images.duplicated().any()
        assert len(names) == TRIALS
        versions.update(zip(pictures.loc[names, "image"], pictures.loc[names, "label"], strict=True))
    assert len(versions) == (12 - PRACTICE - ATTENTION) * 4
    mean = 400 * TRIALS / len(versions)
    assert all(abs(count - mean) < 5 * mean**0.5 for count in versions.values())


def test_people_with_numbered_codes_see_each_photo_once_in_each_version(
    desk: Any, run: RunFolder, tmp_path: Path
) -> None:
    desk.get(make_survey(run, tmp_path / "s.html", practice=0, attention=0).path.as_uri())
    seen: Counter[str] = Counter()
    for code in ("P08", "P09", "P10", "P11"):
        seen.update(desk.execute_script("return artattackSurvey.trialsOf(arguments[0]).map(t => t.picture)", code))
    assert seen == Counter(pictures_of(run.records, 3)["picture"])


def test_a_page_reloaded_in_the_middle_goes_on_where_it_was(desk: Any, page: Path) -> None:
    begin(desk, page, "P2")
    answer_all(desk, by_keys, stop=3)
    until(desk, ".choice")
    kept = json.loads(desk.execute_script("return Object.entries(localStorage).find(([k]) => k.endsWith(':P2'))[1]"))
    desk.refresh()
    assert until(desk, "#code-input").get_attribute("value") == "P2"
    assert "2 of 7" in until(desk, "#found").text
    press(desk, Keys.ENTER)
    assert answer_all(desk, by_keys) == PRACTICE + ATTENTION + TRIALS - 3
    told = json.loads(file_of(desk))
    assert told["answers"][:3] == kept["answers"]
    assert [answer["showings"] for answer in told["answers"]] == [1, 1, 1, 2, *[1] * 4]
    desk.refresh()
    press(desk, Keys.ENTER)
    assert until(desk, "#save-json").is_displayed()  # the file can be saved again
    assert json.loads(file_of(desk)) | {"screen": ""} == told | {"screen": ""}


def test_a_phone_shows_the_picture_and_all_answers_without_scrolling_sideways(desk: Any, page: Path) -> None:
    desk.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    )
    begin(desk, page, "P3")
    until(desk, ".choice")
    assert desk.execute_script("return document.documentElement.scrollWidth") <= 390
    for element in (*found(desk, ".choice"), *found(desk, ".stage img"), *found(desk, "#next")):
        box = element.rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["height"] >= 40  # a finger's width
    answer_all(desk, by_mouse)
    assert until(desk, "#save-csv").is_displayed()


def test_a_short_look_a_mask_and_further_questions(desk: Any, run: RunFolder, tmp_path: Path) -> None:
    made = make_survey(
        run,
        tmp_path / "s.html",
        practice=0,
        attention=0,
        per_person=2,
        seconds=0.2,
        mask=True,
        ask_style=True,
        ask_altered=True,
        language="de",
    )
    begin(desk, made.path, "P4")
    asked = []

    def answer(browser: Any) -> None:
        asked.append(found(browser, "h2")[0].text)
        assert found(browser, ".stage") == []  # the picture is gone
        press(browser, "1", Keys.ENTER)

    assert answer_all(desk, answer) == 2 * 3
    assert asked[:3] == [
        "Was ist auf dem Bild zu sehen?",
        "In welchem dieser Stile ist es gemalt?",
        "Wurde das Bild verändert?",
    ]
    told = json.loads(file_of(desk))
    assert all(0.15 <= answer["shown_seconds"] <= 5 for answer in told["answers"])
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "a.json").write_text(json.dumps(told))
    table = read_answers(run, tmp_path / "answers").table
    assert table["style_said"].tolist() == ["waves"] * 2
    assert table["altered_said"].tolist() == ["yes"] * 2


def test_it_fetches_nothing_and_tells_a_bad_code(desk: Any, page: Path) -> None:
    desk.get_log("performance")
    desk.get(page.as_uri())
    until(desk, "#code-input")
    press(desk, "ä b", Keys.ENTER)
    assert "letters, digits" in until(desk, "#code-wrong").text
    events = [json.loads(entry["message"])["message"] for entry in desk.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {address for address in asked if not address.startswith("data:")} == {page.as_uri()}
    assert desk.get_log("browser") == []
    assert desk.execute_script("return window.evil") is None
