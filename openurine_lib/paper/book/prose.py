"""Markdown as HTML: equations as MathML, links within the book, nothing that is markup already.

MathML (https://www.w3.org/TR/mathml-core/) is drawn by the browser itself, so no script that draws
equations, and no network, is needed. HTML in Markdown stays text.
"""

from __future__ import annotations

import shutil
from collections.abc import Set
from pathlib import Path, PurePosixPath
from typing import Any

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from mdit_py_plugins.anchors.index import slugify, unique_slug
from mdit_py_plugins.dollarmath import dollarmath_plugin

from openurine_lib.files import atomic_path

PICTURES = {".png", ".jpg", ".svg"}


class Prose:
    """Renders the Markdown of one page of a book."""

    def __init__(self, stems: Set[str], out: Path):
        """stems: the book's pages, without their ending. out: its folder, for pictures."""
        self.stems, self.out = stems, out
        self.slugs: set[str] = set()
        self.markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        self.markdown.use(dollarmath_plugin, renderer=_equation)
        self.markdown.add_render_rule("table_open", _table_open)
        self.markdown.add_render_rule("table_close", _table_close)

    def text(self, source: str, folder: Path | None = None) -> Markup:
        """Some Markdown as HTML. folder: where its links start, if it has any to files."""
        tokens = self.markdown.parse(source)
        for cell, inline, end in zip(tokens, tokens[1:], tokens[2:], strict=False):
            if cell.type == "th_open" and not inline.content:
                cell.tag = end.tag = "td"  # what heads nothing is no head
        for token, inline in zip(tokens, tokens[1:], strict=False):
            if lead := _lead(token, inline):
                slug = unique_slug(slugify(lead), self.slugs)
                token.attrSet("id", slug)
                self.slugs.add(slug)
        for token in tokens:
            if token.children:
                token.children = self._resolved(token.children, folder)
        return Markup(self.markdown.renderer.render(tokens, self.markdown.options, {}))

    def page(self, file: Path) -> Markup:
        """A Markdown file as HTML."""
        return self.text(file.read_text(encoding="utf-8"), file.parent)

    def _resolved(self, children: list[Token], folder: Path | None) -> list[Token]:
        """The tokens of a line, with links to pages of the book; other files lose their link."""
        kept, dropped = [], 0
        for token in children:
            if token.type == "image":
                token.attrSet("src", self._picture(str(token.attrGet("src")), folder))
            elif token.type == "link_open":
                target = self._target(str(token.attrGet("href")))
                if target is None:
                    dropped += 1
                    continue
                token.attrSet("href", target)
            elif token.type == "link_close" and dropped:
                dropped -= 1  # links hold no links
                continue
            kept.append(token)
        return kept

    def _target(self, href: str) -> str | None:
        """Where a link leads from a page of the book; None if to what is not in it."""
        if href.startswith(("https://", "http://", "#")):
            return href
        path, _, part = href.partition("#")
        stem = PurePosixPath(path).stem
        if stem not in self.stems:
            return None
        return f"{stem}.html" + (f"#{part}" if part else "")

    def _picture(self, src: str, folder: Path | None) -> str:
        """Copies a picture into the book, and says where it stands there."""
        file = (folder or Path()) / src
        if file.suffix not in PICTURES or not file.is_file():
            return src
        with atomic_path(self.out / "pictures" / file.name) as temporary:
            shutil.copyfile(file, temporary)
        return f"pictures/{file.name}"


def _lead(block: Token, inline: Token) -> str:
    """What a part of a page is about, where one begins: a heading, or a paragraph's bold start."""
    children = inline.children or []
    if block.type == "paragraph_open":
        kinds = [child.type for child in children]
        if kinds[:2] != ["text", "strong_open"] or children[0].content:
            return ""
        children = children[: kinds.index("strong_close")]
    elif block.type != "heading_open":
        return ""
    return "".join(child.content for child in children)


def _equation(content: str, options: dict[str, Any]) -> str:
    """An equation as MathML; as its source where the converter does not know a command."""
    display = "block" if options["display_mode"] else "inline"
    source, _, number = content.partition(r"\tag{")
    try:
        mathml = convert(source.strip(), display=display)
    except Exception:  # the converter has no base class of its own errors
        return f"<code>{escape(content)}</code>"
    if number:
        mathml += f'<span class="number">({escape(number.partition("}")[0])})</span>'
    if not options["display_mode"]:
        return mathml
    return f'<div class="equation" tabindex="0" role="group" aria-label="Equation">{mathml}</div>'


def _table_open(*given: Any) -> str:
    return '<div class="wide" tabindex="0" role="group" aria-label="Table"><table class="sortable">'


def _table_close(*given: Any) -> str:
    return "</table></div>"
