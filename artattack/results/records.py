"""The tables of a run: records (image x attack x classifier) and summary, as frames, CSV and print."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from artattack.errors import ArtattackError
from artattack.results.statistics import bootstrap_mean, calibration_error, wilson

# Column -> pandas dtype, in the order of the files; results/README.md says what each column means.
RECORD_COLUMNS: dict[str, str] = {
    "image": "string",
    "image_sha256": "string",
    "true_class": "Int64",
    "true_name": "string",
    "kind": "string",
    "attack": "string",
    "parameters": "string",
    "backbone": "string",
    "style": "string",
    "source": "string",
    "source_weights": "string",
    "matched_to": "string",
    "budget_distance": "string",
    "budget": "float64",
    "eps_norm": "string",
    "eps": "float64",
    "outside_eps": "boolean",
    "classifier": "string",
    "classifier_weights": "string",
    "classes": "Int64",
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
    "flip_float": "boolean",
    "success": "boolean",
    "top5_flip": "boolean",
    "rank_after": "Int64",
    "confidence_shift": "float64",
    "true_confidence_shift": "float64",
    "kl_divergence": "float64",
    "top5_before": "string",
    "top5_after": "string",
    "l0": "float64",
    "l1": "float64",
    "l2": "float64",
    "linf": "float64",
    "psnr": "float64",
    "ssim": "float64",
    "ms_ssim": "float64",
    "delta_e": "float64",
    "total_variation": "float64",
    "checkerboard": "float64",
    "feature_distance": "float64",
    "style_distance_before": "float64",
    "style_distance_after": "float64",
    "file": "string",
    "seed": "Int64",
    "seconds": "float64",
    "error": "string",
}
MEASURES = (  # columns of the records that say how far an image was moved; their means are in the summary
    "l0",
    "l1",
    "l2",
    "linf",
    "psnr",
    "ssim",
    "ms_ssim",
    "delta_e",
    "total_variation",
    "checkerboard",
    "feature_distance",
    "style_distance_before",
    "style_distance_after",
)
_RATES = {  # rate -> what it counts, of what
    "clean_accuracy": ("n_correct", "n_labelled"),
    "robust_accuracy": ("n_correct_after", "n_labelled"),
    "flip_rate": ("flips", "n"),
    "top5_flip_rate": ("top5_flips", "n"),
    "success_rate": ("successes", "n_correct"),
}


def _with_interval(name: str) -> dict[str, str]:
    return {name: "float64", f"{name}_low": "float64", f"{name}_high": "float64"}


SUMMARY_COLUMNS: dict[str, str] = {
    "kind": "string",
    "attack": "string",
    "parameters": "string",
    "backbone": "string",
    "style": "string",
    "source": "string",
    "source_weights": "string",
    "matched_to": "string",
    "budget_distance": "string",
    "budget": "float64",
    "classifier": "string",
    "classifier_weights": "string",
    "classes": "Int64",
    "n": "Int64",
    "errors": "Int64",
    "n_labelled": "Int64",
    "n_correct": "Int64",
    **_with_interval("clean_accuracy"),
    "n_correct_after": "Int64",
    **_with_interval("robust_accuracy"),
    "flips": "Int64",
    **_with_interval("flip_rate"),
    "top5_flips": "Int64",
    **_with_interval("top5_flip_rate"),
    "successes": "Int64",
    **_with_interval("success_rate"),
    **_with_interval("mean_confidence_shift"),
    "median_confidence_shift": "float64",
    "mean_true_confidence_shift": "float64",
    "median_true_confidence_shift": "float64",
    "mean_kl_divergence": "float64",
    "median_rank_after": "float64",
    "ece_before": "float64",
    "ece_after": "float64",
    **{f"mean_{name}": "float64" for name in MEASURES},
    "seconds_per_image": "float64",
}
GROUP = ["attack", "style", "source", "matched_to", "budget_distance", "budget", "classifier"]  # of a summary's rows
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
    """Sum up records: a row for each attack x style x source x matched_to x budget x classifier, as they first appear.

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
    correct_after = labelled & (records["top1_class_after"] == records["true_class"]).fillna(False)
    facts = records[GROUP].assign(
        n=scored,
        errors=~scored,
        n_labelled=labelled,
        n_correct=correct,
        n_correct_after=correct_after,
        flips=scored & records["flip"].fillna(False),
        top5_flips=scored & records["top5_flip"].fillna(False),
        successes=correct & records["success"].fillna(False),
    )
    counts = list(facts.columns[len(GROUP) :])
    facts[counts] = facts[counts].astype("int64")
    shifts = ["confidence_shift", "true_confidence_shift"]
    averaged = [*shifts, "kl_divergence", *MEASURES]
    facts[[*averaged, "seconds", "rank_after"]] = records[[*averaged, "seconds", "rank_after"]].where(scored)
    described = ["kind", "parameters", "backbone", "source_weights", "classifier_weights", "classes"]
    facts[described] = records[described]
    for when, right in (("before", correct), ("after", correct_after)):
        facts[f"calibration_{when}"] = list(zip(records[f"top1_confidence_{when}"].where(labelled), right, strict=True))
    groups = facts.groupby(GROUP, sort=False, dropna=False)
    summary = pd.concat(
        [
            groups[described].first(),
            groups[counts].sum(),
            groups[averaged].mean().add_prefix("mean_"),
            groups[shifts].median().add_prefix("median_"),
            groups["rank_after"].median().astype("float64").rename("median_rank_after"),
            groups["seconds"].mean().rename("seconds_per_image"),
            groups["confidence_shift"].agg(list).rename("shifts"),
            *(groups[f"calibration_{when}"].agg(_ece).rename(f"ece_{when}") for when in ("before", "after")),
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


def _ece(calibration: Iterable[tuple[float, bool]]) -> float:
    known = [(confidence, right) for confidence, right in calibration if confidence == confidence]
    return calibration_error([confidence for confidence, _ in known], [right for _, right in known])


def attack_labels(table: pd.DataFrame) -> pd.Series[str]:
    """Name the attack of each row of a table: ATTACK/STYLE/SOURCE without the missing parts."""
    parts = [("/" + table[name]).fillna("") for name in ("attack", "style", "source")]
    return (parts[0] + parts[1] + parts[2]).str.removeprefix("/")


def variant_labels(table: pd.DataFrame) -> pd.Series[str]:
    """Name the attack of each row of records or of a summary, and where it stands.

    Returns:
        As `attack_labels`; for a control followed by " as " and whose distance it copies, at a budget by " at l2=5";
        empty for an image that no attack reached.
    """
    budget = table["budget"].map("{:g}".format).astype("string")
    place = (" as " + table["matched_to"]).fillna("") + (" at " + table["budget_distance"] + "=" + budget).fillna("")
    return attack_labels(table) + place


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
    texts = {name: "" for name, dtype in SUMMARY_COLUMNS.items() if dtype == "string"}
    rows = summary.fillna(texts).to_dict("records")
    cells = [[f"  {row['classifier']}", *(cell(row) for cell in columns.values())] for row in rows]
    header = ["attack, classifier", *columns]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    widths[0] += 1 + max((len(RANDOM) for row in rows if row["classifier_weights"] == "random"), default=-1)
    console.print(_line(header, widths, "bold"), no_wrap=True, overflow="ellipsis")
    above = ""
    for label, row, line in zip(variant_labels(summary), rows, cells, strict=True):
        if (attack := label or "(images not read)") != above:
            untrained = row["kind"] != "control" and row["source_weights"] == "random"
            console.print(Text(attack + f" {RANDOM}" * untrained, style="bold red" if untrained else "bold"))
        above = attack
        untrained = row["classifier_weights"] == "random"
        line[0] += f" {RANDOM}" * untrained
        console.print(_line(line, widths, "bold red" if untrained else ""), no_wrap=True, overflow="ellipsis")
    attacks = summary[summary["kind"].fillna("") != "control"]  # one of the controls is untrained on purpose
    if (attacks[["source_weights", "classifier_weights"]] == "random").any(axis=None):
        console.print(Text(f"{RANDOM}: networks never trained; their numbers say nothing.", style="bold red"))


def _line(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    """Lay out a line: the first cell from the left, the others from the right."""
    first, *others = zip(cells, widths, strict=True)
    return Text("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]), style=style)


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def _interval(row: Mapping[Any, Any], rate: str) -> str:
    if pd.isna(row[rate]):
        return ""
    return f"{row[rate]:.0%} [{100 * row[f'{rate}_low']:.0f}, {100 * row[f'{rate}_high']:.0f}]"
