"""The command `survey`: a page that asks people what they see, their answers, and how many people are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from artattack.commands.options import examples
from artattack.commands.printing import in_bytes, lay_out, print_people, say, show_progress, warn
from artattack.errors import ArtattackError
from artattack.files import shown

console = Console()
_PAGE, _READ = "The page", "Answers and planning"


@examples(
    "artattack survey results/mine --ask-style",
    "artattack survey results/mine --versions style,blend --seconds 0.3 --mask --language de",
    "artattack survey results/mine --answers answers/",
    "artattack survey --plan",
)
def survey(
    folder: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Folder of a finished run, or its URL.")] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="Folder of participants' files: add their answers to the run.", rich_help_panel=_READ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print how many people and photos tell 90 % from 80 %.", rich_help_panel=_READ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="File to write; default: survey.html in RUN.", rich_help_panel=_PAGE),
    ] = None,
    versions: Annotated[
        str | None,
        typer.Option(
            help="Attacks and controls to show beside the untouched photos, with commas; default: all.",
            rich_help_panel=_PAGE,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Time for which a picture is shown, from 0.2; default: no limit.", rich_help_panel=_PAGE),
    ] = None,
    mask: Annotated[bool, typer.Option("--mask", help="Show noise after a picture.", rich_help_panel=_PAGE)] = False,
    classes: Annotated[
        Literal["run", "entry"],
        typer.Option(
            metavar="<word>",
            help="Classes to pick from: run, or entry, the 16 of Geirhos et al.",
            rich_help_panel=_PAGE,
        ),
    ] = "run",
    choices: Annotated[int, typer.Option(help="Number of classes to pick from, with run.", rich_help_panel=_PAGE)] = 12,
    per_person: Annotated[
        int | None, typer.Option(help="Most photos that one person answers; default: all.", rich_help_panel=_PAGE)
    ] = None,
    ask_style: Annotated[
        bool, typer.Option("--ask-style", help="Ask which style the picture is painted in.", rich_help_panel=_PAGE)
    ] = False,
    ask_altered: Annotated[
        bool, typer.Option("--ask-altered", help="Ask whether the picture was altered.", rich_help_panel=_PAGE)
    ] = False,
    practice: Annotated[int, typer.Option(help="Photos for practice.", rich_help_panel=_PAGE)] = 3,
    attention: Annotated[int, typer.Option(help="Attention checks: easy untouched photos.", rich_help_panel=_PAGE)] = 3,
    language: Annotated[
        str, typer.Option(help="en, de, or a YAML or JSON file with the texts.", rich_help_panel=_PAGE)
    ] = "en",
    consent: Annotated[
        Path | None, typer.Option(help="Text file of your own for the page before the start.", rich_help_panel=_PAGE)
    ] = None,
    quality: Annotated[
        int,
        typer.Option(
            help="Quality of the pictures, 1 to 100; 100 shows the exact pixels, less makes a smaller file.",
            rich_help_panel=_PAGE,
        ),
    ] = 100,
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random choice; default: the run's.", rich_help_panel=_PAGE)
    ] = None,
) -> None:
    """Ask people what they see in a run's pictures: write a page, or add the answers that it gave.

    The page is one HTML file that needs no network. Participants save their answers as a file and send it to you.
    """
    if plan and answers:
        raise ArtattackError("survey: --plan and --answers do different things; give one of them")
    if plan:
        _print_plan()
        return
    if folder is None:
        raise ArtattackError("survey: give the folder of a run, or --plan")
    if answers is not None:
        _add(folder, answers)
        return
    from artattack.report.survey import make_survey

    made = make_survey(
        folder,
        out,
        language=language,
        consent=consent,
        seconds=seconds,
        mask=mask,
        versions=[name.strip() for name in versions.split(",") if name.strip()] if versions else (),
        per_person=per_person,
        classes=classes,
        choices=choices,
        ask_style=ask_style,
        ask_altered=ask_altered,
        practice=practice,
        attention=attention,
        quality=quality,
        seed=seed,
    )
    say(console, f"{made.photos} photos in {len(made.versions)} versions: {', '.join(made.versions)}")
    say(console, f"A person answers {made.per_person} pictures, after {practice} for practice.")
    if made.left_out:
        say(console, f"Left out: {made.left_out} photos without pictures, or of other classes.")
    say(console, f"Written: {shown(made.path)}, {in_bytes(made.size)}")


def _add(folder: str, answers: Path) -> None:
    from artattack.report import write_report
    from artattack.results.answers import add_answers
    from artattack.results.run_folder import load_run

    run = load_run(folder)
    read = add_answers(run, answers)
    for line in read.left_out:
        warn(f"left out: {line}")
    people = run.people
    assert people is not None  # add_answers wrote it
    print_people(people, console)
    say(console, f"People whose answers count: {read.people}. Files left out: {len(read.left_out)}.")
    say(console, f"Written: {shown(run.path / 'answers.csv')} and people.csv")
    say(console, f"Report: {shown(write_report(run))}")


def _print_plan() -> None:
    from artattack.results import power

    with show_progress() as on_progress:
        table = power.plan_survey(on_progress=on_progress)
    shown = table.pivot(index="people", columns="photos", values="power")
    rows = [[str(people), *(f"{value:.0%}" for value in line)] for people, line in shown.iterrows()]
    say(console, "How often a survey tells 90 % right answers from 80 %, by people and photos", "bold")
    console.print(lay_out(["people", *(f"{photos} photos" for photos in shown.columns)], rows, prose=0))
    say(console, power.ASSUMPTIONS)
