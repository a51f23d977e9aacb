"""The page at the end of a run: a first screen, then every table and figure in the paper's order.

The first screen has three pictures, the headline (``headline``) and the verdicts, counted.

``build(run)`` reads only what stands in ``run.figures``; the page needs nothing from outside that
folder. First it tests the paper's claims on the run's tables, since only now all of them are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt
from PIL import Image

from openurine_lib import pages
from openurine_lib.experiments import gains
from openurine_lib.experiments.formatting import formatted
from openurine_lib.experiments.methods import OURS, method
from openurine_lib.experiments.provenance import read_stamp
from openurine_lib.experiments.run import Run
from openurine_lib.files import write_text
from openurine_lib.paper import claims
from openurine_lib.paper.claims.verdict import BY_CONSTRUCTION, VERDICTS

# Stem, what it is in the paper, the notebook that makes it. Other stems that start with one of
# these (table7_confusion, fig4_recall) follow it.
CONTENTS = (
    (claims.STEM, "Claims of the paper", "11_paper_audit"),
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
    ("earlier_work", "Earlier work, as the paper cites it", "00_start_here"),
    ("audit", "Audit of the published numbers", "11_paper_audit"),
)
# The pictures of the first screen: the first three of these that are there.
PICTURES = ("fig5", "table4_parts", "fig3a", "fig1", "fig2", "table4_latency_scatter")
# The rows of the headline, by their names in the list of methods, and what they are called there.
HEADLINE = {
    OURS: "The paper's method",
    "yolo12m-sahi": "Plain detector, with slices",
    "yolo12m": "Plain detector, whole fields",
}
TALL = 1.1  # a picture whose width is less than so many heights is cut on the first screen
LONGEST = 40  # a table of more rows starts folded
TEMPLATE = Path(__file__).parent / "report.html.j2"
MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass
class Item:
    """A table or a figure as the page shows it."""

    stem: str
    stamp: dict[str, Any]
    files: list[str]  # suffixes that are there, to link to
    image: str = ""
    header: list[str] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)  # whether a column is set right
    rows: list[list[str]] = field(default_factory=list)
    tall: bool = False  # whether a picture shows its upper part only on the first screen


@dataclass
class Section:
    """A table or figure of the paper, and what the run has of it."""

    stem: str
    title: str
    notebook: str
    items: list[Item]
    executed: str = ""  # the notebook as it ran, from the page's folder; "" if it is not there
    chapter: str = ""  # the same as a page of the book

    @property
    def missing(self) -> bool:
        """An extra, such as table7_confusion, does not stand for the table itself."""
        # The audit has no table of its own, only extras.
        return not any(self.stem in (item.stem, "audit") for item in self.items)


def build(run: Run) -> Path:
    """Writes ``claims.*`` and ``index.html`` in ``run.figures`` and returns the page's path.

    What is missing is shown as missing.
    """
    ledger = claims.save(run)
    sections = [
        Section(
            stem,
            title,
            notebook,
            list(_items(run.figures, stem)),
            _there(run.figures, f"notebooks/{notebook}.ipynb"),
            _there(run.figures, f"book/{notebook}.html"),
        )
        for stem, title, notebook in CONTENTS
    ]
    stamps = [item.stamp for section in sections for item in section.items]
    # "+": uncommitted changes
    commits = {(s["commit"] or "no checkout")[:10] + ("+" if s["dirty"] else "") for s in stamps}
    text = pages.render(
        TEMPLATE,
        run=run,
        banner=run.banner(),
        synthetic=run.dataset.synthetic,
        paper_size=run.profile.name == "paper" and len(run.profile.folds) == 5,
        sections=sections,
        book=_there(run.figures, "book/index.html"),
        outcomes=verdicts(ledger),
        outcomes_known=[*VERDICTS, BY_CONSTRUCTION],
        longest=max(LONGEST, len(ledger)),
        missing=[section for section in sections if section.missing],
        pictures=pictures(sections),
        headline=headline(run.figures).to_dict("records"),
        gains=gains_of(run.figures),
        commits=sorted(commits),
    )
    page = run.figures / "index.html"
    write_text(page, text)
    return page


def headline(folder: Path) -> pd.DataFrame:
    """The paper's method and the plain detector, here beside the paper: a row each, as text.

    Columns: name, row (the published label), map50_here, map50_paper, map50_95_here, map50_95_paper
    (percent, with the 95 % interval here and the deviation over folds in the paper), reason (why a
    row has no number). From the tables in the folder; empty if there is none.
    """
    files = [folder / f"{stem}.csv" for stem in ("table4_parts", "table4")]
    table = next((pd.read_csv(file) for file in files if file.exists()), pd.DataFrame())
    names = {method(name).answers[4]: called for name, called in HEADLINE.items()}
    if "row" not in table:
        return pd.DataFrame()
    rows = table[table["row"].isin(names)]
    values = [f"{m}_{side}" for m in ("map50", "map50_95") for side in ("here", "paper")]
    known = [c for c in rows if str(c).startswith(tuple(values))]
    rows = rows.astype(dict.fromkeys(known, float))  # a whole number has been read as one
    shown = formatted(rows[["row", *known]]).reindex(columns=["row", *values], fill_value="—")
    shown.insert(0, "name", shown["row"].map(names))
    reasons = rows["reason"].fillna("") if "reason" in rows else ""
    return shown.assign(reason=reasons).sort_values(
        "row", key=lambda row: row.map(list(names).index)
    )


def _there(folder: Path, name: str) -> str:
    """The name if the folder has such a file, else ""."""
    return name if (folder / name).exists() else ""


def gains_of(folder: Path) -> list[str]:
    """A sentence on each part of the method; none before notebook 06 has run."""
    file = folder / "table4_gains.csv"
    return list(gains.sentences(pd.read_csv(file))) if file.exists() else []


def pictures(sections: list[Section]) -> list[Item]:
    """The pictures of the first screen."""
    images = {item.stem: item for s in sections for item in s.items if item.image}
    return [images[stem] for stem in PICTURES if stem in images][:3]


def verdicts(ledger: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many claims have which outcome, in print and in this run; those of no verdict last."""
    counts = claims.counts(ledger)
    for side, n in claims.by_construction(ledger).items():
        counts[side][BY_CONSTRUCTION] = n
    return counts


