"""The survey page: pictures of a run in one HTML file, which asks people what they see and needs no network."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup

from artattack.errors import ArtattackError, nearest, one_line, unknown
from artattack.files import to_path, write_file
from artattack.inputs.entry_classes import ENTRY_CLASSES
from artattack.inputs.images import read_image
from artattack.inputs.styles import load_styles
from artattack.report.page import policy_hash, template
from artattack.report.pictures import data_uri, original_file
from artattack.results.answers import FORMAT, VERSION, seed_of
from artattack.results.people import class_names_of, entry_class, pictures_of, style_id
from artattack.results.records import CLEAN
from artattack.results.run_folder import RunFolder, load_run

LANGUAGES = ("en", "de")
LEAST_SECONDS = 0.2
_NEIGHBOURS = 3  # classes beside the true one in the order of WordNet ids
_FAR = 25  # least distance in that order from the true class to classes drawn at random
_STYLE_SIDE = 160  # px
_LOSSLESS = 100


class Survey(NamedTuple):
    """A survey page that was written.

    Attributes:
        path: the HTML file.
        photos: number of photos in trials, without practice and attention checks.
        versions: names of the versions of each photo, including the untouched one.
        per_person: number of pictures that one person answers, including attention checks, without practice.
        size: size of the file in bytes.
        left_out: number of photos left out because the untouched picture cannot be read, or because their class is not
            one of the entry-level classes asked for.
    """

    path: Path
    photos: int
    versions: tuple[str, ...]
    per_person: int
    size: int
    left_out: int


@dataclass(frozen=True)
class _Asked:
    """The photos of a survey, by image id: for trials, for practice and for attention checks."""

    trials: list[str]
    practice: list[str]
    attention: list[str]


def make_survey(
    run: RunFolder | str | Path,
    out: str | Path | None = None,
    *,
    language: str = "en",
    consent: str | Path | None = None,
    seconds: float | None = None,
    mask: bool = False,
    versions: Sequence[str] = (),
    per_person: int | None = None,
    classes: Literal["run", "entry"] = "run",
    choices: int = 12,
    ask_style: bool = False,
    ask_altered: bool = False,
    practice: int = 3,
    attention: int = 3,
    quality: int = _LOSSLESS,
    seed: int | None = None,
) -> Survey:
    """Write a page that asks people what they see in the pictures of a run.

    Each person sees a photo in one version only: untouched, attacked or under a control. A Latin square over photos and
    persons balances the versions; its row is the number at the end of a person's code or, without one, a hash of the
    code. The seed and the code determine the order. The page keeps answers in the browser, and participants save them
    as a file; `add_answers` reads the files.

    Args:
        run: a finished run, or its folder.
        out: the file; by default `survey.html` in the run folder.
        language: `en`, `de`, or a YAML or JSON file with the texts.
        consent: text file that replaces the consent text at the start; empty lines separate paragraphs.
        seconds: time for which a picture is shown, from 0.2 to 3600; None leaves it beside the answers.
        mask: whether noise follows the picture for 0.2 s; needs `seconds`.
        versions: names of attacks and controls to show beside the untouched photos, such as `style` or
            `style/waves/quicknet_distilled`; by default all.
        per_person: maximum number of photos in one person's trials; by default all.
        classes: classes offered. `run` offers the true class, the classifiers' top-1 classes before and after,
            neighbours in the order of WordNet ids, and others at random. `entry` offers the 16 classes of Geirhos et
            al. (ICLR 2019), and leaves out photos of other classes.
        choices: number of classes offered with each picture for `run`, from 2 to 34, without *cannot tell*. More are
            offered if the true class, the classifiers' classes and the neighbours are more.
        ask_style: whether to ask which of the run's styles the picture is painted in.
        ask_altered: whether to ask if the picture was altered.
        practice: number of untouched photos shown first, for practice.
        attention: number of attention checks: untouched photos that every classifier classifies correctly, shown in
            between. The answers of a person who misses half of them or more do not count.
        quality: WebP quality of the pictures, from 1 to 100; 100 shows exactly the pixels that classifiers see.
        seed: seed of every random choice; by default the run's.

    Raises:
        ArtattackError: an option is out of range, a version is unknown, a file cannot be read or written, or the run
            has too few photos.
    """
    _check(seconds, mask, choices, practice, attention, per_person, quality)
    opened = load_run(run)
    texts, code = _texts(language)
    own_consent = texts.pop("consent")
    seed = seed_of(opened) if seed is None else seed
    records = opened.records
    pictures = _chosen(pictures_of(records, seed_of(opened)), versions)
    everything = pictures["image"].nunique()
    if classes == "entry":
        pictures = pictures[[entry_class(int(index)) is not None for index in pictures["true_class"]]]
        if pictures.empty or not set(class_names_of(records)) >= set(range(1000)):
            raise ArtattackError(
                "classes entry: no photo of the run has one of the 16 entry-level classes; ask for run"
            )
    pixels = _read(opened, pictures)
    pictures = pictures[pictures["picture"].isin(pixels)]
    pictures = pictures[pictures["image"].isin(pictures.loc[pictures["kind"] == CLEAN, "image"])]
    asked = _split(records, pictures, practice, attention, seed)
    labels = list(pictures["label"].drop_duplicates())
    untouched = pictures[pictures["kind"] == CLEAN].set_index("image")["picture"]
    order = random.Random(f"{seed}:versions")
    order.shuffle(labels)  # so that its place does not reveal a version
    by_place = pictures.set_index(["image", "label"])["picture"]
    grids = _grids(records, pictures, asked, classes, choices, seed)
    shown = {*pictures.loc[pictures["image"].isin(asked.trials), "picture"]}
    shown |= {untouched[image] for image in (*asked.practice, *asked.attention)}
    content = {
        "format": FORMAT,
        "version": VERSION,
        "run": str(opened.info.get("config_hash", "")),
        "language": code,
        "texts": texts,
        "consent": _paragraphs(own_consent if consent is None else _text_of(consent)),
        "seed": seed,
        "seconds": seconds,
        "mask": mask,
        "ask_classes": classes,
        "asks": ["style"] * ask_style + ["altered"] * ask_altered,
        "per_person": per_person or len(asked.trials),
        "photos": [[by_place.get((image, label)) for label in labels] for image in asked.trials],
        "practice": [untouched[image] for image in asked.practice],
        "attention": [untouched[image] for image in asked.attention],
        "pictures": {
            name: {
                "src": _embedded(pixels[name], quality),
                "ratio": round(pixels[name].shape[1] / pixels[name].shape[0], 4),
                "grid": grids[name],
            }
            for name in sorted(shown)
        },
        "styles": _styles(opened, texts) if ask_style else [],
    }
    named = texts.pop("classes")
    names = {str(index): name for index, name in class_names_of(records).items()} | {
        name: name for name in ENTRY_CLASSES
    }
    used = sorted({value for name in shown for value in grids[name]})
    content["classes"] = {value: named.get(names[value], names[value]) for value in used}
    if ask_style and not content["styles"]:
        raise ArtattackError("ask-style: the run has no style; leave the question out")
    content["survey"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    page = _render(content)
    path = opened.path / "survey.html" if out is None else to_path(out)
    write_file(path, page)
    answers = min(per_person or len(asked.trials), len(asked.trials)) + len(asked.attention)
    photos = len(asked.trials)
    left_out = everything - photos - len(asked.practice) - len(asked.attention)
    return Survey(path, photos, tuple(pictures["label"].drop_duplicates()), answers, len(page), left_out)


def _check(
    seconds: float | None,
    mask: bool,
    choices: int,
    practice: int,
    attention: int,
    per_person: int | None,
    quality: int,
) -> None:
    if mask and seconds is None:
        raise ArtattackError("mask: noise follows a picture that goes; set seconds, too")
    if seconds is not None and not LEAST_SECONDS <= seconds <= 3600:
        raise ArtattackError(
            f"seconds: {seconds:g} is not between {LEAST_SECONDS:g} and 3600; leave it out for no limit"
        )
    if not 2 <= choices <= 34:
        raise ArtattackError(f"choices: {choices} is not between 2 and 34")
    if practice < 0 or attention < 0 or (per_person is not None and per_person < 1):
        raise ArtattackError("practice and attention are 0 or more, photos per person 1 or more")
    if not 1 <= quality <= _LOSSLESS:
        raise ArtattackError(f"quality: {quality} is not between 1 and {_LOSSLESS}")


def _chosen(pictures: pd.DataFrame, versions: Sequence[str]) -> pd.DataFrame:
    """Return the pictures of the untouched photos and of the named versions; of all versions if none is named."""
    if pictures.empty:
        raise ArtattackError("survey: the run has no labelled photo with its pictures")
    if not versions:
        return pictures
    clean = pictures["kind"] == CLEAN
    known = {*pictures.loc[~clean, "attack"], *pictures.loc[~clean, "label"]}
    for name in versions:
        if name not in known:
            raise unknown("version", name, known)
    return pictures[clean | pictures["attack"].isin(versions) | pictures["label"].isin(versions)]


def _read(run: RunFolder, pictures: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the pictures that can be read, uint8 (H, W, 3), by id."""
    found = {}
    for row in pictures.to_dict("records"):
        file = original_file(row) if row["kind"] == CLEAN else str(row["file"])
        try:
            found[str(row["picture"])] = read_image(run.path / file)
        except ArtattackError:
            continue
    if not found:
        raise ArtattackError(f"{run.path}: no pictures in images/: a survey needs the run with its images")
    return found


