"""A run in other formats: RobustBench's JSON, TextAttack's CSV, parquet.

The files have the formats of these projects, but the attacks are those of the run; see `NOTE`.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from artattack.attacks.art_attacks import baseline_info
from artattack.errors import ArtattackError, unknown
from artattack.files import write_file
from artattack.results.columns import TEXTATTACK, dtypes
from artattack.results.records import attacks_of, perturbed_of, read_by_attack, untouched_of, variant_labels
from artattack.results.run_folder import RunFolder, load_run
from artattack.results.tables import quote_formulas
from artattack.version import __version__

NOTE = (
    "Not comparable with RobustBench's leaderboard: these are other images, and where autoattack is among the attacks "
    "it is ART's, which differs from the official one (untargeted DLR loss, no FAB). An attack counts from whichever "
    "model it was made with (source); few attacks overestimate robustness."
)
_NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}  # RobustBench's names of norms


class Threat(NamedTuple):
    """A threat model: the ball that attacks stay in, or a name without a ball.

    Attributes:
        model: `Linf`, `L2`, `L1`, another distance, `style` or `unrestricted`.
        eps: radius of the ball in RobustBench's notation; None without a ball, or if the run does not record it.
    """

    model: str
    eps: str | None


def export(run: RunFolder | str | Path, name: str, path: Path) -> list[Path]:
    """Write a run in another project's format.

    Args:
        run: a finished run, or its folder or URL.
        name: one of `FORMATS`.
        path: the file to write; for robustbench, the folder for a file of each classifier. Existing files are
            overwritten.

    Returns:
        The files written.

    Raises:
        ArtattackError: there is no such format, pyarrow is missing, the run is not finished, or a file cannot be
            written.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    contents = FORMATS[name](load_run(run))
    written = []
    for file, content in contents.items():
        written.append(path / file if file else path)
        write_file(written[-1], content)
    return written


def parquet(records: pd.DataFrame) -> bytes:
    """Return records as parquet; `pandas.read_parquet` gives the same values and dtypes back.

    Raises:
        ArtattackError: as `check_parquet`.
    """
    check_parquet()
    content: bytes = records.to_parquet(index=False, engine="pyarrow")
    return content


def check_parquet() -> None:
    """Raise an error if parquet cannot be written, before any work is done.

    Raises:
        ArtattackError: pyarrow is not installed, or does not work here.
    """
    try:
        import_module("pyarrow")
    except ImportError as error:
        raise ArtattackError(f"parquet: {error}: pip install 'artattack[parquet]'") from error


def textattack_table(records: pd.DataFrame) -> pd.DataFrame:
    """Return records in the columns of TextAttack's CSV log, with image files instead of texts.

    The columns are those of `CSVLogger` (TextAttack, textattack/loggers/csv_logger.py). As in its untargeted
    classification, a score is 1 minus the confidence in the true class, and an output is a class. `result_type` is
    Successful or Failed, from `success` in the records, and Skipped if `success` is missing: wrong before the attack,
    unlabelled, not among the classifier's classes, or failed with an error. TextAttack has no type for errors; its
    readers ignore Skipped rows, and the column `error` has the reason. Unlike TextAttack's, skipped images were
    attacked, and `perturbed_text` is their file. `num_queries` is known for attacks without gradients.

    Args:
        records: the records of one run.

    Returns:
        A row for each record of an attack or control, with the columns and dtypes of
        `artattack.results.columns.TEXTATTACK`. Files are relative to the run folder.
    """
    attacked = perturbed_of(records)
    kinds = attacked["success"].map({True: "Successful", False: "Failed"}).astype("string").fillna("Skipped")
    table = pd.DataFrame(
        {
            "original_text": "images/original/" + attacked["image"] + ".png",
            "perturbed_text": attacked["file"],
            "original_score": 1 - attacked["true_confidence_before"],
            "perturbed_score": 1 - attacked["true_confidence_after"],
            "original_output": attacked["top1_class_before"],
            "perturbed_output": attacked["top1_class_after"],
            "ground_truth_output": attacked["true_class"],
            "num_queries": attacked["queries"],
            "result_type": kinds,
            "image": attacked["image"],
            "attack": variant_labels(attacked),
            "classifier": attacked["classifier"],
            "error": attacked["error"],
        }
    )
    return table.astype(dtypes(TEXTATTACK))


def robustbench_infos(run: RunFolder) -> dict[str, dict[str, Any]]:
    """Return the results of each classifier in the format of RobustBench's model_info.

    Fields with equal meaning have RobustBench's names (model_info/imagenet/Linf/*.json of
    github.com/RobustBench/robustbench): `name`, `dataset`, `architecture`, `number_forward_passes`, `clean_acc`,
    `eps`; accuracies are in per cent, as text. RobustBench has a file for each threat model; here, one file has the
    list `threat_models`. There is no `autoattack_acc`, for the reason in the field `note` (`NOTE`).

    A threat model is a ball, such as Linf of radius `eps`, from the run's budgets, the columns `eps_norm` and `eps` of
    the records or a style attack's `match`; all attacks in a ball count together. Other attacks have the threat model
    `style` or, for minimum-norm attacks of ART, `unrestricted`, without eps. For runs older than those columns, the
    attacks' parameters decide; a radius that was left at ART's default is unknown.

    Controls do not count. An image is robust if it is classified correctly untouched, which every threat model allows,
    and after every attack: `robust_acc` is the worst case over the attacks of a threat model, listed with each attack's
    own. Only labelled images known under all attacks count (`n_examples`); attacks that failed on every image are left
    out of the worst case.

    Args:
        run: a finished run.

    Returns:
        Plain data for each classifier, by its name.
    """
    records = run.records
    config = run.info["config"]
    entries = {entry["name"]: entry for entry in config.get("benchmark", {}).get("attacks", ())}
    records = records.assign(variant=variant_labels(records))
    infos = {}
    for classifier, seen in records.groupby("classifier", sort=False):
        name = str(classifier)
        known = seen["error"].isna() & seen["in_label_space"].fillna(False)
        clean = untouched_of(seen[known]).set_index("image")["correct_before"].astype(bool)
        model = config.get("models", {}).get(name, {})
        infos[name] = {
            "name": name,
            "dataset": run.info.get("image_set", {}).get("name"),
            "architecture": config.get("benchmark", {}).get("models", {}).get(name, {}).get("model", name),
            "number_forward_passes": 1,
            "weights": model.get("weights"),
            "weights_sha256": model.get("sha256"),
            "n_examples": len(clean),
            "clean_acc": _per_cent(clean),
            "threat_models": list(_threat_models(attacks_of(seen), known, entries)),
            "note": NOTE,
            "artattack": __version__,
            "config_hash": run.info.get("config_hash"),
        }
    return infos


