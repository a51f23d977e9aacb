"""What a user gives to make arrives whole, whatever letters it has, and runs nothing."""

import argparse
import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import reproduce

from openurine_lib import methods, open_run, plan, profile
from openurine_lib.experiments import carried
from openurine_lib.experiments.methods import method, predict_key

REPOSITORY = Path(__file__).resolve().parents[2]
ODD = [
    "plain", "it's", 'two "words"', "a #1", "a: b", "a\\b", "br{ace}", "-x", "$HOME", "$$", "a;b",
    "'; touch RAN; '", "$(touch RAN)", "`touch RAN`", "$(shell touch RAN)", '"; touch RAN; "',
]  # fmt: skip


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("how", ["argument", "environment"])
@pytest.mark.parametrize("given", ODD)
def test_a_value_reaches_the_program_whole_and_no_shell(tmp_path, given, how):
    ran, told = tmp_path / "ran", tmp_path / "told"
    given = given.replace("RAN", str(ran))
    python = tmp_path / "venv" / "bin" / "python"  # in place of Python: it writes what it is given
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nfor x; do printf "%s\\n" "$x"; done > {told}\n')
    python.chmod(0o755)
    (tmp_path / "venv" / ".installed").touch()
    names = ("DATA", "PROFILE", "JOBS", "GPUS", "PER_GPU", "ROWS", "FOLDS", "CARRIED")
    names += ("SECONDS_PER_IMAGE",)
    values = dict.fromkeys(names, given)
    arguments = [f"{k}={v}" for k, v in values.items()] if how == "argument" else []
    # what an outer make hands down is not of this call
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(
        ["make", "-s", "reproduce", f"VENV={tmp_path / 'venv'}", *arguments],
        cwd=REPOSITORY, env=outer | (values if how == "environment" else {}), check=True,
    )  # fmt: skip
    lines = told.read_text().splitlines()
    flags = ("data", "profile", "jobs", "gpus", "per-gpu", "rows", "folds", "seconds-per-image")
    assert {f"--{flag}={given}" for flag in flags} <= set(lines)
    assert not ran.exists(), "the value reached a shell"


ODD_FOLDERS = [name for name in ODD if "/" not in name and "RAN" not in name and "{" not in name]


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_a_data_folder_reaches_the_workflow_whole(tmp_path, name):
    """Snakemake reads the values of its configuration as YAML, and takes quotes from them."""
    folder = tmp_path / name
    folder.mkdir()
    options = argparse.Namespace(
        workflow=reproduce.PROFILES / "local", gpus=0, per_gpu=1, jobs=1, rows=None, folds=None,
        workers=None,
    )  # fmt: skip
    command = reproduce._snakemake(open_run(str(folder), "smoke"), options, "all")
    configuration = next(x for x in command if x.startswith("data="))
    (tmp_path / "Snakefile").write_text("print(repr(config['data']))\nrule all:\n")
    asked = [sys.executable, "-m", "snakemake", "all", "--snakefile", str(tmp_path / "Snakefile")]
    asked += ["--directory", str(tmp_path), "--cores", "1", "--dry-run", "--config", configuration]
    ran = subprocess.run(asked, capture_output=True, text=True, check=True)
    seen = next(line for line in ran.stdout.splitlines() if line.startswith("["))
    assert ast.literal_eval(seen) == [str(folder)]


def test_a_folder_with_braces_is_refused(tmp_path):
    """Snakemake would take them for wildcards, wherever the name stands in a path."""
    (tmp_path / "br{ace}").mkdir()
    program = [sys.executable, str(REPOSITORY / "workflow" / "reproduce.py")]
    asked = [*program, "--data", str(tmp_path / "br{ace}"), "--profile", "smoke"]
    ran = subprocess.run(asked, capture_output=True, text=True)
    assert ran.returncode == 2 and "has braces in its name" in ran.stderr


