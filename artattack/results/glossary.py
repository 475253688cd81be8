"""Glossary of columns: the tables of results/README.md, and the list at the end of the report.

`python -m artattack.results.glossary` updates the tables of results/README.md, between their marks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.results.columns import TABLES, Column

_START, _END = "<!-- columns of {} -->\n", "<!-- end of columns -->"


class Entry(NamedTuple):
    """Neighbouring columns of equal meaning: names, dtype, unit and meaning in Markdown."""

    names: tuple[str, ...]
    dtype: str
    unit: str
    meaning: str


def entries(columns: Sequence[Column]) -> list[Entry]:
    """Return the glossary entries of a table, in the order of its columns."""
    alike = groupby(columns, key=lambda column: (column.dtype, column.unit, column.meaning))
    return [Entry(tuple(column.name for column in members), *says) for says, members in alike]


def with_tables(readme: str) -> str:
    """Return a README with the current table of columns between each pair of marks.

    Raises:
        ArtattackError: a table has no marks, or marks name a table that does not exist.
    """
    starts = re.compile(re.escape(_START).replace(re.escape("{}"), "(.+)"))
    if {*starts.findall(readme)} != {*TABLES}:
        raise ArtattackError(f"the README has tables for {starts.findall(readme)}, the code has {[*TABLES]}")
    for name, columns in TABLES.items():
        before, start, rest = readme.partition(_START.format(name))
        _, end, after = rest.partition(_END)
        readme = before + start + _markdown(columns) + end + after
    return readme


def _markdown(columns: Sequence[Column]) -> str:
    lines = ["| column | dtype | unit | meaning |", "| --- | --- | --- | --- |"]
    for entry in entries(columns):
        names = ", ".join(f"`{name}`" for name in entry.names)
        meaning = entry.meaning.replace("|", r"\|")
        lines.append(f"| {names} | {entry.dtype} | {entry.unit} | {meaning} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Update the tables of a README, by default results/README.md of the checkout."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "results" / "README.md"
    write_file(path, with_tables(path.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    main()
