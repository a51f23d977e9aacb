"""The search of the book: every part of every page as a place with its words.

The page ``search.html`` holds all places and MiniSearch (https://lucaong.github.io/minisearch/,
MIT), which builds its index in the browser: a page that is opened from a disk may fetch no file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from bs4 import BeautifulSoup, NavigableString, Tag

HERE = Path(__file__).parent
LIBRARY = HERE / "minisearch"
#: What stands on a page but answers no question.
PASSED_OVER = ".face, .turn, .progress, math, script, summary"


class Place(TypedDict):
    """A part of a page: where it is, what it is called, and its words."""

    id: str  # file and part, which a link leads to
    page: str
    title: str
    text: str


def places(html: str, file: str, page: str) -> list[Place]:
    """The parts of a page, in its order. A part begins at a heading, or a paragraph, with an id.

    file: the page's file name. page: what the contents call it.
    """
    main = BeautifulSoup(html, "lxml").main
    assert main is not None, "every page has a <main>"
    for passed_over in main.select(PASSED_OVER):
        passed_over.decompose()
    found: list[Place] = [{"id": file, "page": page, "title": page, "text": ""}]
    for node in main.descendants:
        if isinstance(node, Tag) and node.get("id"):
            heading = node.find(["h3", "strong"]) or node
            title = _plain(heading.get_text(" "))
            found.append({"id": f"{file}#{node['id']}", "page": page, "title": title, "text": ""})
        elif isinstance(node, NavigableString):
            # the words of neighbouring cells do not touch; those of code do, whatever its colours
            found[-1]["text"] += str(node) if node.find_parent("pre") else f"{node} "
    return [place | {"text": text} for place in found if (text := _plain(place["text"]))]


def scripts() -> list[str]:
    """The scripts of the search page, in the order in which they run."""
    licence = (LIBRARY / "LICENSE.txt").read_text(encoding="utf-8")
    library = (LIBRARY / "index.js").read_text(encoding="utf-8")
    own = (HERE / "search.js").read_text(encoding="utf-8")
    return [f"/*! MiniSearch\n{licence}*/\n{library}", own]


def _plain(text: str) -> str:
    return " ".join(text.split())
