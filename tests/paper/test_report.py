"""The page shows what is there, says what is missing, and needs nothing from outside."""

from pathlib import Path
from types import SimpleNamespace

import browser
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from bs4 import BeautifulSoup, Tag

from openurine_lib import open_run
from openurine_lib.experiments import provenance
from openurine_lib.experiments.run import Run
from openurine_lib.paper import report


def parsed(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "lxml")


def said(element: Tag) -> str:
    """The text of an element with single blanks."""
    return " ".join(element.get_text().split())


@pytest.fixture
def run() -> Run:
    run = open_run()
    run.__dict__["dataset"] = SimpleNamespace(synthetic=True, fingerprint="f1", meta={})
    df = pd.DataFrame({"row": ["<b>&|"], "map50 paper": [85.2], "map50 here": [float("nan")]})
    provenance.save_table(run, "table4", df, "Comparison")
    provenance.save_table(run, "table7_confusion", df, "Confusion")
    fig, ax = plt.subplots()
    provenance.save_figure(run, "fig1", fig, "Classes")
    plt.close(fig)
    return run


def test_page(run: Run) -> None:
    page = report.build(run)
    html = parsed(page)
    assert page == run.figures / "index.html"
    assert run.banner() in said(html.select(".banner")[0])
    assert "drawn by a program" in said(html.select(".banner")[0])
    cells = [said(cell) for cell in html.find(id="table4").select("td")]
    assert cells[:3] == ["<b>&|", "85.2", "—"]
    order = [section.get("id") for section in html.select("section")]
    assert order == [stem for stem, *_ in report.CONTENTS]
    links = [link.get("href") for link in html.select("nav a")]
    assert links == ["#first", *(f"#{stem}" for stem in order)]
    assert "Missing. Notebook 10_clinical_validation makes it" in said(html)
    assert "Missing. Notebook 06_comparison" not in said(html)
    # an extra does not stand for the table
    assert html.find(id="table7_confusion") is not None
    assert "Missing. Notebook 08" in said(html)


def test_claims_are_tested_when_the_page_is_built(run: Run) -> None:
    assert not (run.figures / "claims.csv").exists()
    section = parsed(report.build(run)).find(id="claims")
    heads = [said(head) for head in section.select("th")]
    assert heads[2:4] == ["in print", "in this run"] and run.banner() in said(section)
    assert section.select('a[href="claims.csv"]') and section.select("td.undecided")
    ledger = pd.read_csv(run.figures / "claims.csv")
    assert len(ledger) == 48 == len(section.select("tbody tr"))
    assert set(ledger["published"]) == {
        "holds",
        "does not hold",
        "undecided",
        "cannot be tested here",
    }


def test_the_first_screen_has_pictures_the_headline_and_the_verdicts_counted(run: Run) -> None:
    plain, ours = "YOLOv12-M + SAHI", "Our method (YOLOv12-M backbone)"
    numbers = {"row": [plain, "other", ours], "map50_here": [51.0, 1, 62.0]}
    numbers |= {"map50_here_low": [49.0, 0, 60.0], "map50_here_high": [53.0, 2, 64.0]}
    numbers |= {"map50_paper": [59.94, 2, 64.17], "map50_paper_std": [0.7, 1, 1.6]}
    provenance.save_table(run, "table4_parts", pd.DataFrame(numbers), "Parts")
    for stem, height in (("fig5", 6), ("fig3a", 2), ("fig2", 2)):
        fig, _ = plt.subplots(figsize=(4, height))
        provenance.save_figure(run, stem, fig, f"{stem} <i>&")
        plt.close(fig)
    screen = parsed(report.build(run)).find(id="first")
    # of four pictures the first three, in the order of PICTURES; a tall one is cut
    pictures = screen.select("img")
    assert [picture.get("src") for picture in pictures] == ["fig5.png", "fig3a.png", "fig1.png"]
    assert [picture.get("class") for picture in pictures] == [["tall"], None, None]
    parts = [part["class"] for part in screen.find_all(recursive=False)]
    assert parts == [["banner"], ["pictures"], ["counted"]]
    # the paper's method first, then the plain detector, each beside the paper
    cells = [said(cell) for cell in screen.select("#headline tbody td.r")]
    assert cells == [
        *("62.0 [60.0, 64.0]", "64.2 ± 1.6", "—", "—"),
        *("51.0 [49.0, 53.0]", "59.9 ± 0.7", "—", "—"),
    ]
    assert "other" not in said(screen) and "fig5 <i>&" in said(screen)
    ledger = pd.read_csv(run.figures / "claims.csv")
    rows = [[said(cell) for cell in row("td")] for row in screen.select("#verdicts tbody tr")]
    for outcome, in_print, here in rows:
        assert screen.select(f"#verdicts td.{outcome.replace(' ', '-')}")
        assert int(in_print) == (ledger["published"] == outcome).sum()
        assert int(here) == (ledger["here"] == outcome).sum()
    # every outcome that occurs is counted, whatever it is called
    assert {*ledger["published"], *ledger["here"]} <= {outcome for outcome, *_ in rows}