def _split(records: pd.DataFrame, pictures: pd.DataFrame, practice: int, attention: int, seed: int) -> _Asked:
    """Draw the photos for practice and attention checks; the others are for trials."""
    images = sorted(pictures["image"].unique())
    random.Random(f"{seed}:photos").shuffle(images)
    if len(images) <= practice + attention:
        raise ArtattackError(
            f"survey: {len(images)} photos with pictures, of which {practice} are for practice and {attention} for "
            "attention checks: nothing is left to ask about; lower --practice and --attention"
        )
    known = records[records["correct_before"].notna()]
    right = known.groupby("image")["correct_before"].min()
    easy = [image for image in images if bool(right.get(image, False))]
    if len(easy) < attention:
        raise ArtattackError(
            f"survey: attention checks take photos that every classifier names right, and there are {len(easy)}, not "
            f"{attention}; lower --attention"
        )
    checks = easy[:attention]
    rest = [image for image in images if image not in checks]
    return _Asked(rest[practice:], rest[:practice], checks)


def _grids(
    records: pd.DataFrame,
    pictures: pd.DataFrame,
    asked: _Asked,
    classes: str,
    choices: int,
    seed: int,
) -> dict[str, list[str]]:
    """Return the classes offered with each picture: numbers as text, or entry-level classes.

    All versions of a photo share the classes drawn for it. An attention check offers the true class and far ones only.
    """
    if classes == "entry":
        return {name: list(ENTRY_CLASSES) for name in pictures["picture"]}
    names = class_names_of(records)
    labelled = records[records["error"].isna() & records["true_class"].notna()]
    said: dict[str, set[int]] = {}
    for when in ("before", "after"):
        keys = labelled["file"] if when == "after" else labelled["image"]
        for key, index, name in zip(keys, labelled[f"top1_class_{when}"], labelled[f"top1_name_{when}"], strict=True):
            if pd.notna(index) and names.get(int(index)) == name:
                said.setdefault(f"{when}:{key}", set()).add(int(index))
    imagenet = len(names) == 1000
    order = list(names)
    places = {index: place for place, index in enumerate(order)}
    drawn: dict[str, tuple[list[int], list[int]]] = {}
    grids = {}
    for row in pictures.to_dict("records"):
        image, true = str(row["image"]), int(row["true_class"])
        if image not in drawn:
            rng = random.Random(f"{seed}:grid:{image}")
            place = places[true]
            near = [order[place + step] for step in (-1, 1, -2, 2, -3, 3) if 0 <= place + step < len(order)]
            near = near[:_NEIGHBOURS] if imagenet else []
            least = _FAR if imagenet else 1
            far = [index for index in order if abs(places[index] - place) >= least]
            drawn[image] = near, rng.sample(far, len(far))
        near, far = drawn[image]
        wanted = [true]
        if image not in asked.attention:
            wanted += sorted({*said.get(f"before:{image}", ()), *said.get(f"after:{row['file']}", ())}) + near
        grids[str(row["picture"])] = _distinct([*wanted, *far], names, choices, len({*wanted}))
    return grids


