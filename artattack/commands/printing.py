"""Everything that artattack prints in a terminal, with Rich.

Results and pandas are imported where they are printed, so that commands which only list or plan start quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from artattack.inputs.images import in_pixels
from artattack.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from artattack.cache import Cache
    from artattack.evaluation.plan import Plan
    from artattack.networks.agreement import Agreement
    from artattack.photo.side_by_side import View
    from artattack.results.between_runs import Side, SideBySide
    from artattack.results.headline import Headline
    from artattack.results.progress import RunProgress

_RATES_SHORT = {"clean_accuracy": "clean", "flip_rate": "flips", "success_rate": "success"}
_NAME_WIDTH = 30  # of a class name, so that all classifiers' lists align
_STATUSES = {"pass": "passed", "fail": "failed", "not run": "not run"}
_HOUR, _DAY = 3600, 24 * 3600  # seconds
_OF_PEOPLE = ("who", "right untouched", "right", "flips", "not shared")
_UNTRAINED = "(random weights)"
_CELLS = 3  # damaged cells that `status` names
_NAME = 48  # letters of an attack's name in the headline
_FEWEST, _NARROWEST = 3, 12  # columns of the headline, and letters of a name, however narrow the terminal


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print a line without markup and without truncation."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def print_headline(headline: Headline, console: Console) -> None:
    """Print the verdict of a run and its table; a narrow terminal gets fewer columns.

    Args:
        headline: as `headline_of` returns it.
        console: where to print.
    """
    from artattack.results.records import RANDOM

    cells = [list(headline.table), *headline.table.to_numpy().tolist()]
    if headline.caption:
        say(console, headline.caption)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + 2 * len(widths) > console.width:
            widths[0] = min(widths[0], _NAME)
        while sum(widths) + 2 * len(widths) > console.width and len(widths) > _FEWEST:  # the report has every column
            widths.pop()
        widths[0] = max(_NARROWEST, min(widths[0], console.width - sum(widths[1:]) - 2 * len(widths[1:])))
        for line in cells:
            style = "bold" if line is cells[0] else "bold red" if RANDOM in line[0] else ""
            name = line[0] if len(line[0]) <= widths[0] else line[0][: widths[0] - 1] + "…"
            row = "".join(f"  {cell:>{width}}" for cell, width in zip(line[1 : len(widths)], widths[1:], strict=True))
            console.print(Text(f"{name:<{widths[0]}}{row}", style=style), no_wrap=True, overflow="ellipsis")
    if headline.left_out:
        say(console, f"{headline.left_out} more attacks and controls are in the report.")
    if RANDOM in headline.caption or any(RANDOM in cell for line in cells for cell in line):
        console.print(Text(f"{RANDOM}: untrained networks; their numbers are meaningless.", style="bold red"))
    for sentence in headline.sentences:
        say(console, sentence, "bold")


def _number(value: Any, form: str) -> str:
    from pandas import isna

    return "" if isna(value) else format(value, form)


def _interval(row: Mapping[Any, Any], rate: str) -> str:
    if not (shown := _number(row[rate], ".0%")):
        return ""
    return f"{shown} [{100 * row[f'{rate}_low']:.0f}, {100 * row[f'{rate}_high']:.0f}]"


def print_side_by_side(found: SideBySide, console: Console) -> None:
    """Print the differences of each run from the reference: settings, rates, and a summary.

    Args:
        found: the result of `compare_runs`.
        console: console to print on.
    """
    for side in found.sides:
        say(console, f"{side.run} against {found.reference}", "bold")
        for line in _introduction(side, found.reference):
            say(console, line)
        say(console, "")
        rows = found.table[found.table["run"] == side.run]
        changed = rows[~rows["change"].isin(["identical", "not tested"])]
        if len(changed):
            console.print(_rates(changed))
            say(console, "")
        for line in _conclusion(rows, 1 - found.confidence):
            say(console, line)
        say(console, "")


def _introduction(side: Side, reference: str) -> Iterator[str]:
    how = "image by image (paired)" if side.paired else "as independent samples of images (not paired)"
    yield f"Images: {side.shared} in both, of {side.images_reference} and {side.images_run}; compared {how}"
    yield from _listed("Differs", side.differences) if side.differences else ["Differs: nothing that run.json tells"]
    yield from _listed(f"Only in {reference}", side.only_reference)
    yield from _listed(f"Only in {side.run}", side.only_run)


def _listed(what: str, items: Sequence[str]) -> list[str]:
    return [f"{what}:", *(f"  {item}" for item in items)] if items else []


def _conclusion(rows: pd.DataFrame, level: float) -> Iterator[str]:
    from artattack.results.between_runs import changes_in_words

    counts = rows["change"].value_counts()
    if not len(rows):
        yield "The runs share no attack and classifier."
        return
    if same := counts.get("identical", 0):
        yield f"{same} of {len(rows)} rates are identical, image by image."
    if untested := counts.get("not tested", 0):
        yield f"{untested} of {len(rows)} rates have no images to compare."
    beyond = list(changes_in_words(rows))
    yield f"{len(beyond)} of {len(rows)} rates differ beyond chance (adjusted p < {level:g})" + (":" if beyond else ".")
    yield from (f"  {line}" for line in beyond)


def _rates(rows: pd.DataFrame) -> Table:
    """Lay out rates of two runs beside each other, the classifiers under each attack."""
    from artattack.results.between_runs import BEYOND_CHANCE, difference_in_points, images_counted

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("attack, classifier", overflow="fold")
    for name in ("rate", "n", "was", "is", "difference", "p"):
        table.add_column(name, justify="left" if name == "rate" else "right", no_wrap=True)
    table.add_column("change", overflow="fold")
    for variant, group in rows.groupby("variant", sort=False):
        table.add_row(Text(str(variant), style="bold"))
        for row in group.to_dict("records"):
            cells = [
                f"  {row['classifier']}",
                _RATES_SHORT[row["rate"]],
                images_counted(row),
                *(_number(row[name], ".0%") for name in ("rate_reference", "rate_run")),
                difference_in_points(row),
                _number(row["p_holm"], ".2g"),
                row["change"],
            ]
            table.add_row(*map(Text, map(str, cells)), style="bold" if row["change"] in BEYOND_CHANCE else None)
    return table


def print_efficiency(found: pd.DataFrame, console: Console) -> None:
    """Print the cost of networks in three tables: size, accuracy, and time and memory.

    Args:
        found: the result of `measure_models`.
        console: console to print on.
    """
    from artattack.networks.runtimes import PAINTER, RUNTIMES

    rows = found.astype(object).where(found.notna(), None).to_dict("records")
    sizes, worth, times = [], [], []
    for row in rows:
        measured = row["parameters"] is not None
        sizes.append(
            [
                row["model"],
                _number(row["parameters"] if measured else row["published_parameters"], ","),
                _number(row["binary_share"], ".1%"),
                _number(row["float32_mib"], ".2f"),
                _number(row["packed_mib"] if measured else row["published_mib"], ".2f"),
                *(
                    "failed" if f"{to}, export" in (row["failed"] or "") else _number(row[f"{to}_mib"], ".2f")
                    for to in ("tflite", "lce")
                ),
                _number(None if row["macs"] is None else row["macs"] / 1e6, ",.0f"),
                _number(row["binary_macs_share"], ".1%"),
            ]
        )
        times += [
            [
                row["model"] + f" {_UNTRAINED}" * (row["weights"] == "random"),
                where,
                *(_number(row[f"{runtime}_{what}"], ".1f") for what in ("ms_one", "cpu_ms_one", "ms_all", "run_mib")),
            ]
            for runtime, where in RUNTIMES.items()
            if row[f"{runtime}_ms_one"] is not None or row[f"{runtime}_ms_all"] is not None
        ]
        if row["weights"] == PAINTER:
            continue  # it classifies nothing
        worth.append(
            [
                row["model"],
                *(_number(row[f"published_{top}"], ".1%") for top in ("top1", "top5")),
                f"{_interval(row, 'top1')} of {row['n_labelled']}" if row["top1"] is not None else "",
                row["published_source"] or "",
            ]
        )
    headings = ["model", "parameters", "binary", "float32", "packed", "tflite", "lce", "M MACs", "1-bit"]
    console.print(lay_out(headings, sizes, prose=0))
    say(console, "Sizes in MiB: parameters as float32, with a bit for each binary one, and exported files.")
    say(console, "")
    if worth:
        console.print(lay_out(["model", "top-1", "top-5", "top-1 here", "published in"], worth))
        say(console, "")
    if times:
        console.print(lay_out(["model", "in", "ms, 1 thread", "of processor", "ms, all", "MiB"], times, prose=0))
        machines = ", ".join(dict.fromkeys(row["machine"] for row in rows if row["machine"]))
        say(console, f"Median time for one image, and memory on one thread, on {machines}.")
        say(
            console, "Larq Compute Engine's fast kernels are for ARM v8; on other processors it shows sizes, not speed."
        )
    for row in rows:
        if row["failed"]:
            say(console, f"{row['model']} failed in {row['failed']}", "red")


def print_people(people: pd.DataFrame, console: Console) -> None:
    """Print people beside classifiers, and whose flips people do not share.

    Args:
        people: as `sum_up_people` returns it.
        console: where to.
    """
    from artattack.report.page_tables import PEOPLE_FIELDS, fill
    from artattack.results.people import in_sentences
    from artattack.results.records import labelled

    fields = [field for field in PEOPLE_FIELDS if field.name in _OF_PEOPLE]  # the report has all, with their counts
    for label, rows in labelled(people).groupby("label", sort=False):
        say(console, str(label), "bold")
        filled = fill(rows, fields)
        cells = [[cell.text for cell in row] for row in filled.rows]
        console.print(lay_out([field.name for field in filled.columns], cells, prose=0))
        say(console, "")
    for sentence in in_sentences(people):
        say(console, sentence, "bold")


def complain(message: str) -> None:
    """Print an error in one line on standard error."""
    Console(stderr=True).print(f"artattack: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning in one line on standard error."""
    Console(stderr=True).print(
        f"artattack: warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True
    )


@contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a callback that draws a progress bar in a terminal: the current step, units done, units in all."""
    screen = Console(stderr=True)
    with progress_bar(screen, disable=not screen.is_terminal) as on_progress:
        yield on_progress


def lay_out(columns: Sequence[str], rows: Sequence[Sequence[str]], *, prose: int = 1) -> Table:
    """Lay out rows in columns; words of the last `prose` columns may go on the next line, others stay whole."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, column in enumerate(columns):
        wraps = i >= len(columns) - prose
        longest = max(len(cell) for cell in (column, *(row[i] for row in rows)))
        table.add_column(column, min_width=None if wraps else longest, no_wrap=not wraps, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan of a run, with its size and time."""
    benchmark, images, variants = plan.benchmark, len(plan.samples), len(plan.variants)
    attacks = variants - 1  # the first are the images untouched
    classifiers = len(benchmark.classifiers)
    for line in (
        *(variant.title for variant in plan.variants),
        "",
        f"name         {benchmark.name}, seed {benchmark.seed}",
        f"images       {images} of {plan.image_set.name}, {in_pixels(benchmark.images.shape)}",
        *([f"             {plan.image_set.note}"] if plan.image_set.note else []),
        f"classifiers  {', '.join(benchmark.classifiers)}",
        f"cells        {len(plan.cells)}, of up to {benchmark.batch_size} images",
        f"to perturb   {images * attacks} images ({images} images x {attacks} attacks and controls)",
        f"records      {images * variants * classifiers} ({classifiers} classifiers)",
        *([f"to download  artattack models fetch {' '.join(missing)}"] if (missing := plan.to_fetch) else []),
        f"passes       {plan.passes:.3g} of an image through a network, about {in_time(plan.seconds)}",
    ):
        say(console, line)


def print_progress(progress: RunProgress, console: Console) -> None:
    """Print the progress of a run, one fact per line."""
    of = f" of {progress.cells}" if progress.cells is not None else ""
    say(console, f"state   {progress.state}", "bold")
    say(console, f"cells   {progress.done}{of} done")
    if progress.unreadable:
        say(console, f"images  {progress.unreadable} could not be read", "red")
    for reason, count in sorted(progress.failed.items(), key=lambda item: -item[1]):
        say(console, f"failed  {count} x {reason}", "red")
    for key, words in list(progress.amiss.items())[:_CELLS]:
        say(console, f"amiss   {key} {words}", "red")
    if len(progress.amiss) > _CELLS:
        say(console, f"amiss   {len(progress.amiss) - _CELLS} more cells", "red")
    if progress.next:
        say(console, f"next    {progress.next}")
    if progress.seconds_left is not None and progress.state != "finished":
        say(console, f"left    about {in_time(progress.seconds_left)}, at the pace so far")
    elif progress.overdue:
        say(console, "left    unknown: the cell under way takes longer than any before")


def print_cache(cache: Cache, console: Console) -> None:
    """Print the size, limit and folder of a cache, one fact per line."""
    found = cache.size()
    of = f"of {in_bytes(cache.limit)}" if cache.limit else "and keeps no more: ARTATTACK_CACHE_SIZE is 0"
    say(console, f"folder   {cache.folder}")
    say(console, f"batches  {found.entries} of perturbed images")
    say(console, f"size     {in_bytes(found.size)} {of}")
    if found.oldest is not None:
        say(console, f"oldest   last used {datetime.fromtimestamp(found.oldest):%Y-%m-%d %H:%M}")


def in_bytes(size: int) -> str:
    """Return a number of bytes as people read it, such as 5 GB or 12.5 MB."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def in_time(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * _HOUR:
        return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.0f} days" if seconds < 1000 * _DAY else f"{seconds / (365 * _DAY):.3g} years"


