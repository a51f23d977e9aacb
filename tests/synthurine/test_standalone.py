"""The simulator is a package of its own, and its settings are those of openurine_lib."""

import subprocess
import sys

import grimp
import pytest
import yaml

from openurine_lib import published
from openurine_lib.data.levels import LEVELS, hpf_um2, read_cutoffs
from openurine_lib.data.taxonomy import load
from openurine_lib.experiments.methods import profile
from synthurine import CLASSES, PAPER, command, report, spec_for
from synthurine.laboratories import LABORATORIES
from synthurine.particles.classes import TABLE2

TINY_OPTIONS = ["--fields=2", "--field-px=96", "--field-um=150", "--patients=1", "--workers=1"]


def test_it_imports_neither_openurine_lib_nor_torch():
    graph = grimp.build_graph("synthurine", include_external_packages=True, cache_dir=None)
    outside = {name for name in graph.modules if name.partition(".")[0] != "synthurine"}
    assert {"numpy", "cv2"} <= outside
    assert not outside & {"openurine_lib", "torch", "torchvision", "ultralytics"}


def test_the_package_alone_loads_nothing_heavy():
    code = "import sys, synthurine.files, synthurine.command; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"cv2", "scipy", "pandas", "openurine_lib"} & set(done.stdout.split())


def test_its_classes_are_table_2s_with_their_boxes_and_images():
    table = published.table(2, summaries=False).set_index("row")[["boxes", "images"]]
    assert tuple(table.index) == CLASSES == load("openurine").classes
    assert TABLE2.to_numpy().tolist() == table.to_numpy().tolist()


def test_its_report_counts_and_grades_as_openurine_lib_does():
    taxonomy = load("openurine")
    classes = {c: tuple(map(CLASSES.index, e["classes"])) for c, e in report.COMPONENTS.items()}
    assert list(classes.items()) == list(taxonomy.components.items())
    cutoffs = read_cutoffs()
    assert all(e["cutoffs"] == cutoffs[c] for c, e in report.COMPONENTS.items())
    assert (tuple(report.LEVELS), report.HPF_UM2) == (LEVELS, hpf_um2())


def test_the_papers_spec_is_the_paper_profiles():
    assert profile("paper").synthetic == PAPER == spec_for(full=True)
    assert spec_for(48) == PAPER | {"fields": 48, "patients": 10, "unlabelled": 0, "cohort": 0}
    assert spec_for(1)["patients"] == 1


def test_every_laboratory_names_all_its_settings():
    assert len(LABORATORIES) == len({lab.about for lab in LABORATORIES}) == 8


def test_a_name_that_is_not_there_is_refused():
    import synthurine

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = synthurine.nothing


def test_the_command_draws_what_it_is_asked_for(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--seed", "3", "--unlabelled", "1", *TINY_OPTIONS]
    assert command.main(arguments) == 0
    assert "2 labelled fields, 1 unlabelled, 0 cohort" in capsys.readouterr().out
    meta = yaml.safe_load((tmp_path / "meta.json").read_text())
    assert meta["seed"] == 3 and meta["spec"]["field_px"] == 96
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_the_command_says_what_is_wrong_in_a_line(tmp_path, capsys):
    assert command.main(["--out", str(tmp_path), "--field-px", "8"]) == 2
    assert "synthurine: synthetic spec: field_px is 8" in capsys.readouterr().err
