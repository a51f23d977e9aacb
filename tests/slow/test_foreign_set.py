"""A labelled set of somebody else goes from its folder to its page: every notebook ends.

None has a pixel size or an unlabelled field, and their images are of two sizes. The one with one
head has no component of a report, nothing that OpenUrine has too, and one image a patient; of the
one with three heads nobody knows the patients. Three trainings each.
"""

import json
from pathlib import Path

import campaign
import foreign
import pandas as pd
import pytest

from openurine_lib.clinical import agreement


def whole_run(root: Path, heads: int) -> Path:
    """Where the tables of a whole run on a foreign set are."""
    folder = foreign.write(root / "theirs", heads)
    command = [*campaign.COMMAND, "--rows", "carried", "--data", str(folder)]
    done = campaign.started(root, root / "counts", command=command)
    assert done.returncode == 0, done.stderr[-5000:]
    return root / "paper_figures" / "smoke-theirs"


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("one_head"), heads=1)


@pytest.fixture(scope="module")
def of_three_heads(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("three_heads"), heads=3)


def said(figures: Path, number: str) -> str:
    """The sentences of an executed notebook, and what it printed."""
    (file,) = figures.glob(f"notebooks/{number}_*.ipynb")
    outputs = [o for cell in json.loads(file.read_text())["cells"] for o in cell.get("outputs", [])]
    texts = [o["data"].get("text/markdown", "") for o in outputs if "data" in o]
    texts += [o["text"] for o in outputs if o.get("name") == "stdout"]
    return " ".join("".join(text) for text in texts)


@pytest.mark.parametrize(
    "which",
    [
        pytest.param("figures", marks=pytest.mark.more),
        pytest.param("of_three_heads", marks=pytest.mark.thorough),
    ],
)
def test_every_notebook_ends_and_the_page_is_there(which, request):
    figures = request.getfixturevalue(which)
    numbers = {file.name[:2] for file in figures.glob("notebooks/*.ipynb")}
    # 05 searches, which --rows carried does not
    assert numbers == {f"{n:02d}" for n in range(12)} - {"05"}
    assert (figures / "index.html").stat().st_size
    for number in ("01", "06", "07", "08", "09", "10"):
        assert "nan" not in said(figures, number).split(), number


@pytest.mark.thorough
def test_a_set_without_patients_is_reported_with_a_warning(of_three_heads):
    """It names components, but no pixel size: there are levels of the fields as they are."""
    assert "patients unknown" in said(of_three_heads, "06")
    table8 = pd.read_csv(of_three_heads / "table8.csv").set_index("row")
    assert {"RBC", "Crystals"} <= set(table8.index)
    table7 = pd.read_csv(of_three_heads / "table7.csv")
    assert {"Cells", "Crystals", "Casts"} <= set(table7["head"].dropna())


@pytest.mark.more
def test_what_cannot_be_computed_says_why(figures):
    table8 = pd.read_csv(figures / "table8.csv").set_index("row")
    assert table8.accuracy_here.isna().all()
    assert set(table8.reason) == {agreement.ABSENT, agreement.NO_LEVEL}
    assert "names no component of a report" in said(figures, "10")
    assert agreement.NO_LEVEL in said(figures, "10")
    assert "No class of this data set is in the head Crystals" in said(figures, "07")
    assert "96 to 128 pixels wide" in said(figures, "01")
    # rows that were not trained are left blank, and not zero
    assert "and there are no others" in said(figures, "09")
    table4 = pd.read_csv(figures / "table4.csv")
    # two trainings, and the weights of one of them once more, merged in another way
    assert table4.map50_here.notna().sum() == 3 and table4.reason.notna().sum() >= 26