def planned(folder: Path, monkeypatch: pytest.MonkeyPatch, *given: str) -> set[str]:
    """The metrics that a call of ``make reproduce`` would make, by row and fold."""
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "--profile", "smoke", *given])
    options = reproduce._options()
    run = open_run(options.data, options.profile, options.seed)
    target = "part" if reproduce._part(options) else "all"
    command = [*reproduce._snakemake(run, options, target), "--dry-run"]
    command[command.index("--quiet") : command.index("--quiet") + 2] = ["--summary"]
    run.dir.mkdir(parents=True, exist_ok=True)
    environment = reproduce._environment(options) | {"OPENURINE_CARRIED": "0"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    files = (line.split("\t")[0] for line in said.stdout.splitlines())
    return {str(Path(file).parent) for file in files if file.endswith("metrics.csv")}


def test_rows_and_folds_that_are_named_are_run_alone(tmp_path, monkeypatch):
    key = predict_key(method("yolo12m-sahi"), profile("smoke"))
    asked = planned(tmp_path, monkeypatch, "--rows", "yolo12m-sahi", "--folds", "3 1")
    assert asked == {f"predict/{key}/fold1", f"predict/{key}/fold3"}
    every = planned(tmp_path, monkeypatch, "--folds", "2")
    assert every == {f"predict/{key}/fold2" for key in plan(profile("smoke")).predict}


def test_without_carried_results_only_what_the_notebooks_need_is_run(tmp_path, monkeypatch):
    """Two rows on every fold, one on the first; other rows wait until something is carried."""
    paper = profile("paper")
    # rows of one training, of which none is carried there
    every = ("ours-yolo12m", "ours-uncut", "yolo12m-sahi", "yolo12m")
    both = {predict_key(method(name), paper) for name in every}
    first = predict_key(method("yolo12n-160"), paper)
    asked = planned(tmp_path, monkeypatch, "--profile", "paper", "--rows", "carried")
    on_all = {f"predict/{key}/fold{fold}" for key in both for fold in range(5)}
    assert asked == on_all | {f"predict/{first}/fold0"}


@pytest.mark.parametrize("rows", ["", "all"])
def test_a_profile_may_name_its_rows_and_all_are_run_if_asked_for(tmp_path, monkeypatch, rows):
    smoke = profile("smoke")
    named = [method(name) for name in smoke.named_rows]
    asked = planned(tmp_path, monkeypatch, *(["--rows", rows] if rows else []))
    wanted = methods().values() if rows else named
    assert asked == {f"predict/{predict_key(m, smoke)}/fold0" for m in wanted}


@pytest.mark.parametrize(
    ("name", "given"), [("smoke", []), ("paper", ["--profile", "paper", "--rows", "carried"])]
)
def test_after_the_trainings_no_more_rows_are_asked_for(tmp_path, monkeypatch, name, given):
    """One training serves several rows: all of them are asked for before it is made, too."""
    asked = planned(tmp_path, monkeypatch, *given)
    run = open_run("synthetic", name)
    for m in methods().values():
        for fold in run.profile.folds:
            if f"predict/{predict_key(m, run.profile)}/fold{fold}" in asked:
                run.train_dir(m, fold).mkdir(parents=True, exist_ok=True)
                (run.train_dir(m, fold) / carried.TRAINED).write_text("{}")
    assert planned(tmp_path, monkeypatch, *given) == asked


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--rows", "yolo12m nonsense"], "no method 'nonsense'"),
        (["--folds", "5"], "give some of"),
        (["--folds", "1 1"], "each once"),
        (["--folds", "0", "--rows", "carried"], "leave one"),
        (["--workflow", "/nowhere"], "a folder with a config.yaml"),
    ],
)
def test_a_part_that_there_is_not_is_refused_at_once(monkeypatch, capsys, given, why):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *given])
    with pytest.raises(SystemExit):
        reproduce._options()
    assert why in capsys.readouterr().err