def _items(folder: Path, stem: str) -> Iterator[Item]:
    """The saved tables and figures of a stem: its own first, then those that only start with it."""
    files = [*folder.glob(f"{stem}.*"), *sorted(folder.glob(f"{stem}_*"))]
    for name in dict.fromkeys(file.stem for file in files):  # each once, in this order
        suffixes = {file.suffix[1:] for file in files if file.stem == name}
        if {"md", "json"} <= suffixes:
            stamp = read_stamp(folder / f"{name}.json")
            item = Item(name, stamp, sorted(suffixes & {"csv", "md", "tex", "json"}))
            if name == claims.STEM:
                item.header, item.rows = claims.for_page(folder / f"{name}.csv")
                item.right = [False] * len(item.header)
            else:
                text = (folder / f"{name}.md").read_text(encoding="utf-8")
                item.header, item.right, item.rows = read_markdown(text)
            yield item
        if "png" in suffixes:
            stamp = read_stamp(folder / f"{name}.png")
            with Image.open(folder / f"{name}.png") as image:
                tall = image.width < TALL * image.height
            # a figure: the PDF is linked only
            yield Item(name, stamp, sorted(suffixes & {"png", "pdf"}), f"{name}.png", tall=tall)


def read_markdown(text: str) -> tuple[list[str], list[bool], list[list[str]]]:
    """Header, which columns are set right, and cells of a table that ``save_table`` wrote.

    Of all files of a table, only the Markdown has the digits that a reader should see, as cells.
    """
    tokens = MARKDOWN.parse(text)
    cells = [
        (cell.type, "right" in str(cell.attrGet("style") or ""), inline.content)
        for cell, inline in pairwise(tokens)
        if cell.type in ("th_open", "td_open")
    ]
    header = [content for kind, _, content in cells if kind == "th_open"]
    right = [is_right for kind, is_right, _ in cells if kind == "th_open"]
    body = [content for kind, _, content in cells if kind == "td_open"]
    return (
        header,
        right,
        [body[start : start + len(header)] for start in range(0, len(body), len(header) or 1)],
    )
