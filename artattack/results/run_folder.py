"""The run folder: a run on disk, written so that it can stop at any moment and resume.

run.json        settings, models, versions and state of the run; .run.json is a copy
records.csv     a row for each image x attack x classifier
summary.csv     a row for each attack x style x source x budget x classifier
controls.csv    each attack against the controls at its distance
pooled.csv      each attack pooled over its styles and classifiers
pairs.csv       pairwise comparisons of attacks
defences.csv    paired comparisons of defended classifiers with undefended ones
judges.csv      recognition rates of the style judges
answers.csv     people's answers to a survey, from `artattack survey --answers`
people.csv      people beside classifiers, from these answers
areas.csv       areas under the curves over budgets
study.*         the result of a study
images/         ATTACK-LABEL/IMAGE.png
cells/          KEY.json: the records of each finished cell, the checkpoint for resuming
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import lzma
import platform
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd

from artattack.errors import ArtattackError, DiskError, one_line
from artattack.files import absolute, remove_leftovers, sha256_file, shown, to_path, write_file
from artattack.models.kinds import kind_packages
from artattack.remote import is_of_server, without_secret
from artattack.results.against_controls import judge_against_controls
from artattack.results.columns import ANSWERS, CHECKS, PEOPLE, RECORD_COLUMNS
from artattack.results.curves import sum_up_curves
from artattack.results.defended import compare_defences
from artattack.results.doubts import doubts_of
from artattack.results.headline import Headline, headline_of
from artattack.results.judgements import sum_up_judgements
from artattack.results.locking import is_locked, locked
from artattack.results.pairs import pair_attacks
from artattack.results.plain_data import config_hash, differences, from_json, seal, short_hash, to_json, unseal
from artattack.results.planned import amiss, expected_rows, planned_images
from artattack.results.pooled import pool_attacks
from artattack.results.records import read_records, records_frame
from artattack.results.summary import read_summary, summarise
from artattack.results.tables import read_content, read_table, write_csv
from artattack.runtime import installed_versions
from artattack.version import __version__

_COPY = ".run.json"  # a copy of run.json, in case one of the two files is damaged
_CELLS = 100  # cells whose records are in memory as plain rows at a time
_SHOWN = 3  # differences named in an error message
_ReadAnew = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]


class StudyResult(NamedTuple):
    """Result of a study.

    Attributes:
        name: name of the study.
        question: its question.
        lesson: procedure or finding of the 2020 study.
        answer: answer in one sentence, with figures.
        caption: caption of the figure.
        headings: headings of the study's table.
        rows: rows of the table, as text.
        figure: the PNG, or None if nothing was measured.
    """

    name: str
    question: str
    lesson: str
    answer: str
    caption: str
    headings: list[str]
    rows: list[list[str]]
    figure: Path | None


class Page(NamedTuple):
    """A report on disk; a notebook shows it in a frame.

    Attributes:
        path: the HTML file.
    """

    path: Path

    def _repr_html_(self) -> str:
        content = html.escape(self.path.read_text("utf-8"))
        return f'<iframe srcdoc="{content}" style="width:100%;height:40rem;border:1px solid #ccc"></iframe>'


@dataclass(frozen=True)
class RunFolder:
    """A run on disk. Open one with `load_run`.

    Users read `.info` and the frames `.records`, `.summary`, `.curves`, `.controls`, `.pooled`, `.pairs`, `.defences`,
    `.judges`, `.areas`, `.checks`, `.answers` and `.people`. All but the last three raise ArtattackError if the run is
    not finished, if records are missing, or if the table's file has changed since the run wrote it, for example was
    truncated by an interrupted copy.

    Args:
        path: the folder; a relative path is resolved immediately.
    """

    path: Path

    def __post_init__(self) -> None:
        """Make the path absolute, because other threads may change the working directory."""
        object.__setattr__(self, "path", absolute(self.path))

    @classmethod
    def create(
        cls,
        path: Path,
        run: Mapping[str, Any],
        *,
        resume: bool = False,
        extend: bool = False,
        read_anew: _ReadAnew = lambda old, new: old,
    ) -> Self:
        """Create a run folder, or resume or extend the run in it.

        Args:
            path: the folder; it may exist if it is empty or, to resume, holds a run.
            run: content of run.json, as plain data. `run["config"]` has everything that affects results; only a run
                with an identical config can be resumed. Other differences are recorded under "resumed".
            resume: whether to resume the run in the folder, instead of starting a new one.
            extend: whether to extend the run by a config with additions. The previous hash is recorded under
                "extended".
            read_anew: function from the config of the run in the folder and the new config to the former config as this
                version would have written it.

        Raises:
            ArtattackError: the folder holds other files or an unexpected run, or no run to resume.
        """
        folder = cls(path)
        new = from_json(to_json(run).encode())
        if extend or resume:
            told = (folder._extended if extend else folder._resumed)(new, read_anew)
        else:
            told = folder._started(new)
        remove_leftovers(folder.path)
        folder._write_info(told)
        for part in (folder._cells, folder.images):
            part.mkdir(exist_ok=True)
        return folder

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run folder that exists, by its path or its URL.

        Raises:
            ArtattackError: the URL cannot be opened, the folder has no run, or its run.json cannot be read.
        """
        folder = cls(to_path(path))
        _ = folder.info
        return folder

    @property
    def info(self) -> dict[str, Any]:
        """The current content of run.json or, if it is damaged, of its copy."""
        path = self.path / "run.json"
        if not path.exists():
            raise ArtattackError(f"{self.path}: no run folder (it has no run.json)")
        try:
            return _read_info(path)
        except ArtattackError:
            with suppress(ArtattackError):
                return _read_info(self.path / _COPY)
            raise

    @property
    def doubts_before(self) -> tuple[str, ...]:
        """Doubts about the benchmark and the models before the run, a line each."""
        return tuple(self.info.get("doubts", {}).get("before", []))

    @property
    def doubts_after(self) -> tuple[str, ...]:
        """Doubts about the classifiers from the records of a finished run, a line each."""
        return tuple(self.info.get("doubts", {}).get("after", []))

    @property
    def images(self) -> Path:
        """The folder of adversarial images."""
        return self.path / "images"

    @property
    def originals(self) -> Path:
        """The folder of originals, as cropped for the run."""
        return self.images / "original"

    def original(self, image: str) -> Path:
        """Return the file of an original by its id; an unreadable image has none."""
        return self.originals / f"{image}.png"

    @cached_property
    def records(self) -> pd.DataFrame:
        """The records of a finished run, with the columns and dtypes of `artattack.results.columns.RECORDS`."""
        records = read_records(self._as_left("records.csv"))
        self._check_rows(len(records), records.loc[records["kind"].isna(), "image"])
        return records

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The summary of a finished run, with the columns and dtypes of `artattack.results.columns.SUMMARY`."""
        path = self._as_left("summary.csv")
        left, unreadable = self.info.get("tables", {}).get("records.csv"), self.cell("images")
        if left and unreadable is not None:
            self._check_rows(left["rows"], {row["image"] for row in unreadable})
        return read_summary(path)

    @property
    def curves(self) -> pd.DataFrame:
        """The rows of the summary at a budget: rates against distance."""
        return self.summary[self.summary["budget"].notna()]

    @cached_property
    def controls(self) -> pd.DataFrame:
        """Each attack against the controls at its distance, the result of `judge_against_controls`."""
        self._as_left("controls.csv")
        return judge_against_controls(self.records)

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """Each attack pooled over its styles and classifiers, the result of `pool_attacks`."""
        self._as_left("pooled.csv")
        return pool_attacks(self.records)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Pairwise comparisons of attacks, the result of `pair_attacks`."""
        self._as_left("pairs.csv")
        return pair_attacks(self.records)

    @cached_property
    def defences(self) -> pd.DataFrame:
        """Each defended classifier beside its undefended self, the result of `compare_defences`; empty without any."""
        self._as_left("defences.csv")
        return compare_defences(self.records)

    @cached_property
    def judges(self) -> pd.DataFrame:
        """Recognition rates of the style judges, the result of `sum_up_judgements`; empty without styles."""
        self._as_left("judges.csv")
        return sum_up_judgements(self.records)

    @cached_property
    def areas(self) -> pd.DataFrame:
        """Areas under curves over budgets, the result of `sum_up_curves`; empty without budgets."""
        self._as_left("areas.csv")
        return sum_up_curves(self.records)

    @property
    def checks(self) -> pd.DataFrame | None:
        """The sanity checks of the run, from `artattack check`, or None."""
        path = self.path / "checks.csv"
        return read_table(path, CHECKS) if path.exists() else None

    @property
    def answers(self) -> pd.DataFrame | None:
        """The answers of people, from `artattack survey --answers`, or None."""
        path = self.path / "answers.csv"
        return read_table(path, ANSWERS) if path.exists() else None

    @property
    def people(self) -> pd.DataFrame | None:
        """People beside classifiers, the result of `sum_up_people`, or None without answers."""
        path = self.path / "people.csv"
        return read_table(path, PEOPLE) if path.exists() else None

    @property
    def study(self) -> StudyResult | None:
        """The result of the run's study, from `artattack study`, or None."""
        path = self.path / "study.json"
        if not path.exists():
            return None
        try:
            told = from_json(path.read_bytes())
            figure = self.path / "study.png"
            return StudyResult(**told, figure=figure if figure.exists() else None)
        except (OSError, ValueError, TypeError) as error:
            raise ArtattackError(f"{path}: not the result of a study: run the study again with --resume") from error

    @property
    def to_go_on(self) -> str:
        """The command that continues the run, for messages."""
        place = without_secret(shown(self.path))
        if "extended" in self.info:
            return f"artattack extend {place}"
        return f"the `artattack run` that started it, with --resume --out {place}"

    @cached_property
    def headline(self) -> Headline:
        """The verdict in two sentences, and the strongest attacks and controls, the result of `headline_of`."""
        return headline_of(self.summary, self.controls)

    def report(self) -> Page:
        """Write the report, `report.html`, into the folder, and return it; a notebook shows it.

        Raises:
            ArtattackError: the run is not finished, or the file cannot be written.
        """
        from artattack.report import write_report  # a layer above, on use

        return Page(write_report(self))

    def _repr_html_(self) -> str:
        """Return the headline and the most striking pictures of a finished run, or its progress, for a notebook."""
        from artattack.report import run_in_notebook  # a layer above, on use

        return run_in_notebook(self)

    def done(self) -> set[str]:
        """Return the keys of the cells that are done, without failed cells and damaged files."""
        return {key for key, rows in self.cells() if not any(row.get("error") for row in rows)}

    def cell(self, key: str) -> list[dict[str, Any]] | None:
        """Return the records of a cell, or None if its file is missing, damaged or has unknown columns."""
        return self._cell(key)[0]

    def intact(self, key: str) -> list[dict[str, Any]] | None:
        """Return the records of a cell if its images are intact, too; else None."""
        rows, files = self._cell(key)
        try:
            return rows if all(sha256_file(self.path / name) == sha256 for name, sha256 in files.items()) else None
        except ArtattackError:  # the file is missing
            return None

    def cells(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield the key and the records of each finished or failed cell; damaged files do not count."""
        for path in self._cells.glob("*.json"):
            rows = self.cell(path.stem)
            if rows is not None:
                yield path.stem, rows

    def finishing_times(self) -> dict[str, float]:
        """Return the time at which each cell was written, in seconds since 1970, if the file system records it."""
        times = {path.stem: path.stat().st_mtime for path in self._cells.glob("*.json")}
        return {key: time for key, time in times.items() if time}

    def write_cell(self, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of a finished cell atomically.

        Args:
            key: key of the cell, and name of its file.
            rows: records, as for `records_frame`. The SHA-256 of their images is written, too.

        Raises:
            ArtattackError: the file cannot be written.
        """
        if Path(key).name != key:
            raise ValueError(f"a cell's key names a file, not {key!r}")
        names = dict.fromkeys(str(row["file"]) for row in rows if row.get("file"))
        files = {name: sha256_file(self.path / name) for name in names if (self.path / name).is_file()}
        write_file(self._cells / f"{key}.json", seal({"key": key, "files": files, "rows": list(rows)}))

    def note_worker(self, machine: Mapping[str, Any]) -> None:
        """Record the machine of a worker in run.json, under "workers", unless an equal one is recorded."""
        info = self.info
        known = info.get("workers", [])
        if (plain := from_json(to_json(machine).encode())) not in known:
            self._write_info({**info, "workers": [*known, plain]})

    def finish(self, keys: Iterable[str], *, parquet: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Write the tables from the cells, and mark the run as finished.

        Args:
            keys: the cells in the order of the plan.
            parquet: whether to write the records as parquet, too.

        Returns:
            Records and summary, equal to the results of `read_records` and `read_summary`.

        Raises:
            ArtattackError: a cell is not finished, or lacks planned images.
        """
        records = self._records_of(list(keys))
        summary = summarise(records)
        tables = {
            "records": records,
            "summary": summary,
            "controls": judge_against_controls(records),
            "pooled": pool_attacks(records),
            "pairs": pair_attacks(records),
            "defences": compare_defences(records),
            "judges": sum_up_judgements(records),
            "areas": sum_up_curves(records),
        }
        left = {}
        for name, table in tables.items():
            sha256 = write_csv(self.path / f"{name}.csv", table)
            left[f"{name}.csv"] = {"rows": len(table), "sha256": sha256}
        if parquet:
            write_file(self.path / "records.parquet", records.to_parquet(index=False))
        info = self.info
        doubts = {**info.get("doubts", {}), "after": list(doubts_of(records))}
        self._write_info({**info, "status": "finished", "finished": _now(), "tables": left, "doubts": doubts})
        return records, summary

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this process, and create it if it is missing; the lock ends with the process.

        Raises:
            ArtattackError: another process works in the folder, or it cannot be created.
            DiskError: the system or a server refused a file operation meanwhile.
        """
        self._refuse_a_file()
        with locked(self.path):
            try:
                yield
            except ArtattackError:
                raise
            except Exception as error:
                about = error.filename if isinstance(error, OSError) else None
                if about is None and not is_of_server(error):  # not a file error
                    raise
                raise DiskError(f"{about or self.path}: {one_line(error)}") from error

    @property
    def is_worked_on(self) -> bool:
        """Whether a process works in the folder now."""
        return is_locked(self.path)

    @property
    def _cells(self) -> Path:
        return self.path / "cells"

    def _cell(self, key: str) -> tuple[list[dict[str, Any]] | None, dict[str, str]]:
        """Return the records of a cell, or None as in `cell`, and the SHA-256 of its images."""
        try:
            cell = unseal((self._cells / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            return None, {}
        if not isinstance(cell, dict) or cell.get("key") != key or not isinstance(cell.get("rows"), list):
            return None, {}
        rows: list[dict[str, Any]] = cell["rows"]
        fits = all(isinstance(row, dict) and row.keys() <= RECORD_COLUMNS.keys() for row in rows)
        return rows if fits else None, cell.get("files", {})

    def _records_of(self, keys: Sequence[str]) -> pd.DataFrame:
        """Return the records of cells, converted in parts to save memory."""
        frames = []
        planned = planned_images(self.info)
        unreadable = {row["image"] for row in self.cell("images") or ()}
        for start in range(0, len(keys), _CELLS):
            rows: list[dict[str, Any]] = []
            for key in keys[start : start + _CELLS]:
                cell = self.cell(key)
                if cell is None:
                    raise ArtattackError(f"{self.path}: cell '{key}' is not finished: resume the run")
                images = {row["image"] for row in cell}
                if key in planned and (wrong := amiss(planned[key], unreadable, images)):
                    raise ArtattackError(f"{self.path}: cell '{key}' {wrong}: resume the run (--resume)")
                rows += cell
            frames.append(records_frame(rows))
        return pd.concat(frames, ignore_index=True) if frames else records_frame([])

    def _started(self, new: dict[str, Any]) -> dict[str, Any]:
        """Return the content of run.json for a new run, after checking that the folder is free."""
        if (self.path / "run.json").exists():
            raise ArtattackError(
                f"{self.path}: holds a run already ({self.info['status']}, {len(self.done())} cells done): "
                "resume it (--resume), or choose another folder (--out)"
            )
        self._refuse_a_file()
        if self.path.exists() and any(entry.suffix not in (".tmp", ".lock") for entry in self.path.iterdir()):
            raise ArtattackError(f"{self.path}: is not empty and holds no run: choose another folder (--out)")
        return {"status": "running", "started": _now(), "config_hash": config_hash(new["config"]), **new}

    def _refuse_a_file(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ArtattackError(f"{self.path}: is a file: choose another folder (--out)")

    def _resumed(self, new: dict[str, Any], read_anew: _ReadAnew) -> dict[str, Any]:
        """Return the content of run.json for a resumed run, after checking that it is the same run."""
        if not (self.path / "run.json").exists():
            raise ArtattackError(f"{self.path}: no run to resume: start one without --resume")
        old = self.info
        config = old["config"]
        if config_hash(config) != config_hash(new["config"]):
            config = read_anew(config, new["config"])
        if config_hash(config) != config_hash(new["config"]):
            found = list(differences(config, new["config"]))
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise ArtattackError(
                f"{self.path}: cannot resume with another config: {'; '.join(found[:_SHOWN])}{more}; "
                "put it back as it was, or choose another folder (--out)"
            )
        changed = {name: value for name, value in new.items() if old.get(name) != value}
        resumed = [*old.get("resumed", []), {"at": _now(), **changed}]
        cells = {"cells": new["cells"]} if "cells" in new else {}  # a search goes on with some of its attacks
        return {**old, **cells, "status": "running", "resumed": resumed}

    def _extended(self, new: dict[str, Any], read_anew: _ReadAnew) -> dict[str, Any]:
        """Return the content of run.json for an extended run."""
        old = self.info
        config = read_anew(old["config"], new["config"])
        kept = {key: config.get(key, {}) for key in ("images", "models", "files", "code")}
        for key, hashes in kept.items():
            now = new["config"].get(key, {})
            changed = [name for name, found in hashes.items() if now.get(name) != found]
            if changed:
                raise ArtattackError(f"{self.path}: cannot be extended: {key}: {changed[0]} is not what it was then")
        before = {"at": _now()} | {key: old[key] for key in ("config_hash", "versions") if key in old}
        history = {"started": old["started"], "extended": [*old.get("extended", []), before]}
        history |= {"workers": old["workers"]} if "workers" in old else {}
        return {"status": "running", "config_hash": config_hash(new["config"])} | new | history

    def _write_info(self, info: Mapping[str, Any]) -> None:
        content = seal(info, indent=2)
        write_file(self.path / "run.json", content)
        write_file(self.path / _COPY, content)

    def _check_rows(self, rows: int, unreadable: Collection[str]) -> None:
        """Raise ArtattackError if the run lacks records of its plan."""
        expected = expected_rows(self.info, unreadable)
        if expected is not None and rows < expected:
            lost = f"the run lacks {expected - rows} of its {expected} records"
            raise ArtattackError(f"{self.path}: {lost}: go on with it: {self.to_go_on}")

    def _as_left(self, name: str) -> Path:
        """Return the file of a table, after comparing its SHA-256 with the one in run.json.

        Runs of earlier versions have no SHA-256. A missing file may be packed with xz; the SHA-256 is that of its
        content.

        Raises:
            ArtattackError: the run is not finished, or the file differs from the one the run wrote.
        """
        path, info = self.path / name, self.info
        if info["status"] != "finished":
            raise ArtattackError(
                f"{self.path}: the run is not finished ({len(self.done())} cells done): resume it (--resume)"
            )
        left = info.get("tables", {}).get(name)
        packed = path.with_name(f"{name}.xz")
        path = packed if packed.exists() and not path.exists() else path
        sha256 = _sha256_of_table(path) if path.exists() else None
        if left is None or sha256 == left["sha256"]:
            return path
        found = f"{_count_rows(path)} rows with {short_hash(sha256)}" if sha256 else "no such file"
        again = (
            f"resume the run, which writes its tables again: artattack run ... --resume --out {self.path}"
            if self.done()
            else "get the folder again from where it came from"
        )
        raise ArtattackError(
            f"{path}: not as the run has left it: expected {left['rows']} rows with the SHA-256 "
            f"{short_hash(left['sha256'])}, found {found}; {again}"
        )


def _sha256_of_table(path: Path) -> str:
    """Return the SHA-256 of a table's CSV content, packed or not."""
    if path.suffix != ".xz":
        return sha256_file(path)
    try:
        return hashlib.sha256(read_content(path)).hexdigest()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ArtattackError(f"{path}: cannot be unpacked: {error}; get the file again") from error


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = unseal(path.read_bytes())
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ArtattackError(f"{path}: not valid JSON: {error}; put it back as it was, or start another run") from error
    if not isinstance(info, dict) or "config" not in info or "status" not in info:
        raise ArtattackError(f"{path}: not a run of artattack (it has no config or no status)")
    for written in _artattacks(info):
        if _release(written) > _release(__version__):
            raise ArtattackError(
                f"{path}: written by artattack {written}, which is newer than this one, {__version__}: update "
                "artattack to read the run or go on with it"
            )
    return info


def _artattacks(info: Mapping[str, Any]) -> Iterator[str]:
    """Yield the versions that started and resumed a run."""
    resumed = info.get("resumed")
    for part in (info, *(resumed if isinstance(resumed, list) else ())):
        found = part.get("versions") if isinstance(part, dict) else None
        if isinstance(found, dict):
            yield str(found.get("artattack"))


def _release(version: str) -> tuple[int, ...]:
    """Return the part of a version that determines columns and options, (0, 12) for 0.12.3; () for other text."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def load_run(path: RunFolder | str | Path) -> RunFolder:
    """Open a run folder by its path or URL: `.records` and `.summary` are frames, `.info` is run.json.

    An open run is returned unchanged.

    Raises:
        ArtattackError: as `RunFolder.open`.
    """
    return path if isinstance(path, RunFolder) else RunFolder.open(path)


def _count_rows(path: Path) -> int:
    """Return the number of rows of a CSV file below its header, as far as it is readable."""
    lines = 0
    text = read_content(path).decode("utf-8", "replace")
    with suppress(csv.Error):
        for _ in csv.reader(io.StringIO(text, newline="")):
            lines += 1
    return max(0, lines - 1)


def versions() -> dict[str, str]:
    """Return the versions that may affect results: artattack, Python, the platform, installed packages."""
    found = {"artattack": __version__, "python": platform.python_version(), "platform": platform.platform()}
    return found | installed_versions(kind_packages())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
