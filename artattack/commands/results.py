"""The commands that read runs: `status`, `report`, `compare`, `check` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from artattack.checks import defaults as check_defaults
from artattack.checks.defaults import CHECKS_FILE
from artattack.commands.options import DEFAULT, RunArgument, Seed, examples
from artattack.commands.printing import print_checks, print_progress, print_side_by_side, say, show_progress
from artattack.errors import ArtattackError
from artattack.files import names_folder, shown, to_path, write_file

console = Console()


@examples("artattack status results/mine", "watch artattack status results/mine")
def status(folder: RunArgument) -> None:
    """Show a run's progress: finished cells, failures and their causes, and the time left.

    Exit codes: 0 finished and nothing failed; 1 running, stopped, or something failed; 2 bad input.
    """
    from artattack.results.progress import read_progress
    from artattack.results.run_folder import load_run

    run = load_run(folder)
    progress = read_progress(run)
    print_progress(progress, console)
    if progress.state in ("stopped", "incomplete"):
        say(console, f"To go on: {run.to_go_on}")
    if progress.state != "finished" or progress.failed or progress.unreadable:
        raise typer.Exit(1)


@examples(
    "artattack report results/default-20261123-120000",
    "artattack report out -o share/report.html",
    "artattack report out --format latex > table.tex",
    "artattack report out --figures figures/",
)
def report(
    folder: RunArgument,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; default: report.html in RUN.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="html; or csv, markdown or latex for the summary, printed without --out.")
    ] = "html",
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Write PNG and SVG figures to this folder instead.")
    ] = None,
) -> None:
    """Write a finished run's report: one HTML file that opens without a network; or tables, or figures."""
    from artattack.report import save_figures, write_report, write_tables
    from artattack.results.run_folder import load_run

    opened = load_run(folder)
    if figures is not None:
        say(console, f"Written: {len(save_figures(opened, figures))} files in {figures}")
    elif form == "html":
        say(console, f"Written: {shown(write_report(opened, out))}")
    elif out is None:
        typer.echo(write_tables(opened, form), nl=False)
    else:
        write_file(out, write_tables(opened, form).encode())
        say(console, f"Written: {out}")


@examples(
    "artattack compare results/before results/after",
    "artattack compare results/seed-0 results/seed-1 results/seed-2 --csv seeds.csv",
)
def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Folders of finished runs, or their URLs; the first is the reference.")
    ],
    table: Annotated[Path | None, typer.Option("--csv", help="CSV file to write, one row per rate.")] = None,
) -> None:
    """Compare runs with the first: differences of rates, their significance and their causes."""
    from artattack.results.between_runs import compare_runs
    from artattack.results.tables import to_csv

    if len(runs) < 2:
        raise ArtattackError("compare: give two or more run folders, the reference first")
    found = compare_runs(*runs)
    print_side_by_side(found, console)
    if table:
        write_file(table, to_csv(found.table))
        say(console, f"Written: {table}")


@examples(
    "artattack check results/default-20260101-120000",
    "artattack check quicknet_tiny efficientnet_lite0 -o checks.csv",
    "artattack check quicknet_tiny --eps 4/255 --steps 50",
)
def check(
    what: Annotated[list[str], typer.Argument(help="Folder or URL of a finished run, or names of models.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="CSV to write. Default for a run: checks.csv in its folder.")
    ] = None,
    limit: Annotated[
        int, typer.Option(help="Maximum number of images.", min=check_defaults.FEWEST)
    ] = check_defaults.LIMIT,
    eps: Annotated[str, typer.Option(help="Radius of the attacks' linf ball.")] = check_defaults.EPS,
    steps: Annotated[int, typer.Option(help="Iterations of PGD.", min=1)] = check_defaults.STEPS,
    seed: Seed = DEFAULT.seed,
) -> None:
    """Check that attacks on classifiers work: gradients, budgets, convergence and more.

    The checks of a run go to its folder and into its report.

    Exit codes: 0 all passed or do not apply; 1 some failed or broke down; 2 bad input; 130 interrupted.
    """
    from artattack.checks import all_sound, run_checks

    of_run = len(what) == 1 and names_folder(what[0])
    path = out or (to_path(what[0]) / CHECKS_FILE if of_run else None)
    with show_progress() as on_progress:
        checks = run_checks(
            what[0] if of_run else what,
            limit=limit,
            eps=eps,
            steps=steps,
            seed=seed,
            out=path,
            on_progress=on_progress,
        )
    print_checks(checks, console)
    if path:
        say(console, f"Written: {shown(path)}")
    if of_run and out is None:
        from artattack.report import write_report
        from artattack.results.run_folder import load_run

        say(console, f"Report: {shown(write_report(load_run(what[0])))}")
    if not all_sound(checks):
        raise typer.Exit(1)


@examples(
    "artattack export results/mine --format textattack -o log.csv",
    "artattack export results/mine --format robustbench -o model_info",
)
def export(
    run: Annotated[str, typer.Argument(help="Folder of a finished run, or its URL.")],
    name: Annotated[
        str, typer.Option("--format", help="robustbench (JSON, one for each classifier), textattack (CSV) or parquet.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write; for robustbench, the folder.")],
) -> None:
    """Export a run in another project's format."""
    from artattack.results.exports import export as write_export

    for path in write_export(run, name, out):
        say(console, f"Written: {path}")