def _threat_models(
    records: pd.DataFrame, known: pd.Series[bool], entries: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield each threat model of one classifier's attacks, in order of appearance."""
    attacks: dict[Threat, list[dict[str, Any]]] = {}
    robust: dict[Threat, list[pd.Series[bool]]] = {}
    for variant, rows in records.groupby("variant", sort=False):
        first, scored = rows.iloc[0], rows[known[rows.index]]
        right = scored["correct_before"] & (scored["top1_class_after"] == scored["true_class"])
        right = right.astype(bool).set_axis(scored["image"])
        threat = _threat(first, entries)
        robust.setdefault(threat, []).extend([right] if len(right) else [])
        attacks.setdefault(threat, []).append(
            {
                "attack": variant,
                "white_box": bool(read_by_attack(rows).fillna(False).iloc[0]),
                "n_examples": len(right),
                "robust_acc": _per_cent(right),
            }
        )
    for threat, members in attacks.items():
        worst = pd.concat(robust[threat] or [pd.Series(dtype=bool)], axis=1, join="inner").all(axis=1)
        yield {
            "threat_model": threat.model,
            "eps": threat.eps,
            "n_examples": len(worst),
            "robust_acc": _per_cent(worst),
            "attacks": members,
        }


def _threat(record: Any, entries: Mapping[str, Any]) -> Threat:
    """Return the threat model of a record's attack."""
    if not pd.isna(record["budget"]):
        return _ball(record["budget_distance"], record["budget"])
    if not pd.isna(record["eps_norm"]):
        return _ball(record["eps_norm"], record["eps"])
    parameters = json.loads(record["parameters"]) if not pd.isna(record["parameters"]) else {}
    if not pd.isna(record["style"]):
        held = parameters.get("budget") or parameters.get("match")
        return _ball(*held) if held else Threat("style", None)
    # The run is older than the columns eps_norm and eps, or there is no ball.
    attack = entries.get(record["attack"], {}).get("attack", record["attack"])
    norm = _norm(parameters.get("norm", "inf"))
    return _ball(norm, parameters.get("eps")) if norm in _norms(attack) else Threat("unrestricted", None)


def _norm(value: Any) -> str | None:
    """Return the norm for a value of ART's `norm`, such as 2, 2.0, "2", inf or "inf"; None for others."""
    try:
        return {math.inf: "linf", 1.0: "l1", 2.0: "l2"}.get(float(value))
    except (TypeError, ValueError):
        return None


def _norms(attack: str) -> tuple[str, ...]:
    """Return the norms of the balls with radius `eps` of an attack; empty for an unknown attack."""
    try:
        return baseline_info(attack).norms
    except ArtattackError:  # not an attack of this version, or its package is not here
        return ()


def _ball(distance: str, radius: Any) -> Threat:
    """Return a ball with its radius in RobustBench's notation: 8/255 for a whole number of 8-bit steps."""
    name = _NAMES.get(distance, distance)
    if not (isinstance(radius, float | int) and math.isfinite(radius)):
        return Threat(name, None)
    steps = radius * 255
    whole = distance == "linf" and abs(steps - round(steps)) < 1e-6
    return Threat(name, f"{round(steps)}/255" if whole else f"{radius:g}")


def _per_cent(right: pd.Series[Any]) -> str | None:
    return f"{100 * right.mean():.2f}" if len(right) else None


def _robustbench_files(run: RunFolder) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, info in robustbench_infos(run).items():
        stem = re.sub(r"[^\w.-]+", "_", Path(name).name).lstrip(".") or "classifier"
        taken = [file.casefold() for file in files]
        file = next(
            f for n in range(1, len(files) + 2) if (f := f"{stem}{f'_{n}' * (n > 1)}.json").casefold() not in taken
        )
        files[file] = (json.dumps(info, indent=2, allow_nan=False) + "\n").encode()
    return files


def _textattack_file(run: RunFolder) -> dict[str, bytes]:
    table = textattack_table(run.records)
    text: str = quote_formulas(table).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    return {"": text.encode()}


def _parquet_file(run: RunFolder) -> dict[str, bytes]:
    check_parquet()  # before reading, which may take long
    return {"": parquet(run.records)}


FORMATS: dict[str, Callable[[RunFolder], dict[str, bytes]]] = {  # file name ("" for the path itself) -> its content
    "robustbench": _robustbench_files,
    "textattack": _textattack_file,
    "parquet": _parquet_file,
}
