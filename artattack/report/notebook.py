"""Display of a run in a notebook."""

from __future__ import annotations

from html import escape

from artattack.report.striking import StrikingFlip, striking_flips
from artattack.results.progress import read_progress
from artattack.results.run_folder import RunFolder


def run_in_notebook(run: RunFolder) -> str:
    """Return a run as HTML: its progress or, when finished, the headline and up to three pictures before and after.

    Raises:
        ArtattackError: a table of a finished run is incomplete or damaged.
    """
    name = escape(str(run.path))
    if run.info["status"] != "finished":
        progress = read_progress(run)
        of = f" of {progress.cells}" if progress.cells is not None else ""
        return f"<p><b>{name}</b>: {escape(progress.state)}, {progress.done}{of} cells done</p>"
    headline = run.headline
    parts = [f"<p><b>{name}</b></p>", f"<p>{' '.join(map(escape, headline.sentences))}</p>"]
    if headline.caption:
        parts += [f"<p>{escape(headline.caption)}</p>", headline.table.to_html(index=False, border=0)]
    if headline.left_out:
        parts.append(f"<p>{headline.left_out} more attacks and controls are in <code>run.report()</code>.</p>")
    return "".join([*parts, *map(_before_and_after, striking_flips(run)[0])])


def _before_and_after(flip: StrikingFlip) -> str:
    view = flip.views[0]
    pictures = "".join(
        f'<figure style="display:inline-block;margin:0 1em 0 0"><img src="{picture}" width="224">'
        f"<figcaption>{escape(seen)}</figcaption></figure>"
        for picture, seen in ((flip.original, view.before), (flip.perturbed, view.after))
    )
    caption = f"{flip.attack}, predictions of {view.classifier}; {flip.distance}"
    return f"<div>{pictures}<p>{escape(caption)}</p></div>"