def _distinct(wanted: Collection[int], names: Mapping[int, str], choices: int, least: int) -> list[str]:
    """Return the first `choices` classes with different names, or the first `least` if that is more, as text."""
    kept: dict[str, int] = {}
    for index in dict.fromkeys(wanted):
        if len(kept) >= max(choices, least):
            break
        kept.setdefault(names[index], index)
    return [str(index) for index in sorted(kept.values())]


def _embedded(pixels: np.ndarray, quality: int) -> str:
    """Return a picture as a data URI, without loss at quality 100."""
    return data_uri(pixels, max(pixels.shape[:2]), quality if quality < _LOSSLESS else None)


def _styles(run: RunFolder, texts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return id, name and image of each style of a run; the image is empty if it cannot be read, or for a blend."""
    found = []
    for style in run.records["style"].dropna().unique():
        try:
            image = (load_styles(style, _STYLE_SIDE)[0] * 255).round().astype(np.uint8)
            source = data_uri(image, _STYLE_SIDE, 85) if "+" not in style else ""
        except ArtattackError:
            source = ""
        name = Path(style).stem if "/" in style or "\\" in style else style
        found.append({"id": style_id(style), "name": texts["classes"].get(name, name.replace("-", " ")), "src": source})
    return found


def _text_of(path: str | Path) -> str:
    try:
        return to_path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtattackError(f"{path}: cannot be read as text in UTF-8: {one_line(error)}") from error


def _paragraphs(text: str) -> list[str]:
    found = [" ".join(part.split()) for part in text.replace("\r\n", "\n").split("\n\n")]
    if not any(found):
        raise ArtattackError("consent: the text is empty")
    return [part for part in found if part]


def _texts(language: str) -> tuple[dict[str, Any], str]:
    """Return the texts of the page, and the code of their language.

    Raises:
        ArtattackError: the file does not exist, is no mapping of texts, or has a key that the page does not know.
    """
    own = files("artattack.report") / "languages"
    english: dict[str, Any] = yaml.safe_load((own / "en.yaml").read_text("utf-8"))
    if language in LANGUAGES:
        return english | yaml.safe_load((own / f"{language}.yaml").read_text("utf-8")), language
    path = to_path(language)
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise ArtattackError(f"unknown language '{language}' (valid: {', '.join(LANGUAGES)}, or a YAML or JSON file)")
    try:
        given = yaml.safe_load(_text_of(path))
    except yaml.YAMLError as error:
        raise ArtattackError(f"{path}: not valid YAML or JSON: {one_line(error)}") from error
    if not isinstance(given, dict):
        raise ArtattackError(f"{path}: a mapping from the keys of a language to texts is wanted")
    code = given.pop("language", path.stem)
    for key, text in given.items():
        if key not in english:
            raise ArtattackError(f"{path}: unknown key '{key}'{nearest(str(key), english)}")
        pairs = text.items() if key == "classes" and isinstance(text, dict) else [(key, text)]
        if (key == "classes") != isinstance(text, dict) or not all(isinstance(value, str) for _, value in pairs):
            raise ArtattackError(f"{path}: {key}: a text is wanted; put words such as yes in quotes")
    return english | given, str(code)


def _render(content: Mapping[str, Any]) -> bytes:
    """Return the page. Its content security policy admits only its own script, and no requests."""
    own = files("artattack.report") / "templates"
    script = (own / "survey.js").read_text("utf-8")
    data = json.dumps(content, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        data = data.replace(character, f"\\u{ord(character):04x}")
    page = template("survey.html").render(
        language=content["language"],
        title=content["texts"]["title"],
        style=Markup("".join((own / name).read_text("utf-8") for name in ("colours.css", "survey.css"))),
        script=Markup(script),
        script_hash=policy_hash(script),
        data=Markup(data),
    )
    return page.encode()
