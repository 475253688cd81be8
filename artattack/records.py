"""The tables of a run: records (image x attack x classifier) and summary, as frames, CSV and print."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from artattack.errors import ArtattackError
from artattack.statistics import bootstrap_mean, variant_labels, wilson

# Column -> pandas dtype, in the order of the files; results/README.md says what each column means.
RECORD_COLUMNS: dict[str, str] = {
    "image": "string",
    "image_sha256": "string",
    "true_class": "Int64",
    "true_name": "string",
    "attack": "string",
    "parameters": "string",
    "backbone": "string",
    "style": "string",
    "source": "string",
    "source_weights": "string",
    "matched_to": "string",
    "classifier": "string",
    "classifier_weights": "string",
    "in_label_space": "boolean",
    "top1_class_before": "Int64",
    "top1_name_before": "string",
    "top1_confidence_before": "float64",
    "top1_class_after": "Int64",
    "top1_name_after": "string",
    "top1_confidence_after": "float64",
    "true_confidence_before": "float64",
    "true_confidence_after": "float64",
    "correct_before": "boolean",
    "flip": "boolean",
    "success": "boolean",
    "confidence_shift": "float64",
    "true_confidence_shift": "float64",
    "top5_before": "string",
    "top5_after": "string",
    "l0": "float64",
    "l1": "float64",
    "l2": "float64",
    "linf": "float64",
    "psnr": "float64",
    "ssim": "float64",
    "total_variation": "float64",
    "file": "string",
    "seed": "Int64",
    "seconds": "float64",
    "error": "string",
}
SUMMARY_COLUMNS: dict[str, str] = {
    "attack": "string",
    "parameters": "string",
    "backbone": "string",
    "style": "string",
    "source": "string",
    "source_weights": "string",
    "matched_to": "string",
    "classifier": "string",
    "classifier_weights": "string",
    "n": "Int64",
    "errors": "Int64",
    "n_labelled": "Int64",
    "clean_accuracy": "float64",
    "clean_accuracy_low": "float64",
    "clean_accuracy_high": "float64",
    "n_correct": "Int64",
    "flips": "Int64",
    "flip_rate": "float64",
    "flip_rate_low": "float64",
    "flip_rate_high": "float64",
    "successes": "Int64",
    "success_rate": "float64",
    "success_rate_low": "float64",
    "success_rate_high": "float64",
    "mean_confidence_shift": "float64",
    "mean_confidence_shift_low": "float64",
    "mean_confidence_shift_high": "float64",
    "median_confidence_shift": "float64",
    "mean_true_confidence_shift": "float64",
    "median_true_confidence_shift": "float64",
    "mean_l2": "float64",
    "mean_linf": "float64",
    "mean_ssim": "float64",
    "seconds_per_image": "float64",
}
_GROUP = ["attack", "style", "source", "matched_to", "classifier"]
_RATES = {  # rate -> what it counts, of what
    "clean_accuracy": ("n_correct", "n_labelled"),
    "flip_rate": ("flips", "n"),
    "success_rate": ("successes", "n_correct"),
}
_SEED = 0  # of the bootstrap: the same records always have the same summary
_WIDE = 120  # columns of a terminal that hold a summary with all its columns
RANDOM = "RANDOM WEIGHTS"


def records_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the records from plain rows.

    Args:
        rows: a mapping of column to value for each record. A column left out, None and, in a column of text,
            the empty string are missing values.

    Returns:
        A frame with the columns and dtypes of `RECORD_COLUMNS`.

    Raises:
        ValueError: a row has a column that is not in `RECORD_COLUMNS`.
    """
    rows = list(rows)
    if extra := {name for row in rows for name in row} - RECORD_COLUMNS.keys():
        raise ValueError(f"not columns of the records: {', '.join(sorted(extra))}")
    return pd.DataFrame(
        {name: _column([row.get(name) for row in rows], dtype) for name, dtype in RECORD_COLUMNS.items()}
    )


def _column(values: list[Any], dtype: str) -> pd.Series[Any]:
    if dtype == "string":
        values = [_text(v) if _given(v) else None for v in values]
    return pd.Series(values, dtype=dtype)


def _text(value: object) -> str:
    """Return text that a CSV file holds: file names may have bytes UTF-8 has not, messages bare returns."""
    return str(value).encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")


def _given(value: Any) -> bool:
    return value is not None and value is not pd.NA and value != "" and value == value


