"""Writes a study's files in its run folder: study.csv, study.md, study.json, study.png and study.svg."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.report.matplotlib_figures import check_matplotlib, save_drawing
from artattack.report.page_tables import fill
from artattack.report.text_tables import in_markdown
from artattack.results.plain_data import to_json
from artattack.results.records import untrained
from artattack.results.run_folder import RunFolder
from artattack.results.statistics import shown_difference
from artattack.results.tables import to_csv
from artattack.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd

_NOTHING = "Nothing was measured: no image has a result (column `error` of records.csv)."


def check_packages(study: Study) -> None:
    """Raise ArtattackError before any work if a required package is missing."""
    check_matplotlib()
    if study.needs and find_spec(study.needs) is None:
        raise ArtattackError(f"the study {study.name} needs {study.needs}: pip install 'artattack[search]'")


def how_sure(records: pd.DataFrame) -> str:
    """Say on how many images a study rests, and which differences they show."""
    n = int(records.loc[records["error"].isna(), "image"].nunique())
    least = shown_difference(n)
    rests = f"This rests on {n} image{'s' * (n != 1)}"
    if math.isinf(least):
        return f"{rests}: too few to show any difference."
    return f"{rests}, which show differences of {100 * least:.0f} points or more."


def write_study(study: Study, run: RunFolder) -> str:
    """Write a study's table, figure and answer into its finished run; return the answer, which ends with `how_sure`.

    The report of the run shows them at its head.

    Raises:
        ArtattackError: the run is not finished, or a file cannot be written.
    """
    table = study.measure(run.records)
    if study.look and len(table):
        table = study.look(run, table)
    answer = f"{study.answer(table)} {how_sure(run.records)}" if len(table) else _NOTHING
    filled = fill(table, study.fields, untrained(run.summary))
    headings = [field.name for field in filled.columns]
    rows = [[cell.whole for cell in row] for row in filled.rows]
    write_file(run.path / "study.csv", to_csv(table))
    if len(table):
        if study.leave:
            study.leave(run, table)
        save_drawing(lambda drawing: study.draw(drawing, run, table), run.path / "study")
    told = {
        "name": study.name,
        "question": study.question,
        "lesson": study.lesson,
        "answer": answer,
        "caption": study.caption,
        "headings": headings,
        "rows": rows,
    }
    write_file(run.path / "study.json", (to_json(told, indent=2) + "\n").encode())
    lines = [
        f"# Study {study.name}",
        f"**Question.** {study.question}",
        f"**In 2020.** {study.lesson}",
        f"**Answer.** {answer}",
        *([f"![{study.caption}](study.png)"] if len(table) else []),
        "\n".join(f"| {' | '.join(map(in_markdown, row))} |" for row in (headings, ["---"] * len(headings), *rows)),
    ]
    write_file(run.path / "study.md", ("\n\n".join(lines) + "\n").encode())
    return answer
