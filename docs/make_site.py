"""Build the documentation site: `python docs/make_site.py` writes it to build/site.

The pages are those of docs/, and READMEs and cards that lie elsewhere. They are gathered in build/docs, with links that
hold there and the commands written in, and Zensical makes the site of them by mkdocs.yml, strictly: a dead link or
anchor ends the build, and so does a page that would make a browser ask another host for something.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

ROOT = Path(__file__).parents[1]
GATHERED = ROOT / "build" / "docs"  # docs_dir of mkdocs.yml
BUILT = ROOT / "build" / "site"  # its site_dir
ELSEWHERE = {  # file of the checkout -> page of the site
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "datasets/README.md": "datasets.md",
    "results/README.md": "columns.md",
    "benchmarks/README.md": "benchmarks.md",
    "artattack/models/weights/quicknet_tiny.md": "quicknet_tiny.md",
    "artattack/models/weights/quicknet_distilled.md": "quicknet_distilled.md",
}
COMMANDS = "<!-- commands -->"  # the place for them, in docs/commands.md
NOT_PAGES = shutil.ignore_patterns("*.py", "__pycache__")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.M | re.S)
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")  # to a file, with an anchor or without
PICTURE = re.compile(r"^!\[([^\]]*)\]\(([^)\s]+)\)$", re.M)  # alone in its paragraph
TABLE = re.compile(r"(?:^\|.*\n)+", re.M)
LONG = 32  # letters of a cell that is no figure
EXAMPLES = re.compile(r"^Examples:\n((?:\n  \[bold\].*\[/\]\n?)+)", re.M)
LISTED = re.compile(r"(?<=\$ )(artattack[\w ]*)( \[OPTIONS\] COMMAND(?:.|\n)*?\*\*Commands\*\*:\n\n)((?:\* .*\n)+)")
FETCHES = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
OTHER_HOST = re.compile(r"(?:https?:)?//")
IN_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^)\"']+)")


def gather() -> None:
    """Put all pages, and what they show, into one folder."""
    shutil.rmtree(GATHERED, ignore_errors=True)
    shutil.copytree(ROOT / "docs", GATHERED, ignore=NOT_PAGES)
    for source, page in ELSEWHERE.items():
        shutil.copy(ROOT / source, GATHERED / page)
    sources = {page: source for source, page in ELSEWHERE.items()}
    for path in sorted(GATHERED.rglob("*.md")):
        page = path.relative_to(GATHERED).as_posix()
        text = relink(path.read_text(encoding="utf-8"), sources.get(page, f"docs/{page}"), page)
        if COMMANDS in text:
            text = text.replace(COMMANDS, commands())
        path.write_text(lay_out(text), encoding="utf-8")


def lay_out(text: str) -> str:
    """Return a text whose pictures open in full where they are clicked, and whose figures stay in one line."""
    return TABLE.sub(_figures, PICTURE.sub(r"[![\1](\2)](\2){.figure}", text))


def _figures(table: re.Match[str]) -> str:
    rows = [re.split(r"(?<!\\)\|", line)[2:-1] for line in table[0].splitlines()[2:]]
    if any(len(cell.strip()) > LONG for row in rows for cell in row):
        return table[0]
    return f'<div class="figures" markdown>\n\n{table[0]}\n</div>\n'


def relink(text: str, source: str, page: str) -> str:
    """Return a text with links that hold on the site instead of in the checkout.

    Of a link to something that the site does not have, the words are left.

    Args:
        text: of a page, in Markdown.
        source: its file in the checkout.
        page: what it is on the site.

    Raises:
        SystemExit: a link leads to no file.
    """
    code = [found.span() for found in CODE.finditer(text)]

    def relinked(link: re.Match[str]) -> str:
        if any(start < link.start() and link.end() < end for start, end in code):
            return link[0]
        image, words, target, anchor = link[1], link[2], normpath(join(dirname(source), link[3])), link[4] or ""
        if not (ROOT / target).exists():
            raise SystemExit(f"{source}: link to {link[3]}, which does not exist")
        known = page_of(target)
        return f"{image}[{words}]({relpath(known, dirname(page) or '.')}{anchor})" if known else words

    return LINK.sub(relinked, text)


def page_of(target: str) -> str | None:
    """Return what the site calls a file of the checkout, or None where the site does not have it."""
    page = ELSEWHERE.get(target) or ELSEWHERE.get(f"{target}/README.md") or target.removeprefix("docs/")
    known = page in ELSEWHERE.values() or (ROOT / "docs" / page).is_file()
    return page if known else None


def commands() -> str:
    """Return what Typer writes about the commands, without its title.

    Examples become code, and lists of commands, which it cuts short, links.
    """
    typer = [sys.executable, "-m", "typer", "artattack.cli", "utils", "docs", "--name", "artattack"]
    written = subprocess.run(typer, check=True, capture_output=True, encoding="utf-8", cwd=ROOT).stdout
    return LISTED.sub(_as_links, EXAMPLES.sub(_as_code, written.partition("\n")[2]))


def _as_code(examples: re.Match[str]) -> str:
    lines = re.findall(r"\[bold\](.*)\[/\]", examples[1])
    return "\n".join(["**Examples**:", "", "```console", *(f"$ {line}" for line in lines), "```", ""])


def _as_links(command: re.Match[str]) -> str:
    lines = (
        f"* [`{name}`](#{f'{command[1]}-{name}'.replace(' ', '-')})"
        for name in re.findall(r"^\* `(.+?)`", command[3], re.M)
    )
    return command[1] + command[2] + "\n".join(lines) + "\n"


class Fetches(HTMLParser):
    """Collects what a page makes a browser fetch from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        values = dict(attrs)
        wanted = values.get(FETCHES.get(tag, "")) or ""
        if OTHER_HOST.match(wanted) and values.get("rel") != "canonical":
            self.found.append(wanted)


def other_hosts(site: Path) -> Iterator[str]:
    """Yield a line for each script, style, font or picture that a built site would fetch from another host."""
    for path in sorted(site.rglob("*.html")):
        page = Fetches()
        page.feed(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)} fetches {url}" for url in page.found)
    for path in sorted(site.rglob("*.css")):
        found = IN_STYLES.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)} fetches {url}" for url in found)


def main() -> None:
    """Gather the pages, build the site and look at it."""
    gather()
    zensical = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(zensical, check=False, capture_output=True, encoding="utf-8", cwd=ROOT)
    if built.returncode:
        told = (built.stdout + built.stderr).partition("Traceback")[0]  # it ends in its own when a link is dead
        raise SystemExit(re.sub(r"\x1b\[[0-9;]*m", "", told).strip())
    if found := list(other_hosts(BUILT)):
        raise SystemExit("\n".join(found))
    print(f"Written: {BUILT / 'index.html'}")


if __name__ == "__main__":
    main()
