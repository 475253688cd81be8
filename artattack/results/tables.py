"""Tables as frames and CSV files, with the columns and dtypes of `artattack.results.columns`."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from artattack.errors import ArtattackError, one_line
from artattack.files import writing
from artattack.results.columns import Column, dtypes
from artattack.version import __version__

_ROWS = 10_000  # rows converted to text at a time
_FORMULA = re.compile(r"'*[=+\-@\t]")  # beginning of a formula in spreadsheets, with any quotes before it


def make_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Build a table from plain rows.

    Args:
        rows: a mapping from column to value for each row. Absent columns, None and, in text columns, empty strings are
            missing values.
        columns: columns of the table.

    Raises:
        ValueError: a row has a column that is not in the table.
    """
    rows = list(rows)
    if extra := {name for row in rows for name in row} - {column.name for column in columns}:
        raise ValueError(f"not columns of this table: {', '.join(sorted(extra))}")
    return pd.DataFrame(
        {column.name: _series([row.get(column.name) for row in rows], column.dtype) for column in columns}
    )


def _series(values: list[Any], dtype: str) -> pd.Series[Any]:
    if dtype == "string":
        values = [
            sys.intern(_text(v)) if _given(v) else None for v in values
        ]  # most values repeat in many rows, so keep one copy
    return pd.Series(values, dtype=dtype)


def _text(value: object) -> str:
    """Return text that fits into a CSV file: file names may have invalid UTF-8, messages carriage returns."""
    return str(value).encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")


def _given(value: Any) -> bool:
    return value is not None and value is not pd.NA and value != "" and value == value


def to_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8: floats in full precision, missing values empty.

    Text that a spreadsheet would read as a formula, such as a strange file name, is prefixed by `'`.
    """
    text: str = quote_formulas(table).to_csv(index=False, lineterminator="\n")
    return text.encode()


def quote_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose text never begins like a formula: it is prefixed by `'`, as is a `'` before a formula."""
    texts = table.select_dtypes(["string", "object"])
    return table.assign(**{str(name): texts[name].map(_quoted, na_action="ignore") for name in texts})


def _quoted(text: Any) -> Any:
    return f"'{text}" if isinstance(text, str) and _FORMULA.match(text) else text


def _unquoted(text: Any) -> Any:
    return text[1:] if text[0] == "'" and _FORMULA.match(text) else text


def write_csv(path: Path, table: pd.DataFrame) -> str:
    """Write a table as `to_csv` does, in parts, and return the SHA-256.

    Raises:
        ArtattackError: the file cannot be written.
    """
    hashed = hashlib.sha256()
    with writing(path) as file:
        for start in range(0, max(1, len(table)), _ROWS):
            rows = quote_formulas(table.iloc[start : start + _ROWS])
            text: str = rows.to_csv(index=False, lineterminator="\n", header=start == 0)
            part = text.encode()
            hashed.update(part)
            file.write(part)
    return hashed.hexdigest()


def read_content(path: Path) -> bytes:
    """Return the content of a file, unpacked if its name ends in `.xz`."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def read_table(path: Path, columns: Sequence[Column]) -> pd.DataFrame:
    """Read a table back from CSV, exactly as it was written, or from CSV packed with xz (`.csv.xz`).

    Returns:
        A frame with the columns and their dtypes. Columns newer than the file are missing in every row.

    Raises:
        ArtattackError: the file cannot be read or unpacked, is another table, or has columns of a newer artattack.
    """
    expected = dtypes(columns)
    try:
        content = read_content(path)
        table = pd.read_csv(
            io.BytesIO(content),
            dtype=expected,
            keep_default_na=False,  # an image may be called NA
            na_values={name: [""] for name in expected},
            float_precision="round_trip",
        )
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
    except (lzma.LZMAError, EOFError) as error:
        raise ArtattackError(f"{path}: cannot be unpacked: {error}; get the file again") from error
    except (ValueError, TypeError) as error:
        raise ArtattackError(f"{path}: not a table of artattack: {one_line(error)}") from error
    if missing := [column.name for column in columns if column.needed and column.name not in table.columns]:
        raise ArtattackError(f"{path}: not a table of artattack: columns missing: {', '.join(missing)}")
    if unknown := [name for name in table.columns if name not in expected]:
        raise ArtattackError(
            f"{path}: written by a newer artattack than this one, {__version__}, which does not know the columns "
            f"{', '.join(unknown)}: update artattack to read it"
        )
    texts: list[str] = table.select_dtypes("string").columns.tolist()
    for name in texts:
        table[name] = table[name].map(_unquoted, na_action="ignore")
    return table.reindex(columns=list(expected)).astype(expected)