def test_the_headline_says_why_a_row_has_no_number(run: Run) -> None:
    assert report.headline(run.figures).empty  # a Table 4 without these rows
    rows = ["Our method (YOLOv12-M backbone)", "YOLOv12-M + SAHI"]
    table = pd.DataFrame({"row": rows, "map50_here": [1.0, None], "reason": [None, "<not> run"]})
    provenance.save_table(run, "table4", table, "Comparison")
    shown = report.headline(run.figures)
    assert shown["map50_here"].tolist() == ["1.0", "—"] and shown["reason"].iloc[1] == "<not> run"
    assert "&lt;not&gt; run" in report.build(run).read_text()


def test_the_name_of_a_data_set_cannot_write_on_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "<i>&'\"x"
    folder.mkdir()
    run = open_run(str(folder))
    run.__dict__["dataset"] = SimpleNamespace(synthetic=False, fingerprint="f1", meta={})
    html = parsed(report.build(run))
    assert "<i>&'\"x" in said(html.select("h1")[0]) and not html.select("i")


def test_links_lead_to_files_beside_the_page(run: Run) -> None:
    (run.figures / "notebooks").mkdir()
    (run.figures / "notebooks" / "06_comparison.ipynb").write_text("{}")
    page = report.build(run)
    html = parsed(page)
    links = [e.get("href") or e.get("src") for e in html.select("[href], [src]:not(dialog img)")]
    links.remove("data:,")
    assert "notebooks/06_comparison.ipynb" in links
    assert not [link for link in links if "//" in link or link.startswith("/")]
    assert all((page.parent / link).exists() for link in links if not link.startswith("#"))


def test_long_tables_start_folded_and_long_texts_unfold(run: Run) -> None:
    long = pd.DataFrame({"n": range(report.LONGEST + 60), "why": "because " * 20})
    provenance.save_table(run, "table5", long, "Long")
    section = parsed(report.build(run)).find(id="table5")
    fold = section.select("details.fold")[0]
    assert fold.get("open") is None and said(fold.summary) == f"Table of {len(long)} rows"
    cell = section.select("tbody td.long details")[0]
    assert said(cell.summary).endswith(" …") and said(cell).count("because") > 20


def test_a_small_run_on_real_data_is_not_called_a_reproduction(run: Run) -> None:
    run.dataset.synthetic = False
    assert "no reproduction of the paper" in report.build(run).read_text()


def test_markdown_is_read_back() -> None:
    header, right, rows = report.read_markdown(
        "**c**\n\n| a | b |\n|:--|--:|\n| x\\|y | 1 |\n|  | 2 |\n"
    )
    assert (header, right, rows) == (["a", "b"], [False, True], [["x|y", "1"], ["", "2"]])


@pytest.mark.browser
@browser.needs_chromium
@pytest.mark.parametrize("width", [browser.PHONE, browser.DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_works_in_a_browser(run: Run, width: int, scheme: str) -> None:
    wide = pd.DataFrame({f"a_rather_long_name_{i}": [1.0, 2.0] for i in range(30)})
    provenance.save_table(run, "table6", wide, "Wide")
    file = report.build(run)
    with browser.opened(width, color_scheme=scheme) as page:
        browser.go(page, file)
        assert page.complaints == [] and browser.unresolved(page) == []
        assert not browser.scrolls_sideways(page)
        assert browser.violations(page) == []


@pytest.mark.browser
@browser.needs_chromium
def test_a_link_opens_the_fold_that_it_leads_into(run: Run) -> None:
    file = report.build(run)
    with browser.opened(browser.PHONE) as page:
        browser.go(page, file)
        contents = page.locator("details.contents")
        assert contents.get_attribute("open") is None, "on a phone they would fill the screen"
        contents.locator("summary").click()
        page.get_by_role("link", name="Table 7", exact=True).click()
        assert page.url.endswith("#table7")
        top = page.locator("#table7").bounding_box()["y"]
        assert 0 <= top < 100
