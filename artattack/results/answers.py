"""Answers of a survey: participants' files, checked, and written into the run folder as `answers.csv`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from artattack.errors import ArtattackError
from artattack.files import shown, to_path
from artattack.inputs.entry_classes import ENTRY_CLASSES
from artattack.results.columns import ANSWERS, VARIANT
from artattack.results.judgements import NO_STYLE
from artattack.results.people import (
    CANNOT_TELL,
    class_names_of,
    entry_class,
    pictures_of,
    style_id,
    sum_up_people,
)
from artattack.results.run_folder import RunFolder, load_run
from artattack.results.tables import make_table, write_csv
from artattack.validation import explain

FORMAT, VERSION = "artattack-survey", 1
NOTHING = "cannot_tell"  # the answer *cannot tell* in files
_LARGEST = 8_000_000  # bytes of a file of answers
_OFTEN_ENOUGH = 0.5  # share of missed attention checks from which on a person does not count

_EmptyIsNone = BeforeValidator(lambda value: None if value == "" else value)
_Seconds = Annotated[float | None, Field(ge=0, allow_inf_nan=False), _EmptyIsNone]


class _Answer(BaseModel):
    trial: int = Field(ge=1)
    role: Literal["practice", "attention", "trial"]
    picture: str
    answer: str = Field(min_length=1)
    style: Annotated[str | None, _EmptyIsNone] = None
    altered: Annotated[Literal["yes", "no", "cannot_tell"] | None, _EmptyIsNone] = None
    seconds: _Seconds = None
    shown_seconds: _Seconds = None
    showings: int = Field(1, ge=1)


class _Person(BaseModel):
    format: Literal["artattack-survey"]
    version: int
    run: str
    survey: str
    participant: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")
    classes: Literal["run", "entry"]
    trials: int = Field(ge=1)
    finished: str = ""
    answers: list[_Answer]


class Read(NamedTuple):
    """The contents of a folder of answers.

    Attributes:
        table: the answers that count, with the columns `artattack.results.columns.ANSWERS`.
        left_out: a line for each file that does not count, with the reason.
        people: number of persons whose answers count.
    """

    table: pd.DataFrame
    left_out: tuple[str, ...]
    people: int


@dataclass(frozen=True)
class _Key:
    """The facts of a run that answers are checked against.

    Attributes:
        hashes: config hashes of the run.
        pictures: rows of `pictures_of` by id.
        classes: names of classes by number.
        styles: styles by id.
    """

    hashes: frozenset[str]
    pictures: Mapping[str, Mapping[Any, Any]]
    classes: Mapping[int, str]
    styles: Mapping[str, str]


def add_answers(run: RunFolder | str | Path, folder: str | Path) -> Read:
    """Add participants' answers to a run: write `answers.csv` and `people.csv` into its folder.

    Answers of an earlier call are replaced: keep all files in one folder. The command line, `artattack survey RUN
    --answers FOLDER`, also writes the report again.

    Args:
        run: a finished run, or its folder.
        folder: the folder with participants' files, JSON or CSV, from the survey page.

    Returns:
        The answers, and a line for each file that does not count.

    Raises:
        ArtattackError: the run is not finished, the folder has no answers that count, or a table cannot be written.
    """
    opened = load_run(run)
    read = read_answers(opened, folder)
    write_csv(opened.path / "answers.csv", read.table)
    write_csv(opened.path / "people.csv", sum_up_people(read.table, opened.records, seed_of(opened)))
    return read


def seed_of(run: RunFolder) -> int:
    """Return the seed of a run."""
    return int(run.info["config"].get("benchmark", {}).get("seed", 0))


def hashes_of(run: RunFolder) -> frozenset[str]:
    """Return the config hashes of a run: its own, and those from before it was extended."""
    info = run.info
    return frozenset(str(one["config_hash"]) for one in (info, *info.get("extended", [])) if "config_hash" in one)


def read_answers(run: RunFolder | str | Path, folder: str | Path) -> Read:
    """Read and check participants' answers without writing anything; arguments and errors as in `add_answers`."""
    opened, place = load_run(run), to_path(folder)
    if not place.is_dir():
        raise ArtattackError(f"{shown(place)}: no folder of answers; give the folder with participants' files")
    pictures = pictures_of(opened.records, seed_of(opened))
    key = _Key(
        hashes_of(opened),
        {row["picture"]: row for row in pictures.to_dict("records")},
        class_names_of(opened.records),
        {style_id(style): style for style in opened.records["style"].dropna().unique()},
    )
    people: dict[str, tuple[str, _Person]] = {}
    left_out: list[str] = []
    files = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in files:
        try:
            person = _checked(_parse(path), key)
            _add(people, path.name, person, key)
        except ArtattackError as error:
            left_out.append(f"{path.name}: {error}")
    if not people:
        why = "; ".join(left_out[:3]) if left_out else "it has no .json or .csv files"
        more = f"; and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        raise ArtattackError(f"{shown(place)}: no answers that count: {why}{more}")
    rows = [row for name, person in people.values() for row in _rows(name, person, key)]
    return Read(make_table(rows, ANSWERS), tuple(left_out), len(people))


