"""The page at the end of a run: every table and figure in the paper's order, each with where it came from.

``build(run)`` reads only what stands in ``run.figures``; the page needs nothing from outside that folder. First it
tests the paper's claims on the tables that are there, since only now all of them are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from openurine_lib.experiments.provenance import read_stamp
from openurine_lib.experiments.run import Run
from openurine_lib.files import write_text
from openurine_lib.paper import claims

# Stem, what it is in the paper, the notebook that makes it. Other stems that start with one of these (table7_confusion,
# fig4_recall) follow it.
CONTENTS = (
    (claims.STEM, "Claims of the paper", "00_paper_audit"),
    ("table1", "Table 1", "01_dataset_statistics"),
    ("table2", "Table 2", "01_dataset_statistics"),
    ("fig1", "Fig. 1", "01_dataset_statistics"),
    ("fig2", "Fig. 2", "01_dataset_statistics"),
    ("fig3a", "Fig. 3A", "02_ssl_pretraining"),
    ("fig3b", "Fig. 3B", "03_multihead_training"),
    ("table3", "Table 3", "05_hyperparameter_search"),
    ("fig4", "Fig. 4", "05_hyperparameter_search"),
    ("table4", "Table 4", "06_comparison"),
    ("table5", "Table 5", "07_ablations"),
    ("table6", "Table 6", "07_ablations"),
    ("table7", "Table 7", "08_classwise_analysis"),
    ("fig5", "Fig. 5", "09_gradcam"),
    ("attention", "Attention of Fig. 5, measured", "09_gradcam"),
    ("table8", "Table 8", "10_clinical_validation"),
    ("audit", "Audit of the published numbers", "00_paper_audit"),
)


@dataclass
class Item:
    """A table or a figure as the page shows it."""

    stem: str
    stamp: dict[str, Any]
    files: list[str]  # suffixes that are there, to link to
    image: str = ""
    header: list[str] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class Section:
    stem: str
    title: str
    notebook: str
    items: list[Item]


def build(run: Run) -> Path:
    """Writes ``claims.*`` and ``index.html`` in ``run.figures`` from what is there and returns the page's path.

    What is missing is shown so.
    """
    outcomes = claims.counts(claims.save(run))
    sections = [
        Section(stem, title, notebook, list(_items(run.figures, stem)))
        for stem, title, notebook in CONTENTS
    ]
    stamps = [item.stamp for section in sections for item in section.items]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    page = run.figures / "index.html"
    text = template.render(
        run=run,
        face=run.face(),
        synthetic=run.dataset.synthetic,
        paper_size=run.profile.name == "paper" and len(run.profile.folds) == 5,
        sections=sections,
        outcomes=outcomes,
        missing=[s for s in sections if not _complete(s)],
        commits=sorted(
            {(s["commit"] or "no checkout")[:10] + ("+" if s["dirty"] else "") for s in stamps}
        ),
    )
    write_text(page, text)
    return page


def _complete(section: Section) -> bool:
    return any(item.stem == section.stem or section.stem == "audit" for item in section.items)


def _items(folder: Path, stem: str) -> Iterator[Item]:
    """The saved tables and figures of a stem: its own first, then those that only start with it."""
    names = {
        f.stem for f in folder.glob(f"{stem}*") if f.stem == stem or f.stem.startswith(f"{stem}_")
    }
    for name in sorted(names, key=lambda n: (n != stem, n)):
        there = {
            s
            for s in ("csv", "md", "tex", "json", "png", "pdf")
            if (folder / f"{name}.{s}").exists()
        }
        if {"md", "json"} <= there:
            if name == claims.STEM:
                header, rows = claims.for_page(folder / f"{name}.csv")
                right = [False] * len(header)
            else:
                header, right, rows = read_markdown(
                    (folder / f"{name}.md").read_text(encoding="utf-8")
                )
            links = sorted(there & {"csv", "md", "tex", "json"})
            yield Item(name, read_stamp(folder / f"{name}.json"), links, "", header, right, rows)
        if "png" in there:
            links = sorted(there & {"png", "pdf"})
            yield Item(name, read_stamp(folder / f"{name}.png"), links, f"{name}.png")


def read_markdown(text: str) -> tuple[list[str], list[bool], list[list[str]]]:
    """Header, whether each column is set right, and cells of the table in a Markdown file that save_table wrote."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, rule, *rows = [
        [c.strip().replace(r"\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]
    return header, [cell.endswith(":") for cell in rule], rows
