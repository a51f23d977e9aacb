"""The book: a run's notebooks and documents as pages that a browser opens without the network."""

import base64
from pathlib import Path
from types import SimpleNamespace

import browser
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from openurine_lib import open_run
from openurine_lib.data import taxonomy
from openurine_lib.experiments import provenance
from openurine_lib.experiments.run import Run
from openurine_lib.paper import book, claims, report
from openurine_lib.paper.book import atlas, prose

PROSE = r"""# 06 · Comparison <b>of</b> methods
With $\lambda_i$ and [notebook 11](11_paper_audit.ipynb), [a file](../x.py), [a paper](https://doi.org/1):

$$L = \sum_{i=1}^{6} \lambda_i L_i \tag{1}$$
"""


def picture() -> str:
    figure, _ = plt.subplots(figsize=(2, 1))
    with Path("figure.png").open("wb") as file:
        figure.savefig(file)
    return base64.b64encode(Path("figure.png").read_bytes()).decode()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    # drawing all particles takes a minute; their pictures are the simulator's matter
    noise = np.random.default_rng(0).integers(0, 255, (300, 200, 3), np.uint8)
    monkeypatch.setattr(atlas, "simulated", lambda *given: noise)
    run = open_run()
    run.__dict__["dataset"] = SimpleNamespace(synthetic=True, fingerprint="f1", meta={})
    table = pd.DataFrame({"row": ["YOLOv12-M", "<i>x</i>"], "map50_here": [1.0, 2.0]})
    provenance.save_table(run, "table4", table, "Comparison")
    claims.save(run)
    code = new_code_cell("import this  # <b>", execution_count=1)
    data = {"image/png": picture(), "text/plain": "<Figure>"}
    code.outputs = [
        new_output("stream", name="stdout", text="said <b>\n"),
        new_output("stream", name="stderr", text="100%|██| 3/3\n"),
        new_output("display_data", data={"text/html": table.to_html(), "text/plain": "x"}),
        new_output("display_data", data=data),
    ]
    cells = [new_markdown_cell(PROSE), new_markdown_cell("**The loss.** It falls."), code]
    injected = new_code_cell("seed = 0", metadata={"tags": ["injected-parameters"]})
    (run.figures / "notebooks").mkdir(parents=True)
    for name, content in {
        "06_comparison": [*cells, injected],
        "11_paper_audit": [new_markdown_cell("# 11 · The paper audited")],
    }.items():
        nbformat.write(new_notebook(cells=content), run.figures / "notebooks" / f"{name}.ipynb")
    return run


def parsed(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "lxml")


def test_a_notebook_is_a_chapter(run: Run) -> None:
    book.build(run)
    page = parsed(run.figures / "book" / "06_comparison.html")
    assert page.h1.get_text() == "06 · Comparison <b>of</b> methods"
    assert [b.get_text() for b in page.select("b, strong")] == ["The loss."]
    assert len(page.select("math")) == 2 and "(1)" in page.select(".equation")[0].get_text()
    links = {a.get_text(): a.get("href") for a in page.select("main a")}
    assert links["notebook 11"] == "11_paper_audit.html" and links["a paper"].startswith("https:")
    assert "a file" not in links and "a file" in page.main.get_text(), "it is not in the book"
    assert links["Table 4"] == "../index.html#table4"
    assert links["06_comparison.ipynb"] == "../notebooks/06_comparison.ipynb"
    code = page.select("details.code")
    assert len(code) == 1 and code[0].get("open") is None and "# <b>" in code[0].get_text()
    assert "said <b>" in page.select("pre.said")[0].get_text()
    figure = page.select("a.enlarge img")[0]
    assert figure["alt"] == "The loss" and (run.figures / "book" / figure["src"]).exists()
    assert "<i>x</i>" in page.select("table")[0].get_text()
    assert not page.select("thead th:empty")


def test_the_claims_and_the_atlas_are_whole(run: Run) -> None:
    book.build(run)
    ledger = parsed(run.figures / "book" / "claims.html")
    assert len(ledger.select("tbody tr")) == 48 and ledger.select("td.undecided")
    page = parsed(run.figures / "book" / "particles.html")
    names = [h.get_text() for h in page.select("article h3")]
    assert sorted(names) == sorted(taxonomy.load("openurine").classes)
    assert [len(a.select("img")) for a in page.select("article")] == [atlas.EACH] * len(names)
    assert "Renal Fellow Network" in page.get_text(), "the sources are missing"


def test_every_document_is_in_the_book() -> None:
    assert {file.stem for file in book.DOCS.glob("*.md")} == {book.ATLAS, *book.DOCUMENTS}


def test_the_report_page_and_the_book_lead_to_each_other(run: Run) -> None:
    assert not parsed(report.build(run)).select('a[href^="book/"]')
    book.build(run)
    links = [a["href"] for a in parsed(report.build(run)).select('a[href^="book/"]')]
    assert {"book/index.html", "book/06_comparison.html", "book/11_paper_audit.html"} == set(links)


def test_what_is_missing_is_told_with_the_remedy(run: Run) -> None:
    for file in (run.figures / "notebooks").iterdir():
        file.unlink()
    with pytest.raises(book.NoBook, match="notebooks: not there; run it first: make reproduce"):
        book.build(run)


def test_particles_are_drawn_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    book.build(run)
    monkeypatch.setattr(atlas, "simulated", None)
    book.build(run)


def test_an_equation_that_cannot_be_converted_stays_as_it_was_written(tmp_path: Path) -> None:
    text = prose.Prose(set(), tmp_path).text(r"$\left(<b>$ and $x$")
    assert r"<code>\left(&lt;b&gt;</code>" in text and "<math" in text


@pytest.mark.browser
@browser.needs_chromium
@pytest.mark.parametrize("width", [browser.PHONE, browser.DESK])
def test_pages_work_in_a_browser(run: Run, width: int) -> None:
    book.build(run)
    report.build(run)
    with browser.opened(width) as page:
        for file in sorted((run.figures / "book").glob("*.html")):
            browser.go(page, file)
            assert browser.unresolved(page) == [], file.name
            assert not browser.scrolls_sideways(page), file.name
            assert browser.violations(page) == [], file.name
        assert page.complaints == []
