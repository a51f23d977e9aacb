"""The page shows what is there, says what is missing, and needs nothing from outside."""

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from openurine_lib import open_run
from openurine_lib.experiments import provenance
from openurine_lib.experiments.run import Run
from openurine_lib.paper import report


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
    text = page.read_text()
    assert page == run.figures / "index.html"
    assert run.banner().replace("'", "&#39;") in text and "drawn by a program" in text
    assert "&lt;b&gt;&amp;|" in text and ">85.2<" in text and ">—<" in text
    assert (
        text.index('id="table1"')
        < text.index('id="fig1"')
        < text.index('id="table4"')
        < text.index('id="table8"')
    )
    assert "Missing. Notebook 10_clinical_validation makes it" in text
    assert "Missing. Notebook 06_comparison" not in text
    assert (
        'id="table7_confusion"' in text and "Missing. Notebook 08" in text
    )  # an extra does not stand for the table


def test_claims_are_tested_when_the_page_is_built(run: Run) -> None:
    assert not (run.figures / "claims.csv").exists()
    text = report.build(run).read_text()
    section = text[text.index('id="claims"') : text.index('id="table1"')]
    assert (
        "<th>in print</th><th>in this run</th>" in section
        and run.banner().replace("'", "&#39;") in section
    )
    assert "cannot be tested here" in section and '<a href="claims.csv">' in section
    ledger = pd.read_csv(run.figures / "claims.csv")
    assert len(ledger) == 48 and set(ledger["published"]) == {
        "holds",
        "does not hold",
        "undecided",
        "cannot be tested here",
    }
    assert 'class="undecided"' in section


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
    text = report.build(run).read_text()
    screen = text[text.index("<h1>") : text.index("<nav>")]
    # of four pictures the first three, in the order of PICTURES; a tall one is cut
    assert re.findall(r'<img(?: class="tall")? src="([^"]+)"', screen) == [
        "fig5.png",
        "fig3a.png",
        "fig1.png",
    ]
    assert screen.count('class="tall"') == 1
    order = [run.banner()[:14], "drawn by a program", "fig5.png", 'id="headline"', 'id="verdicts"']
    places = [text.index(part) for part in [*order, "<nav>", '<section id="claims">']]
    assert places == sorted(places)
    # the paper's method first, then the plain detector, each beside the paper
    cells = re.findall(r'<td class="r">(?:<b>)?([^<]+)', screen)
    assert cells[:8] == [
        *("62.0 [60.0, 64.0]", "64.2 ± 1.6", "—", "—"),
        *("51.0 [49.0, 53.0]", "59.9 ± 0.7", "—", "—"),
    ]
    assert "other" not in screen and "fig5 &lt;i&gt;&amp;" in screen
    ledger = pd.read_csv(run.figures / "claims.csv")
    rows = re.findall(
        r'<td class="([a-z-]+)">([^<]+)</td><td class="r">(\d+)</td><td class="r">(\d+)', screen
    )
    for slug, outcome, in_print, here in rows:
        assert slug == outcome.replace(" ", "-")
        assert int(in_print) == (ledger["published"] == outcome).sum()
        assert int(here) == (ledger["here"] == outcome).sum()
    # every outcome that occurs is counted, whatever it is called
    assert {*ledger["published"], *ledger["here"]} <= {outcome for _, outcome, *_ in rows}


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
    text = report.build(run).read_text()
    assert "&lt;i&gt;&amp;" in text and "<i>" not in text


def test_links_lead_to_files_beside_the_page(run: Run) -> None:
    page = report.build(run)
    links = re.findall(r'(?:href|src)="([^"]+)"', page.read_text())
    assert links and not [link for link in links if "//" in link or link.startswith("/")]
    assert all((page.parent / link).exists() for link in links if not link.startswith("#"))


def test_a_small_run_on_real_data_is_not_called_a_reproduction(run: Run) -> None:
    run.dataset.synthetic = False
    assert "no reproduction of the paper" in report.build(run).read_text()


def test_markdown_is_read_back() -> None:
    header, right, rows = report.read_markdown(
        "**c**\n\n| a | b |\n|:--|--:|\n| x\\|y | 1 |\n|  | 2 |\n"
    )
    assert (header, right, rows) == (["a", "b"], [False, True], [["x|y", "1"], ["", "2"]])


CHROMIUM = next(
    (c for c in ("chromium", "chromium-browser", "google-chrome") if shutil.which(c)), None
)


@pytest.mark.browser
@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"
)
@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_a_phone_and_a_desk(run: Run, tmp_path: Path, width: int) -> None:
    page = report.build(run)
    page.write_text(page.read_text().replace(' loading="lazy"', ""))
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    frame = tmp_path / "frame.html"  # a window is never narrower than 500 px; a frame is
    seen = (
        "const d = contentDocument; "
        "document.title = d.documentElement.scrollWidth + ' ' + d.images[0].naturalWidth"
    )
    frame.write_text(
        f'<iframe src="{page.as_uri()}" width="{width}" height="800" onload="{seen}"></iframe>'
    )
    command = [
        CHROMIUM,
        *quiet,
        "--disable-sync",
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    scroll, image = map(int, re.search(r"<title>(\d+) (\d+)</title>", done.stdout).groups())
    assert scroll <= width and image > 0
