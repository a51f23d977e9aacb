"""An executed notebook as a chapter, by nbconvert with a template of ours (``cells.html.j2``)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from markupsafe import Markup, escape

from openurine_lib.files import atomic_path
from openurine_lib.paper.book.prose import Prose

TEMPLATE = Path(__file__).with_name("cells.html.j2")
PICTURES = {"image/png": "png", "image/jpeg": "jpg"}


def title_of(path: Path) -> str:
    """A notebook's first heading; its file's name if it has none."""
    for cell in nbformat.read(path, as_version=4).cells:
        line = cell.source.partition("\n")[0]
        if cell.cell_type == "markdown" and line.startswith("# "):
            return line[2:].strip()
    return path.stem


def body(path: Path, out: Path, prose: Prose) -> str:
    """The chapter's HTML, without head and frame; its pictures go into ``out/pictures``."""
    from nbconvert import HTMLExporter  # seconds

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in _tags(c)]
    lead, number = path.stem, 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lead = _lead(cell.source) or lead
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            kind = next((k for k in PICTURES if k in data), None)
            if kind and "text/html" not in data:
                number += 1
                name = f"{path.stem}-{number}.{PICTURES[kind]}"
                _keep(out / "pictures" / name, data[kind])
                output.metadata["file"], output.metadata["alt"] = f"pictures/{name}", lead
    exporter = HTMLExporter(
        template_file=str(TEMPLATE), filters={"prose": prose.text, "data_table": _table}
    )
    html, _ = exporter.from_notebook_node(notebook)
    return html


def _tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def _lead(source: str) -> str:
    """What a cell of prose is about: its heading, or the bold words that it begins with."""
    line = source.lstrip().partition("\n")[0]
    if line.startswith("#"):
        return line.lstrip("# ").strip()
    words = line.split("**")
    return words[1].rstrip(".") if len(words) > 2 and not words[0] else ""


def _keep(file: Path, encoded: str) -> None:
    with atomic_path(file) as temporary:
        temporary.write_bytes(base64.b64decode(encoded))


def _table(html: str) -> Markup:
    """A table of pandas in a frame that can be moved sideways; a head without a name is no head."""
    soup = BeautifulSoup(html, "lxml")
    for style in soup("style"):
        style.decompose()  # ours is used
    for head in soup("th"):
        if not head.get_text(strip=True):
            head.name = "td"
    for table in soup("table"):
        del table["border"]
        heads = table.select("thead tr")
        if len(heads) == 1 and len(table.select("tbody tr")) > 1:
            table["class"] = "sortable"
    inside = soup.body.decode_contents() if soup.body else str(escape(html))
    return Markup(f'<div class="wide" tabindex="0" role="group" aria-label="Result">{inside}</div>')
