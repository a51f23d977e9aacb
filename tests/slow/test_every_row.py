"""Every row of Tables 4 to 6 is trained and scored at the smallest size."""

from pathlib import Path

import campaign
import pandas as pd
import pytest

pytestmark = pytest.mark.thorough


def test_every_row_has_its_number(tmp_path: Path) -> None:
    command = [*campaign.COMMAND, "--rows", "all"]
    done = campaign.started(tmp_path, tmp_path / "counts", command=command)
    assert done.returncode == 0, done.stderr[-5000:]
    figures = tmp_path / "paper_figures" / "smoke"
    for n in (4, 5, 6):
        table = pd.read_csv(figures / f"table{n}.csv")
        assert table.map50_here.notna().all(), table[table.map50_here.isna()].to_string()
