"""The book of a run: its executed notebooks, the claims, the particles and the documents, as pages.

``build(run)`` writes ``book/`` beside the report page. It reads only what the run left in
``run.figures`` and the checkout's ``docs/``; no page needs the network. Chapters and the report
page lead to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from openurine_lib import pages
from openurine_lib.experiments.run import Run
from openurine_lib.files import PACKAGE, write_text
from openurine_lib.paper import claims, report
from openurine_lib.paper.book import atlas, chapters, prose, search

TEMPLATES = Path(__file__).parent
DOCS = PACKAGE.parent / "docs"
FOLDER = "book"
#: Documents of the checkout, in this order: stem -> what the contents call it.
DOCUMENTS = {
    "methods": "The rows of Tables 4 to 6",
    "measured": "What was measured",
    "formats": "Labels that are read",
    "pretrained": "Pretrained weights",
    "clusters": "More than one machine",
    "benchmarks": "Timings",
}
ATLAS, CLAIMS, SEARCH = "particles", "claims", "search"


class NoBook(ValueError):
    """There is nothing to make a book of; the message names what is missing and the remedy."""


@dataclass(frozen=True)
class Leaf:
    """A page of the book: the file's stem, what the contents call it, and what it answers."""

    stem: str
    title: str
    part: str  # under which heading of the contents

    @property
    def file(self) -> str:
        return f"{self.stem}.html"


def build(run: Run) -> Path:
    """Writes the book and returns its first page. Raises NoBook."""
    notebooks = sorted((run.figures / "notebooks").glob("*.ipynb"))
    ledger = run.figures / f"{claims.STEM}.csv"
    if not (notebooks and ledger.exists()):
        lacking = run.figures / "notebooks" if not notebooks else ledger
        raise NoBook(
            f"{lacking}: not there; run it first: make reproduce PROFILE={run.profile.name}"
        )
    if not DOCS.is_dir():
        raise NoBook(f"{DOCS}: not there; make the book from a checkout of the project")
    out = run.figures / FOLDER
    leaves = [Leaf(path.stem, chapters.title_of(path), "Notebooks") for path in notebooks]
    leaves.append(Leaf(CLAIMS, "Claims of the paper", "Results"))
    leaves.append(Leaf(ATLAS, "Atlas of the particles", "Documents"))
    leaves += [Leaf(stem, title, "Documents") for stem, title in DOCUMENTS.items()]
    text = partial(prose.Prose, {leaf.stem for leaf in leaves}, out)  # one a page
    contents = [(part, list(own)) for part, own in groupby(leaves, lambda leaf: leaf.part)]
    shared: dict[str, Any] = {"run": run.name, "banner": run.banner()}
    shared |= {"leaves": leaves, "contents": contents}

    found: list[search.Place] = []

    def write(name: str, template: str, here: str, **content: Any) -> None:
        place = next((i for i, leaf in enumerate(leaves) if leaf.stem == here), None)
        around: dict[str, Any] = {
            "before": leaves[place - 1] if place else None,
            "after": None if place is None or place + 1 == len(leaves) else leaves[place + 1],
        }
        page = pages.render(
            TEMPLATES / template, styled_cells=True, here=here, **around, **shared, **content
        )
        write_text(out / name, page)
        if place is not None:
            found.extend(search.places(page, name, leaves[place].title))

    for path in notebooks:
        body = chapters.body(path, out, text())
        parts = [(stem, title) for stem, title, made_by in report.CONTENTS if made_by == path.stem]
        write(f"{path.stem}.html", "chapter.html.j2", path.stem, body=Markup(body), parts=parts)
    header, rows = claims.for_page(ledger)
    outcomes = [*claims.VERDICTS, claims.BY_CONSTRUCTION]
    write("claims.html", "ledger.html.j2", CLAIMS, header=header, rows=rows, outcomes=outcomes)
    heads, remainder = atlas.entries(DOCS / "particles.md", out, text())
    write("particles.html", "atlas.html.j2", ATLAS, heads=heads, remainder=remainder)
    for stem in DOCUMENTS:
        body = text().page(DOCS / f"{stem}.md")
        write(f"{stem}.html", "document.html.j2", stem, body=body)
    write("search.html", "search.html.j2", SEARCH, places=found, scripts=search.scripts())
    gains = report.gains_of(run.figures)
    headline = report.headline(run.figures).reindex(columns=["name", "map50_here", "map50_paper"])
    write("index.html", "cover.html.j2", "", gains=gains, headline=headline.to_numpy().tolist())
    return out / "index.html"
