"""What columns mean, read from the one place that says it: results/README.md."""

from __future__ import annotations

import re
from typing import NamedTuple

from artattack.inputs.paths import glossary_file


class Entry(NamedTuple):
    """Some columns of one file, their type or unit, and what they say."""

    columns: str
    unit: str
    meaning: str


def glossary() -> dict[str, list[Entry]]:
    """Return the entries of each table, by the name of its file."""
    found: dict[str, list[Entry]] = {}
    title = ""
    for line in glossary_file().read_text(encoding="utf-8").splitlines():
        if match := re.match(r"## (\w+\.csv)", line):
            title = match.group(1)
        elif line.startswith("## "):
            title = ""
        elif title and line.startswith("| `"):
            parts = [part.strip().replace("\\|", "|") for part in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(title, []).append(Entry(*(part.replace("`", "") for part in parts)))
    return found