def to_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8: floats in full precision, missing values empty."""
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text.encode()


def read_records(path: str | Path) -> pd.DataFrame:
    """Read a records.csv back, exactly as it was written.

    Returns:
        A frame with the columns and dtypes of `RECORD_COLUMNS`.

    Raises:
        ArtattackError: the file cannot be read or is no table of records.
    """
    return _read(Path(path), RECORD_COLUMNS)


def read_summary(path: str | Path) -> pd.DataFrame:
    """Read a summary.csv back, exactly as it was written; as `read_records`, with `SUMMARY_COLUMNS`."""
    return _read(Path(path), SUMMARY_COLUMNS)


def _read(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    try:
        content = path.read_bytes()
        table = pd.read_csv(
            io.BytesIO(content),
            dtype=columns,
            keep_default_na=False,  # an image may be called NA
            na_values={name: [""] for name in columns},
            float_precision="round_trip",
        )
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ArtattackError(f"{path}: not a table of artattack: {' '.join(str(error).split())}") from error
    if list(table.columns) != list(columns):
        missing = [name for name in columns if name not in table.columns]
        extra = [name for name in table.columns if name not in columns]
        raise ArtattackError(
            f"{path}: not a table of this version of artattack: "
            f"columns missing: {', '.join(missing) or 'none'}; unknown: {', '.join(extra) or 'none'}"
        )
    return table


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Sum up records: a row for each attack x style x source x matched_to x classifier, as they first appear.

    What each number counts is defined in results/README.md. A rate of nothing is missing, not 0. Rates have
    Wilson intervals, the mean confidence shift a bootstrap interval, all of 95 %.

    Args:
        records: with the columns of `RECORD_COLUMNS`.

    Returns:
        A frame with the columns and dtypes of `SUMMARY_COLUMNS`.
    """
    scored = records["error"].isna()
    labelled = scored & records["in_label_space"].fillna(False)
    correct = labelled & records["correct_before"].fillna(False)
    facts = records[_GROUP].assign(
        n=scored,
        errors=~scored,
        n_labelled=labelled,
        n_correct=correct,
        flips=scored & records["flip"].fillna(False),
        successes=correct & records["success"].fillna(False),
    )
    counts = ["n", "errors", "n_labelled", "n_correct", "flips", "successes"]
    means = {
        "confidence_shift": "mean_confidence_shift",
        "true_confidence_shift": "mean_true_confidence_shift",
        "l2": "mean_l2",
        "linf": "mean_linf",
        "ssim": "mean_ssim",
        "seconds": "seconds_per_image",
    }
    facts[counts] = facts[counts].astype("int64")
    facts[list(means)] = records[list(means)].where(scored)
    described = ["parameters", "backbone", "source_weights", "classifier_weights"]
    facts[described] = records[described]
    groups = facts.groupby(_GROUP, sort=False, dropna=False)
    shifts = ["confidence_shift", "true_confidence_shift"]
    summary = pd.concat(
        [
            groups[described].first(),
            groups[counts].sum(),
            groups[list(means)].mean().rename(columns=means),
            groups[shifts].median().add_prefix("median_"),
            groups["confidence_shift"].agg(list).rename("shifts"),
        ],
        axis=1,
    ).reset_index()
    for rate, (part, whole) in _RATES.items():
        summary[rate] = summary[part] / summary[whole].where(summary[whole] > 0)
        summary[f"{rate}_low"], summary[f"{rate}_high"] = wilson(summary[part], summary[whole])
    bounds = [bootstrap_mean(values, seed=_SEED) for values in summary["shifts"]]
    for i, side in enumerate(("low", "high")):
        summary[f"mean_confidence_shift_{side}"] = [bound[i] for bound in bounds]
    return summary[list(SUMMARY_COLUMNS)].astype(SUMMARY_COLUMNS)


def print_summary(summary: pd.DataFrame, console: Console) -> None:
    """Print a summary as a table, the classifiers under each attack; untrained networks say RANDOM WEIGHTS.

    Rates stand with their intervals: `62% [31, 86]`.

    Args:
        summary: as `summarise` returns it.
        console: where to; one of less than 120 columns is not told distances and seconds.
    """
    columns: dict[str, Callable[[Mapping[Any, Any]], str]] = {
        "n": lambda row: str(row["n"]),
        **({"errors": lambda row: str(row["errors"])} if (summary["errors"] > 0).any() else {}),
        "clean": lambda row: _interval(row, "clean_accuracy"),
        "flips": lambda row: _interval(row, "flip_rate"),
        "success": lambda row: _interval(row, "success_rate"),
        "shift": lambda row: _number(row["mean_confidence_shift"], "+.2f"),
    }
    if console.width >= _WIDE:
        columns |= {
            "L2": lambda row: _number(row["mean_l2"], ".2f"),
            "SSIM": lambda row: _number(row["mean_ssim"], ".2f"),
            "s/img": lambda row: _number(row["seconds_per_image"], ".2f"),
        }
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("attack, classifier", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    above = ""
    texts = {name: "" for name, dtype in SUMMARY_COLUMNS.items() if dtype == "string"}
    for label, row in zip(variant_labels(summary), summary.fillna(texts).to_dict("records"), strict=True):
        attack = label or "(images not read)"
        if attack != above:
            table.add_row(_marked(attack, row["source_weights"], style="bold"))
        above = attack
        classifier = _marked(f"  {row['classifier']}", row["classifier_weights"])
        table.add_row(classifier, *(cell(row) for cell in columns.values()))
    console.print(table)
    if (summary[["source_weights", "classifier_weights"]] == "random").any(axis=None):
        console.print(Text(f"{RANDOM}: networks never trained; their numbers say nothing.", style="bold red"))


def _marked(name: str, weights: str, style: str = "") -> Text:
    text = Text(name, style=style)
    return text.append(f" {RANDOM}", style="bold red") if weights == "random" else text


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def _interval(row: Mapping[Any, Any], rate: str) -> str:
    if pd.isna(row[rate]):
        return ""
    return f"{row[rate]:.0%} [{100 * row[f'{rate}_low']:.0f}, {100 * row[f'{rate}_high']:.0f}]"
