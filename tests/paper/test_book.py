"""The book: a run's notebooks and documents as pages that a browser opens without the network."""

import base64
import json
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

from openurine_lib import open_run, pages
from openurine_lib.data import taxonomy
from openurine_lib.experiments import provenance
from openurine_lib.experiments.run import Run
from openurine_lib.paper import book, claims, report
from openurine_lib.paper.book import atlas, prose, search

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
    cells = [new_markdown_cell(PROSE), new_markdown_cell("**The loss.** It zigzags."), code]
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


def test_a_part_has_an_address_whatever_other_parts_are_called(tmp_path: Path) -> None:
    page = prose.Prose(set(), tmp_path)
    cells = ["# The loss\n\n## In `words`", "**The loss.** It falls.", "It **falls**.", "**"]
    html = BeautifulSoup("".join(page.text(cell) for cell in cells), "lxml")
    assert [part["id"] for part in html.select("[id]")] == ["the-loss", "in-words", "the-loss-1"]


def test_the_places_of_a_page_are_its_parts_with_their_words() -> None:
    html = """<main><p class="face">Run study.</p><h1 id="one">One</h1><p>before</p>
    <details class="progress"><summary>Progress</summary>100%</details>
    <p id="the-loss"><strong>The loss.</strong> It falls.</p>
    <details class="code"><summary>Code</summary><pre><i>run</i>.<b>dir</b>
    </pre></details><table><tr><td>cell</td><td>other</td></tr></table>
    <article id="c"><h3>Cast</h3></article><p class="turn">next</p></main><nav id="n">n</nav>"""
    found = [(p["id"], p["title"], p["text"]) for p in search.places(html, "a.html", "A")]
    assert found == [
        ("a.html#one", "One", "One before"),
        ("a.html#the-loss", "The loss.", "The loss. It falls. run.dir cell other"),
        ("a.html#c", "Cast", "Cast"),
    ]


def test_the_search_knows_every_page_in_order_and_runs_what_its_policy_names(run: Run) -> None:
    book.build(run)
    page = parsed(run.figures / "book" / "search.html")
    known = json.loads(page.select_one("#places").get_text())
    read = [a["href"] for a in parsed(run.figures / "book" / "index.html").select(".chapters a")]
    assert list(dict.fromkeys(place["id"].partition("#")[0] for place in known)) == read
    policy = page.select_one("meta[http-equiv]")["content"]
    allowed = next(part for part in policy.split("; ") if part.startswith("script-src"))
    running = [script.get_text() for script in page.select("script:not([type])")]
    assert allowed.split()[1:] == [pages.digest_of(script) for script in running]
    assert (search.LIBRARY / "LICENSE.txt").read_text() in running[1], "the page holds a copy"


@pytest.mark.browser
@browser.needs_chromium
@pytest.mark.parametrize(
    ("width", "scheme"), [(browser.PHONE, "dark"), (browser.DESK, "light")], ids=["phone", "desk"]
)
def test_a_word_leads_to_its_place(run: Run, width: int, scheme: str) -> None:
    """By keyboard alone: from the first page to a part of a chapter, and back to the results."""
    from playwright.sync_api import expect

    book.build(run)
    with browser.opened(width, color_scheme=scheme) as page:
        browser.go(page, run.figures / "book" / "index.html")
        page.get_by_role("link", name="Search the book").press("Enter")
        words, said = page.get_by_role("searchbox"), page.get_by_role("status")
        expect(words).to_be_focused()
        page.keyboard.type("zigzgs")
        expect(said).to_have_text("No place has these words; 1 place with similar ones")
        words.fill("qqqqq")
        expect(said).to_have_text("No place has these words")
        words.fill("ZIGZAG")
        expect(said).to_have_text("1 place")
        expect(page.locator("#found mark")).to_have_text("zigzags")
        words.fill("<b>")  # as a notebook has it in its heading and its code
        expect(page.locator("#found li").first).to_contain_text("Comparison <b>of</b> methods")
        assert page.locator("#found b").count() == 0, "what is found stays text"
        assert browser.violations(page) == [] and not browser.scrolls_sideways(page)
        words.fill("zigzags")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="The loss.")).to_be_focused()
        page.keyboard.press("Enter")
        page.wait_for_url("**/06_comparison.html#the-loss")
        expect(page.locator("#the-loss")).to_be_in_viewport()
        page.go_back()
        expect(said).to_have_text("1 place")
        assert page.complaints == []


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
