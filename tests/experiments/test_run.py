"""Where a run keeps its results: every profile, data set and seed has a place of its own."""

import pytest

from openurine_lib import open_run


@pytest.mark.parametrize(
    ("folder", "seed", "name"),
    [
        ("", 0, "smoke"),
        ("", 3, "smoke-seed3"),
        ("theirs", 0, "smoke-theirs"),
        ("theirs", 3, "smoke-theirs-seed3"),
    ],
)
def test_a_run_is_named_by_what_makes_it_another_one(tmp_path, folder, seed, name):
    data = tmp_path / folder if folder else "synthetic"
    if folder:
        data.mkdir()
    run = open_run(str(data), "smoke", seed)
    assert run.name == name
    assert run.dir == tmp_path / "runs" / name and run.figures == tmp_path / "paper_figures" / name
