"""A copy that Jupyter makes of a notebook is never run in its place."""

import shutil
import subprocess
from pathlib import Path

import pytest
import sources

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["03_training.ipynb", "04_sahi-Copy1.ipynb", "04_sahi.ipynb", "Untitled.ipynb"]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "notebooks"
    place.mkdir()
    for name in NAMES:
        (place / name).touch()
    return place


def test_a_copy_is_not_taken_for_the_notebook(folder):
    assert sources.notebook("04", folder).name == "04_sahi.ipynb"
    assert [f.name for f in sources.notebooks(folder)] == ["03_training.ipynb", "04_sahi.ipynb"]


def test_two_notebooks_of_one_number_are_both_named(folder):
    (folder / "04_other.ipynb").touch()
    with pytest.raises(FileNotFoundError, match="04_other.ipynb and 04_sahi.ipynb"):
        sources.notebook("04", folder)
    with pytest.raises(FileNotFoundError, match="there is none"):
        sources.notebook("12", folder)


def test_make_compares_no_copy(folder):
    shutil.copyfile(ROOT / "Makefile", folder.parent / "Makefile")
    command = ["make", "-s", "--eval", "show: ; @echo $(TRAINED)", "show"]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["notebooks/03_training.ipynb", "notebooks/04_sahi.ipynb"]


def test_snakemake_and_the_jobs_ask_nobody_else():
    for name in ("Snakefile", "job.py"):
        assert '.ipynb")' not in (ROOT / "workflow" / name).read_text(), name
