"""The survey page: what it holds, without a browser."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from artattack.cli import app
from artattack.errors import ArtattackError
from artattack.inputs.images import read_image
from artattack.report.survey import make_survey
from artattack.results.people import pictures_of
from artattack.results.run_folder import RunFolder


def content_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="survey">(.*?)</script>', page.read_text("utf-8"), re.S)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


@pytest.fixture(scope="module")
def cats(make_run: Callable[..., RunFolder], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("survey") / "run", images=16)


@pytest.fixture(scope="module")
def content(cats: RunFolder) -> dict[str, Any]:
    return content_of(make_survey(cats, practice=2, attention=3).path)


def test_each_photo_comes_in_every_version_and_in_one_role(cats: RunFolder, content: dict[str, Any]) -> None:
    pictures = pictures_of(cats.records, 3).set_index("picture")
    assert len(content["photos"]) == 16 - 5
    labels = [[pictures.loc[name, "label"] for name in versions] for versions in content["photos"]]
    assert all(row == labels[0] for row in labels)  # columns of the square
    assert sorted(labels[0]) == ["clean", "fgsm/lite0", "noise as style/waves/quick", "style/waves/quick"]
    roles = [versions[0] for versions in content["photos"]] + content["practice"] + content["attention"]
    assert len(set(pictures.loc[roles, "image"])) == 16
    assert set(pictures.loc[content["practice"] + content["attention"], "label"]) == {"clean"}
    assert {*content["pictures"]} == {name for row in content["photos"] for name in row} | {*roles[11:]}


def test_pictures_are_the_exact_pixels(cats: RunFolder, content: dict[str, Any]) -> None:
    import base64
    import io

    row = pictures_of(cats.records, 3).query("label == 'fgsm/lite0'").set_index("picture")
    name = next(name for name in content["pictures"] if name in row.index)
    shown = Image.open(io.BytesIO(base64.b64decode(content["pictures"][name]["src"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), read_image(cats.path / row.loc[name, "file"]))


def test_grids_offer_the_truth_what_classifiers_said_neighbours_and_others(
    cats: RunFolder, content: dict[str, Any]
) -> None:
    pictures = pictures_of(cats.records, 3).set_index("picture")
    after = cats.records.drop_duplicates("file").set_index("file")["top1_class_after"]
    for name, picture in content["pictures"].items():
        grid = [int(value) for value in picture["grid"]]
        assert len(set(grid)) == len(grid) == 12
        assert len({content["classes"][value] for value in picture["grid"]}) == 12
        assert 281 in grid
        if name in content["attention"]:
            assert all(index == 281 or abs(index - 281) >= 25 for index in grid)
        else:
            assert {280, 282, after[pictures.loc[name, "file"]]} <= {*grid}
    versions = content["photos"][0]
    others = [{value for value in content["pictures"][name]["grid"] if value != "440"} for name in versions]
    assert all(len(others[0] & other) >= 10 for other in others)  # versions of a photo share what is drawn


def test_a_page_is_the_same_each_time_and_tells_no_names(cats: RunFolder, tmp_path: Path) -> None:
    first, second = (make_survey(cats, tmp_path / f"{n}.html").path.read_bytes() for n in "ab")
    assert first == second
    assert make_survey(cats, tmp_path / "c.html", seed=9).path.read_bytes() != first
    content = content_of(tmp_path / "a.html")
    for picture in content["pictures"].values():
        del picture["src"]
    for word in ("cat1", "fgsm", "waves", "lite0", "original"):
        assert word not in json.dumps(content)
    assert "://" not in first.decode().partition("<main")[0]


def test_versions_are_chosen_by_name(cats: RunFolder, tmp_path: Path) -> None:
    made = make_survey(cats, tmp_path / "a.html", versions=["style"], per_person=4)
    assert made.versions == ("clean", "style/waves/quick")
    assert made.per_person == 4 + 3
    with pytest.raises(ArtattackError, match="unknown version 'stile'; did you mean 'style'"):
        make_survey(cats, tmp_path / "a.html", versions=["stile"])


def test_entry_classes_are_the_sixteen(cats: RunFolder, tmp_path: Path) -> None:
    content = content_of(make_survey(cats, tmp_path / "a.html", classes="entry", language="de").path)
    grids = Counter(len(picture["grid"]) for picture in content["pictures"].values())
    assert [*grids] == [16]
    assert content["classes"]["cat"] == "Katze"


def test_own_texts_stay_text(cats: RunFolder, tmp_path: Path, evil: str) -> None:
    (tmp_path / "consent.txt").write_text(f"One\nline.\n\n{evil}")
    (tmp_path / "fr.yaml").write_text(json.dumps({"title": f"Que voyez-vous ? {evil}", "classes": {"tabby": "tigré"}}))
    made = make_survey(cats, tmp_path / "a.html", consent=tmp_path / "consent.txt", language=str(tmp_path / "fr.yaml"))
    content = content_of(made.path)
    assert content["consent"] == ["One line.", evil]
    assert content["classes"]["281"] == "tigré"
    assert content["texts"]["next"] == "Next"  # not translated
    assert content["language"] == "fr"
    page = made.path.read_text("utf-8")
    assert "<script>window.evil" not in page
    assert page.count("<script") == 2


def test_languages_have_the_same_texts_with_the_same_places() -> None:
    import yaml

    from artattack.report import survey

    folder = Path(survey.__file__).parent / "languages"
    english, german = (yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")) for name in ("en", "de"))
    assert {*english} == {*german}
    for key, text in english.items():
        if key != "classes":
            assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", german[key])), key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.1}, r"seconds: 0\.1 is not between 0\.2 and 3600"),
        ({"mask": True}, "mask: noise follows a picture that goes; set seconds, too"),
        ({"choices": 1}, "choices: 1 is not between 2 and 34"),
        ({"practice": 13}, "16 photos with pictures, of which 13 are for practice and 3 for attention checks: nothing"),
        ({"attention": -1}, "practice and attention are 0 or more"),
        ({"quality": 0}, "quality: 0 is not between 1 and 100"),
        ({"language": "fr"}, r"unknown language 'fr' \(valid: en, de, or a YAML or JSON file\)"),
        ({"consent": "nowhere.txt"}, "nowhere.txt: cannot be read as text"),
    ],
)
def test_options_out_of_range_get_one_line(
    cats: RunFolder, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtattackError, match=message):
        make_survey(cats, tmp_path / "a.html", **options)
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel: Was?", r"unknown key 'titel'; did you mean 'title'\?"),
        ("yes: no", r"unknown key 'True'"),
        ("title: 3", "title: a text is wanted"),
        ("classes: tabby", "classes: a text is wanted"),
        ("- a", "a mapping from the keys"),
        ("a: [", "not valid YAML or JSON"),
    ],
)
def test_a_language_file_with_a_mistake_gets_one_line(cats: RunFolder, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "xx.yaml").write_text(text)
    with pytest.raises(ArtattackError, match=message) as raised:
        make_survey(cats, tmp_path / "a.html", language=str(tmp_path / "xx.yaml"))
    assert "\n" not in str(raised.value)


def test_the_command_says_what_it_wrote_and_refuses_what_does_not_go_together(cats: RunFolder, tmp_path: Path) -> None:
    run = CliRunner().invoke
    out = str(tmp_path / "a.html")
    done = run(app, ["survey", str(cats.path), "-o", out, "--versions", "style, fgsm", "--ask-style"])
    assert done.exit_code == 0, done.output
    assert "10 photos in 3 versions: clean, style/waves/quick, fgsm/lite0" in done.output
    assert [style["name"] for style in content_of(Path(out))["styles"]] == ["waves"]
    for words in (["survey"], ["survey", str(cats.path), "--plan", "--answers", "x"]):
        assert run(app, words).exit_code == 2


def test_a_run_without_its_pictures_is_refused(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    import shutil

    run = make_run(tmp_path / "run")
    shutil.rmtree(run.images)
    with pytest.raises(ArtattackError, match="no pictures in images/"):
        make_survey(run)