def _parse(path: Path) -> _Person:
    """Read one file.

    Raises:
        ArtattackError: the file cannot be read or is damaged; the message does not name the file.
    """
    kind = path.suffix.lower()
    if kind not in (".json", ".csv"):
        raise ArtattackError("not a .json or .csv file")
    try:
        if path.stat().st_size > _LARGEST:
            raise ArtattackError("damaged: larger than any file of answers")
        text = path.read_bytes().decode("utf-8-sig")
        content = json.loads(text) if kind == ".json" else _from_csv(text)
    except OSError as error:
        raise ArtattackError(f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError, csv.Error) as error:
        if isinstance(error, ArtattackError):
            raise
        raise ArtattackError("damaged: not the file that the survey page wrote, or cut short") from error
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(content, dict) and content.get("format") == FORMAT and str(version) != str(VERSION):
        raise ArtattackError(f"answers to survey version {version}, this artattack reads {VERSION}")
    try:
        return _Person.model_validate(content)
    except ValidationError as error:
        wrong = explain(error, lambda path: (".".join(map(str, path)) or "file", _Person))
        raise ArtattackError(f"damaged, or no answers to a survey: {wrong}") from error


def _from_csv(text: str) -> dict[str, Any]:
    """Return a CSV file in the form of the JSON file: columns of a person once, columns of an answer by answer."""
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    if not rows or any(None in row or None in row.values() for row in rows):
        raise ArtattackError("damaged: not the file that the survey page wrote, or cut short")
    once = [name for name in _Person.model_fields if name != "answers"]
    if any(row.get(name) != rows[0].get(name) for row in rows for name in once):
        raise ArtattackError("damaged: rows of several people in one file")
    each = [{name: row[name] for name in _Answer.model_fields if name in row} for row in rows]
    return {name: rows[0][name] for name in once if name in rows[0]} | {"answers": each}


def _checked(person: _Person, key: _Key) -> _Person:
    """Return a person after checking that the answers fit the run.

    Raises:
        ArtattackError: an answer does not fit the run, or answers are missing.
    """
    if person.run not in key.hashes:
        raise ArtattackError(f"answers about another run ({person.run[:12]})")
    if len(person.answers) != person.trials:
        raise ArtattackError(f"damaged: {len(person.answers)} of {person.trials} answers")
    images: set[str] = set()
    for answer in person.answers:
        picture = key.pictures.get(answer.picture)
        if picture is None:
            raise ArtattackError(f"damaged: no picture '{answer.picture[:20]}' in the run")
        if picture["image"] in images:
            raise ArtattackError(f"damaged: the photo of picture '{answer.picture}' is there twice")
        images.add(picture["image"])
        if _name_of(answer.answer, person.classes, key) is None:
            raise ArtattackError(f"damaged: no class '{answer.answer[:40]}' in the run")
        if answer.style not in (None, NOTHING, NO_STYLE) and answer.style not in key.styles:
            raise ArtattackError(f"damaged: no style '{answer.style}' in the run")
    return person


def _add(people: dict[str, tuple[str, _Person]], name: str, person: _Person, key: _Key) -> None:
    """Add a person's answers to those of others; a second file with the same answers changes nothing.

    Raises:
        ArtattackError: the answers do not count.
    """
    classes = next(iter(people.values()))[1].classes if people else person.classes
    if person.classes != classes:
        asked = "the 16 entry-level classes" if person.classes == "entry" else "the run's classes"
        raise ArtattackError(f"answers about {asked}, files before it are not: read them from separate folders")
    if person.participant in people:
        first, other = people[person.participant]
        if _content(other) == _content(person):
            return
        raise ArtattackError(f"other answers of participant '{person.participant}', who is in {first}: a duplicate")
    missed = [answer for answer in person.answers if answer.role == "attention" and not _right(answer, person, key)]
    checks = sum(answer.role == "attention" for answer in person.answers)
    if checks and len(missed) >= _OFTEN_ENOUGH * checks:
        raise ArtattackError(f"failed attention: {len(missed)} of {checks} attention checks missed")
    people[person.participant] = name, person


def _content(person: _Person) -> list[tuple[Any, ...]]:
    """Return the parts of a person's answers that are equal in the person's JSON and CSV files."""
    return [(a.trial, a.picture, a.answer, a.style, a.altered) for a in person.answers]


def _name_of(answer: str, classes: str, key: _Key) -> str | None:
    """Return the name of an answered class, or `CANNOT_TELL`; None for an invalid answer."""
    if answer == NOTHING:
        return CANNOT_TELL
    if classes == "entry":
        return answer if answer in ENTRY_CLASSES else None
    return key.classes.get(int(answer)) if answer.isascii() and answer.isdecimal() and len(answer) < 8 else None


def _right(answer: _Answer, person: _Person, key: _Key) -> bool:
    true = int(key.pictures[answer.picture]["true_class"])
    return answer.answer == (entry_class(true) if person.classes == "entry" else str(true))


def _rows(file: str, person: _Person, key: _Key) -> Collection[dict[str, Any]]:
    """Return the rows of a person in the table."""
    rows = []
    for answer in sorted(person.answers, key=lambda one: one.trial):
        picture = key.pictures[answer.picture]
        own = picture["style"] if isinstance(picture["style"], str) else None
        said = {NOTHING: CANNOT_TELL, NO_STYLE: NO_STYLE}.get(answer.style or "", key.styles.get(answer.style or ""))
        by_number = person.classes == "run" and answer.answer != NOTHING
        rows.append(
            {
                "participant": person.participant,
                "trial": answer.trial,
                "role": answer.role,
                "picture": answer.picture,
                "image": picture["image"],
                **{name: picture[name] for name in VARIANT},
                "true_class": picture["true_class"],
                "true_name": picture["true_name"],
                "classes": person.classes,
                "answer_class": int(answer.answer) if by_number else None,
                "answer": _name_of(answer.answer, person.classes, key),
                "right": _right(answer, person, key),
                "style_said": said,
                "style_named": None if said is None or own is None else said == own,
                "altered_said": answer.altered and answer.altered.replace("_", " "),
                "seconds": answer.seconds,
                "shown_seconds": answer.shown_seconds,
                "showings": answer.showings,
                "survey": person.survey,
                "file": file,
            }
        )
    return rows
