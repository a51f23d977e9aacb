"""A labelled set of somebody else goes from its folder to its page: every notebook ends.

The hardest of the small ones: one head, no component of a report, nothing that OpenUrine has too,
no pixel size, no unlabelled field, images of two sizes, one image a patient. Three trainings.
"""

import json
from pathlib import Path

import campaign
import foreign
import pandas as pd
import pytest

from openurine_lib.clinical import agreement

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    folder = foreign.write(root / "theirs", heads=1)
    command = [*campaign.COMMAND, "--rows", "carried", "--data", str(folder)]
    done = campaign.started(root, root / "counts", command=command)
    assert done.returncode == 0, done.stderr[-5000:]
    return root / "paper_figures" / "smoke-theirs"


def said(figures: Path, number: str) -> str:
    """The sentences of an executed notebook, and what it printed."""
    (file,) = figures.glob(f"notebooks/{number}_*.ipynb")
    outputs = [o for cell in json.loads(file.read_text())["cells"] for o in cell.get("outputs", [])]
    texts = [o["data"].get("text/markdown", "") for o in outputs if "data" in o]
    texts += [o["text"] for o in outputs if o.get("name") == "stdout"]
    return " ".join("".join(text) for text in texts)


def test_every_notebook_ends_and_the_page_is_there(figures):
    numbers = {file.name[:2] for file in figures.glob("notebooks/*.ipynb")}
    # 05 searches, which --rows carried does not
    assert numbers == {f"{n:02d}" for n in range(12)} - {"05"}
    assert (figures / "index.html").stat().st_size


def test_what_cannot_be_computed_says_why(figures):
    table8 = pd.read_csv(figures / "table8.csv").set_index("row")
    assert table8.accuracy_here.isna().all()
    assert set(table8.reason) == {agreement.ABSENT, agreement.NO_LEVEL}
    assert "names no component of a report" in said(figures, "10")
    assert agreement.NO_LEVEL in said(figures, "10")
    assert "No class of this data set is in the head Crystals" in said(figures, "07")
    assert "96 to 128 pixels wide" in said(figures, "01")
    for number in ("01", "06", "07", "08", "09", "10"):
        assert "nan" not in said(figures, number).split(), number
    # rows that were not trained are left blank, and not zero
    assert "and there are no others" in said(figures, "09")
    table4 = pd.read_csv(figures / "table4.csv")
    assert table4.map50_here.notna().sum() == 2 and table4.reason.notna().sum() >= 26
