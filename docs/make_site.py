"""Build the documentation site: `python docs/make_site.py [FOLDER]` writes it to site/ or FOLDER.

The pages are those of docs/ and the READMEs and cards that lie elsewhere. They are gathered in build/docs, with links that
hold there and the commands written in, and Zensical makes the site of them by mkdocs.yml, strictly: a dead link or anchor
ends the build, and so does a page that would make a browser ask another host for something.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, normpath, relpath

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
FIGURES = re.compile(r"<!-- table -->\n(.*?)<!-- end of table -->", re.S)
EXAMPLES = re.compile(r"^Examples:\n((?:\n  \[bold\].*\[/\]\n?)+)", re.M)
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
        text = PICTURE.sub(r"[![\1](\2)](\2){.figure}", text)  # which opens in full where it is clicked
        path.write_text(FIGURES.sub(r'<div class="figures" markdown>\n\n\1\n</div>', text), encoding="utf-8")


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
        image, words, target, anchor = link[1], link[2], normpath(f"{dirname(source)}/{link[3]}".lstrip("/")), link[4]
        if not (ROOT / target).exists():
            raise SystemExit(f"{source}: link to {link[3]}, which does not exist")
        known = page_of(target)
        return f"{image}[{words}]({relpath(known, dirname(page) or '.')}{anchor or ''})" if known else words

    return LINK.sub(relinked, text)


def page_of(target: str) -> str | None:
    """Return what the site calls a file of the checkout, or None where the site does not have it."""
    page = ELSEWHERE.get(target) or ELSEWHERE.get(f"{target}/README.md") or target.removeprefix("docs/")
    return page if (GATHERED / page).is_file() else None


def commands() -> str:
    """Return what Typer writes about the commands, without its title and with their examples as code."""
    typer = [sys.executable, "-m", "typer", "artattack.cli", "utils", "docs", "--name", "artattack"]
    written = subprocess.run(typer, check=True, capture_output=True, encoding="utf-8", cwd=ROOT).stdout
    listed = LISTED.sub(r"* [`\2`](#\1-\2)", EXAMPLES.sub(_as_code, written.partition("\n")[2]))
    return listed


def _as_code(examples: re.Match[str]) -> str:
    lines = re.findall(r"\[bold\](.*)\[/\]", examples[1])
    return "\n".join(["**Examples**:", "", "```console", *(f"$ {line}" for line in lines), "```", ""])


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
    """Gather the pages, build the site, look at it, and put it where it is wanted."""
    gather()
    zensical = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(zensical, check=False, capture_output=True, encoding="utf-8", cwd=ROOT)
    if built.returncode:
        told = (built.stdout + built.stderr).partition("Traceback")[0]  # it ends in its own when a link is dead
        raise SystemExit(re.sub(r"\x1b\[[0-9;]*m", "", told).strip())
    if found := list(other_hosts(BUILT)):
        raise SystemExit("\n".join(found))
    wanted = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    shutil.rmtree(wanted, ignore_errors=True)
    shutil.move(BUILT, wanted)
    print(f"Written: {wanted / 'index.html'}")


if __name__ == "__main__":
    main()
