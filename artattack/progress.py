"""Progress bars of commands in a terminal, and of functions in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]  # the current step, units done, total units


@contextmanager
def progress_bar(console: Console, *, disable: bool = False) -> Iterator[Progress]:
    """Yield a callback that draws a progress bar, which disappears at the end.

    Args:
        console: console to draw on; in a notebook, Rich draws a widget.
        disable: whether to draw nothing.
    """
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    bar = Bar(*columns, console=console, expand=True, transient=True, disable=disable)
    task = bar.add_task("starting", total=None)

    def on_progress(step: str, done: int, total: int) -> None:
        bar.start()  # has no effect on a bar that has started
        bar.update(task, description=escape(step), completed=done, total=total)

    try:
        yield on_progress
    finally:
        bar.stop()


@contextmanager
def reporting_to(on_progress: Progress | None) -> Iterator[Progress]:
    """Yield the caller's callback or, without one, a callback that draws a bar in a notebook and nothing elsewhere."""
    if on_progress:
        yield on_progress
    elif in_notebook():
        from rich.console import Console

        with progress_bar(Console()) as drawn:
            yield drawn
    else:
        yield lambda step, done, total: None


def in_notebook() -> bool:
    """Return whether this process is a notebook's and can draw widgets (the extra `notebook`)."""
    from rich.console import Console

    return Console().is_jupyter and find_spec("ipywidgets") is not None
