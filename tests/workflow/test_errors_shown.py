"""Whatever stops Snakemake is said, and the call does not end as if all were well."""

from types import SimpleNamespace

import pytest
import reproduce

from openurine_lib import open_run

BROKEN = {
    "a syntax error": ("x = (1,\n", "EOF in multi-line statement"),
    "a name that is not there": ("x = nowhere\n", "name 'nowhere' is not defined"),
    "an input that nobody makes": (
        "rule all:\n    input: 'nowhere.csv'\n",
        "Missing input files for rule all",
    ),
    "an exception in an input function": (
        "def f(w):\n    raise ValueError('no such row')\n\n\nrule all:\n    input: f\n",
        "ValueError: no such row",
    ),
    "two rules for one file": (
        "rule all:\n    input: 'a'\n"
        "rule b:\n    output: 'a'\n    shell: ':'\nrule c:\n    output: 'a'\n    shell: ':'\n",
        "are ambiguous for the file a",
    ),
}


@pytest.fixture
def shown(tmp_path, capfd):
    """Runs a Snakefile as ``make reproduce`` does; gives the exit code and what is shown."""

    def run_snakefile(text):
        run = open_run("synthetic", "smoke")
        run.dir.mkdir(parents=True)
        snakefile = tmp_path / "Snakefile"
        snakefile.write_text(text)
        local = reproduce.PROFILES / "local"
        options = SimpleNamespace(
            gpus=0, per_gpu=1, rows=None, folds=None, workers=None, workflow=local, jobs=1
        )
        command = reproduce._snakemake(run, options, "all")
        command[command.index("--snakefile") + 1] = str(snakefile)
        code = reproduce._shown(command, reproduce._environment(options))
        return code, capfd.readouterr().err

    return run_snakefile


@pytest.mark.parametrize("what", BROKEN)
def test_an_error_of_the_workflow_is_shown(shown, what):
    text, message = BROKEN[what]
    code, error = shown(text)
    assert code != 0
    assert "error: " in error and message in error


def test_a_job_that_fails_is_told_by_the_end_of_its_log(shown):
    rule = (
        "rule all:\n    output: 'a'\n    log: 'a.log'\n    shell: 'echo the reason > {log}; exit 3'"
    )
    code, error = shown(rule + "\n")
    assert code != 0
    assert "FAILED: all" in error and "the reason" in error and "set -euo" not in error
