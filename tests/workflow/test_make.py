"""What a user gives to make arrives whole, whatever letters it has, and runs nothing."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    names = ("DATA", "PROFILE", "JOBS", "GPUS", "ROWS", "CARRIED", "SECONDS_PER_IMAGE")
    values = dict.fromkeys(names, given)
    arguments = [f"{k}={v}" for k, v in values.items()] if how == "argument" else []
    # what an outer make hands down is not of this call
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(
        ["make", "-s", "reproduce", f"VENV={tmp_path / 'venv'}", *arguments],
        cwd=REPOSITORY, env=outer | (values if how == "environment" else {}), check=True,
    )  # fmt: skip
    lines = told.read_text().splitlines()
    flags = ("data", "profile", "jobs", "gpus", "rows", "seconds-per-image")
    assert {f"--{flag}={given}" for flag in flags} <= set(lines)
    assert not ran.exists(), "the value reached a shell"


ODD_FOLDERS = [name for name in ODD if "/" not in name and "RAN" not in name and "{" not in name]


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_a_data_folder_reaches_the_workflow_whole(tmp_path, name):
    """Snakemake reads the values of its configuration as YAML, and takes quotes from them."""
    import argparse

    sys.path.insert(0, str(REPOSITORY / "workflow"))
    import reproduce

    from openurine_lib import open_run

    folder = tmp_path / name
    folder.mkdir()
    options = argparse.Namespace(workflow="local", gpus=0, jobs=1, rows=None, workers=None)
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