def print_checks(checks: pd.DataFrame, console: Console) -> None:
    """Print a table of checks for each classifier, and below it the meaning of checks that did not pass."""
    for classifier, rows in checks.fillna("").groupby("classifier", sort=False):
        say(console, str(classifier), "bold")
        cells = rows[["status", "check", "figures"]].astype(str).to_numpy().tolist()
        console.print(lay_out(["status", "check", "figures"], cells))
        for row in rows[rows["status"] != "pass"].itertuples():
            say(console, f"{row.check}: {row.meaning}", "red" if row.status == "fail" or row.figures else "dim")
        say(console, "")
    counts = checks["status"].value_counts()
    say(console, ", ".join(f"{counts.get(status, 0)} {word}" for status, word in _STATUSES.items()))


def print_agreement(found: Agreement, copy: str, original: str, console: Console) -> None:
    """Print the differences between two models' answers, and advice."""
    rows = [
        ["images", str(found.images)],
        ["same most likely class", f"{found.same} of {found.images}"],
        ["largest difference", f"{found.largest:.3g}, of '{found.where}' ({found.values})"],
        ["median difference", f"{found.median:.3g}"],
        ["taken for rounding", f"up to {found.tolerance:g}"],
    ]
    console.print(lay_out(["", f"{copy} against {original}"], rows))
    say(console, "They agree." if found.agree else f"They differ. {found.advice}", None if found.agree else "red")


def print_view(view: View, console: Console) -> None:
    """Print a classifier's best classes before and after; of an untrained one, loudly."""
    title = Text(view.classifier, style="bold")
    if view.weights == "random":
        title.append(" RANDOM WEIGHTS", style="bold red")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("before", "after"):
        table.add_column("", justify="right", no_wrap=True)
        table.add_column(heading, min_width=_NAME_WIDTH)
    for (_, before, p), (_, after, q) in zip(view.before, view.after, strict=True):
        table.add_row(f"{p:.1%}", Text(before), f"{q:.1%}", Text(after))
    console.print(Group(title, table, ""))
