"""Extending a run: additions to its benchmark that leave finished results unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artattack.config import Benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Plan, make_plan
from artattack.evaluation.run import Engine, announced, at_size_of, opened_benchmark, run_plan, warn_of_results
from artattack.files import to_path
from artattack.inputs.styles import style_names
from artattack.progress import Progress
from artattack.results.columns import MEASURED_COLUMNS
from artattack.results.plain_data import differences
from artattack.results.progress import read_progress
from artattack.results.run_folder import RunFolder, load_run

if TYPE_CHECKING:
    import pandas as pd

_MAY_GROW = ("name", "attacks", "budgets", "classifiers", "models", "style_judges")
_SHOWN = 3


def extend_run(
    run: str | Path,
    benchmark: Benchmark | dict[str, Any] | str | Path | None = None,
    *,
    attacks: Mapping[str, type] | None = None,
    classifiers: Sequence[str] = (),
    style_judges: Sequence[str] = (),
    budgets: Mapping[str, Any] | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    cache: bool = True,
    on_progress: Progress | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_doubt: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Add classifiers, style judges, budgets, attacks or controls to a run: only the new cells are computed.

    Columns newer than the run are measured on its files.

    Args:
        run: the run folder, or its URL.
        benchmark: the extended benchmark, as for `run_benchmark`; by default the run's own.
        attacks: attack classes, as in `run_benchmark`, including the run's own.
        classifiers: new classifiers to score.
        style_judges: new style judges, for attacks that read no model with a common ancestor.
        budgets: new budgets by distance; None stands for a distance's default budgets.
        engine: as in `run_benchmark`.
        workers: as in `run_benchmark`.
        cache: as in `run_benchmark`.
        on_progress: as in `run_benchmark`.
        on_plan: as in `run_benchmark`.
        on_doubt: as in `run_benchmark`.

    Returns:
        The records of the whole run.

    Raises:
        ArtattackError: there is no run, it is finished and nothing is added, or the changes would affect existing
            results.
    """
    path = to_path(run)
    given = None if benchmark is None else opened_benchmark(benchmark, attacks)
    more = extended(path, given, attacks=attacks, classifiers=classifiers, style_judges=style_judges, budgets=budgets)
    plan = make_plan(more)
    tell = announced(plan, on_plan, on_doubt)
    how: dict[str, Any] = {"engine": engine, "workers": workers, "cache": cache, "on_progress": on_progress}
    records = run_plan(plan, path, extend=True, on_doubt=tell, **how)[0]
    warn_of_results(path, on_doubt)
    return records


def extended(
    path: Path,
    benchmark: Benchmark | None = None,
    *,
    attacks: Mapping[str, type] | None = None,
    classifiers: Sequence[str] = (),
    style_judges: Sequence[str] = (),
    budgets: Mapping[str, Any] | None = None,
) -> Benchmark:
    """Return the benchmark of an extended run.

    Args:
        path: the run folder.
        benchmark: the extended benchmark; by default the run's own.
        attacks: classes of attacks given as Python objects, by name.
        classifiers: additional classifiers to score.
        style_judges: additional style judges, for attacks that read no model with a common ancestor.
        budgets: additional budgets by distance; None for a distance's default budgets.

    Raises:
        ArtattackError: there is no run, the run is finished and nothing is added, or the change affects finished
            records.
    """
    run = load_run(path)
    info = run.info
    # Parsed again, so that options newer than the run appear with the default that applied to the run.
    then = info["config"]["benchmark"]
    used = {entry.get("attack") for entry in then["attacks"]}
    mine = {name: found for name, found in (attacks or {}).items() if name in used}
    old = parse_benchmark(then, where=str(path), attacks=mine).model_dump(mode="json")
    new = at_size_of(path, benchmark).model_dump(mode="json") if benchmark else dict(old)
    for key, further in (("classifiers", classifiers), ("style_judges", style_judges)):
        new[key] = list(dict.fromkeys([*new[key], *further]))
    asked = parse_benchmark({"budgets": dict(budgets or {})}).budgets
    new["budgets"] = {
        name: sorted({*new["budgets"].get(name, ()), *asked.get(name, ())})
        for name in dict.fromkeys([*new["budgets"], *asked])
    }
    grown = parse_benchmark(new, where=str(path), attacks=attacks or {})
    found = list(_changes(old, grown.model_dump(mode="json")))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ArtattackError(
            f"{path}: can only be added to, but {'; '.join(found[:_SHOWN])}{more}: "
            "put it back as it was, or start another run"
        )
    now = grown.model_dump(mode="json")
    same = all(old[key] == now[key] for key in _MAY_GROW if key != "name")
    if same and info["status"] == "finished" and not _younger_columns(run) and not read_progress(run).amiss:
        raise ArtattackError(f"{path}: nothing is added: name a classifier, a budget, or a file with more attacks")
    return grown


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield a phrase for each change that would affect existing results."""
    for key in old:
        if key not in _MAY_GROW:
            yield from differences(old[key], new[key], key)
    for key in ("classifiers", "style_judges"):
        if new[key][: len(old[key])] != old[key]:
            yield f"{key} were {', '.join(old[key])}, which have to stand first"
    for entry in old["attacks"]:
        if entry not in new["attacks"]:
            yield f"attack '{entry['name']}' is another or gone"
    for distance, budgets in old["budgets"].items():
        if missing := set(budgets) - set(new["budgets"].get(distance, ())):
            yield f"budget {distance}={min(missing):g} is gone"
    for name, spec in old["models"].items():
        if new["models"].get(name) != spec:
            yield f"model '{name}' is another or gone"
    known = {*style_names(), *_styles(old)}
    for style in _styles(new):
        if style not in known:
            yield f"style '{style}' would stand among those that each image is compared with"


def _younger_columns(run: RunFolder) -> AbstractSet[str]:
    """Return the measured columns that are newer than a run."""
    for key, rows in run.cells():
        if rows and key != "images":  # the cell of unreadable images
            return MEASURED_COLUMNS - rows[0].keys()
    return set()


def _styles(benchmark: Mapping[str, Any]) -> list[str]:
    return [style for entry in benchmark["attacks"] for style in entry.get("style") or ()]
