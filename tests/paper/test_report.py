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
    run.__dict__["dataset"] = SimpleNamespace(synthetic=True, fingerprint="f1")
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
    assert len(ledger) >= 25 and set(ledger["published"]) == {
        "holds",
        "does not hold",
        "cannot be tested here",
    }


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
