"""Runs, reports and progress bars in a notebook, without Jupyter: the methods that it calls."""

import builtins
import html
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from artattack.progress import in_notebook, reporting_to
from artattack.results.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]


def test_a_finished_run_shows_its_verdict_its_table_and_pictures(run: RunFolder) -> None:
    shown = run._repr_html_()
    assert "On lite0, style/waves/quick flips most among the attacks that did not read it: 75% [41, 93]" in shown
    assert "It is not shown to flip more than every control" in shown
    assert shown.count("<table") == 1
    assert shown.count("<tr") == 1 + 3  # the header, style, fgsm and noise
    assert shown.count('<img src="data:image/webp;base64,') == 2 * 3  # three flips, before and after
    assert "tabby 75%</figcaption>" in shown
    assert "beer bottle 50%</figcaption>" in shown


def test_names_are_text(make_run: MakeRun, tmp_path: Path, evil: str) -> None:
    run = make_run(tmp_path / "run", name="x")
    rows = json.loads((run.path / "cells" / "all.json").read_text())["rows"]
    run.write_cell("all", [row | ({"classifier": evil} if "classifier" in row else {}) for row in rows])
    run.finish(["all"])
    assert "<script>" not in RunFolder.open(run.path)._repr_html_()


def test_a_run_that_is_not_finished_shows_its_progress(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {"config": {}})
    assert folder._repr_html_().endswith("</b>: stopped, 0 cells done</p>")


def test_the_report_is_written_and_shows_itself_in_a_frame(run: RunFolder) -> None:
    page = run.report()
    assert page.path == run.path / "report.html"
    shown = page._repr_html_()
    assert shown.startswith('<iframe srcdoc="')
    content = shown[len('<iframe srcdoc="') : shown.index('" style=')]
    assert '"' not in content
    assert html.unescape(content) == page.path.read_text("utf-8")


class ZMQInteractiveShell:
    """Named as the shell of a notebook's kernel, by which Rich knows one."""


@pytest.fixture
def widgets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for a notebook with ipywidgets; return what is displayed."""
    displayed: list[Any] = []

    class Output:
        def __enter__(self) -> "Output":
            return self

        def __exit__(self, *_: object) -> None: ...

        def clear_output(self, wait: bool = False) -> None: ...

        def close(self) -> None:
            displayed.append("closed")

    modules = {
        "ipywidgets": {"Output": Output},
        "IPython": {},
        "IPython.display": {"display": lambda *shown, **_: displayed.extend(shown)},
    }
    for name, names in modules.items():
        module = ModuleType(name)
        module.__dict__.update(names)
        module.__spec__ = builtins.__spec__
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(builtins, "get_ipython", lambda: ZMQInteractiveShell(), raising=False)
    return displayed


def test_progress_bars_show_by_themselves_in_a_notebook(widgets: list[Any]) -> None:
    assert in_notebook()
    with reporting_to(None) as tell:
        tell("painting [a]", 1, 2)
        assert type(widgets[0]).__name__ == "Output"
    assert "closed" in widgets


def test_elsewhere_nothing_is_drawn_and_a_callback_goes_before_a_bar(
    widgets: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, int, int]] = []
    with reporting_to(lambda *step: told.append(step)) as tell:  # type: ignore[arg-type]
        tell("painting", 1, 2)
    assert (told, widgets) == ([("painting", 1, 2)], [])
    monkeypatch.delattr(builtins, "get_ipython", raising=False)
    assert not in_notebook()
    with reporting_to(None) as tell:
        tell("painting", 1, 2)
    assert (capsys.readouterr().out, widgets) == ("", [])
