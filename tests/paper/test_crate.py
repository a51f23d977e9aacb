"""``ro-crate-metadata.json``, read by its library: what is listed exists; what came from what."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from rocrate.rocrate import ROCrate

from openurine_lib import open_run
from openurine_lib.experiments import carried, provenance
from openurine_lib.experiments.run import Run
from openurine_lib.files import digest_of_file
from openurine_lib.paper import crate


@pytest.fixture
def run() -> Run:
    """A run with two tables, a figure, a file without a stamp, and an executed notebook."""
    run = open_run()
    run.__dict__["dataset"] = SimpleNamespace(synthetic=True, fingerprint="f1", meta={})
    df = pd.DataFrame({"row": ["a"], "map50 here": [1.0]})
    provenance.save_table(run, "table4", df, "Comparison")
    provenance.save_table(run, "table7_confusion", df, "Confusion", method="ours", fold=2)
    fig, _ = plt.subplots()
    provenance.save_figure(run, "table7_confusion", fig, "Confusion, drawn", method="ours", fold=2)
    provenance.save_table(run, "audit_arithmetic", df, "Audit", uses_data=False)
    (run.figures / "table8_review.csv").write_text("group\n")
    (run.figures / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), run.figures / "notebooks" / "06_comparison.ipynb")
    return run


def given(action) -> dict[str, object]:
    """The settings that an action names, by name."""
    return {e["name"]: e["value"] for e in action["object"] if e.type == "PropertyValue"}


def listed(read: ROCrate) -> set[str]:
    return {entity.id for entity in read.data_entities}


def test_every_file_that_is_listed_is_there_and_none_is_forgotten(run: Run) -> None:
    crate.write(run)
    read = ROCrate(run.figures)
    files = {p.relative_to(run.figures).as_posix() for p in run.figures.rglob("*") if p.is_file()}
    assert listed(read) == files - {crate.FILE} and "table8_review.csv" in files
    for entity in read.data_entities:
        assert entity["sha256"] == digest_of_file(run.figures / entity.id)
    assert read.mainEntity.id == "workflow/Snakefile"
    assert "rule comparison" in (run.figures / "workflow" / "Snakefile").read_text()


def test_a_table_tells_all_that_its_stamp_knows(run: Run) -> None:
    crate.write(run)
    read = ROCrate(run.figures)
    action, stamp = read.get("#table4-table"), provenance.read_stamp(run.figures / "table4.json")
    assert {file.id for file in action["result"]} == {
        f"table4.{suffix}" for suffix in ("csv", "md", "tex", "json")
    }
    notebook, software = action["instrument"]
    assert notebook.id == "notebooks/06_comparison.ipynb"
    assert software["softwareVersion"] == stamp["versions"]["openurine_lib"]
    assert software["version"].startswith(stamp["commit"] or "no checkout")
    libraries = {e["name"]: e["softwareVersion"] for e in software["softwareRequirements"]}
    assert libraries == {k: v for k, v in stamp["versions"].items() if k != "openurine_lib"}
    data = next(e for e in action["object"] if e.type == "Dataset")
    assert (data["name"], data["identifier"]) == ("synthetic", "f1")
    known = given(action)
    assert (known["seed"], known["profile"]) == (run.seed, run.profile.name)
    assert json.loads(known["settings"]) == stamp["settings"] and action["endTime"] == stamp["time"]
    assert stamp["face"] in action["description"]


def test_a_table_and_a_figure_of_one_name_are_two_actions(run: Run) -> None:
    crate.write(run)
    read = ROCrate(run.figures)
    table, figure = (read.get(f"#table7_confusion-{kind}") for kind in ("table", "figure"))
    assert {Path(file.id).suffix for file in figure["result"]} == {".png", ".pdf"}
    assert {Path(file.id).suffix for file in table["result"]} == {".csv", ".md", ".tex", ".json"}
    assert given(table)["method"] == "ours" == given(figure)["method"]
    assert given(table)["fold"] == 2


def test_what_uses_no_data_names_none(run: Run) -> None:
    crate.write(run)
    action = ROCrate(run.figures).get("#audit_arithmetic-table")
    assert not [e for e in action["object"] if e.type == "Dataset"]
    assert provenance.PUBLISHED_ONLY in action["description"]


def test_an_earlier_training_is_told(run: Run) -> None:
    record = next(iter(sorted(carried.store().glob(f"*/*/fold0/{carried.RECORD}"))))
    place = run.dir / "predict" / "some-row" / "fold0"
    place.mkdir(parents=True)
    shutil.copy(record, place)
    crate.write(run)
    read = ROCrate(run.figures)
    action = read.get("#earlier-predict-some-row-fold0")
    content = carried.record_of(record.parent)
    assert action["endTime"] == content["trained"]["time"]
    assert content["trained"]["commit"][:7] in action["description"]
    assert action.id in {entity.id for entity in read.root_dataset["mentions"]}


def test_what_went_is_no_longer_listed(run: Run) -> None:
    crate.write(run)
    for file in run.figures.glob("table4.*"):
        file.unlink()
    crate.write(run)
    read = ROCrate(run.figures)
    assert "table4.csv" not in listed(read) and read.get("#table4-table") is None


def test_a_run_without_tables_is_refused() -> None:
    run = open_run()
    run.figures.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="holds no table or figure.*make reproduce"):
        crate.write(run)
