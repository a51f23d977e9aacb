"""The runner, what counts as a change, and how a run begins and ends."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import estimate
import nbformat
import notebook
import pytest
from reproduce import first_of, headline

from openurine_lib import method, methods, open_run, plan, profile
from openurine_lib.experiments import fingerprints
from openurine_lib.experiments import run as run_module
from openurine_lib.experiments.methods import predict_key, train_key

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))


def written(
    path: Path,
    *cells: str,
    parameters: str = "seed = 0\nprofile = 'smoke'\nquick = True\nrate = 0.5",
) -> Path:
    """A notebook of a parameters cell and some code cells."""
    nb = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    nb.cells = [nbformat.v4.new_code_cell(source) for source in (parameters, *cells)]
    nb.cells[0].metadata.tags = ["parameters"]
    nbformat.write(nb, path)
    return path


# --- the runner


def test_parameters_are_checked_before_anything_runs(tmp_path: Path) -> None:
    nb = written(tmp_path / "a.ipynb")
    assert notebook.parameters_of(nb) == {"seed": 0, "profile": "smoke", "quick": True, "rate": 0.5}
    assert notebook.checked(nb, {"seed": "3", "quick": "false", "profile": "07", "rate": "1"}) == {
        "seed": 3,
        "quick": False,
        "profile": "07",
        "rate": 1.0,
    }
    with pytest.raises(
        notebook.ParameterError, match="no parameter sed; it has: seed, profile, quick, rate"
    ):
        notebook.execute(nb, tmp_path / "out.ipynb", {"sed": 1})
    with pytest.raises(notebook.ParameterError, match="seed is of type int, not 'x'"):
        notebook.checked(nb, {"seed": "x"})
    with pytest.raises(notebook.ParameterError, match="quick is true or false"):
        notebook.checked(nb, {"quick": "maybe"})
    assert not (tmp_path / "out.ipynb").exists()


def test_executed_copy_or_the_failed_one_is_kept(tmp_path: Path) -> None:
    nb = written(tmp_path / "a.ipynb", "print('seed is', seed)", "assert seed < 5, 'too much'")
    out = tmp_path / "kept" / "out.ipynb"
    with pytest.raises(
        notebook.NotebookFailed, match=r"cell \d: AssertionError: too much\n.*out.failed.ipynb"
    ):
        notebook.execute(nb, out, {"seed": 7}, progress=False)
    assert [f.name for f in out.parent.iterdir()] == ["out.failed.ipynb"]
    notebook.execute(nb, out, {"seed": 1}, progress=False)
    assert [f.name for f in out.parent.iterdir()] == ["out.ipynb"]
    assert "seed is 1" in out.read_text()


def test_command_line_refuses_with_the_list(tmp_path: Path) -> None:
    nb = written(tmp_path / "a.ipynb")
    command = [
        sys.executable,
        str(ROOT / "workflow" / "notebook.py"),
        str(nb),
        str(tmp_path / "o.ipynb"),
        "-p",
        "foldd",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "has no parameter foldd; it has: seed" in done.stderr


# --- what counts as a change


def digests(package: Path) -> dict[str, str]:
    """Digests as computed by a copy of the package."""
    script = f"""
import json
from openurine_lib import method, profile
from openurine_lib.experiments import fingerprints
p, ours, stock = profile("demo"), method("ours-yolo12m"), method("yolov8m")
kinds = ("ssl", "train", "predict", "search")
found = {{kind: fingerprints.ingredients(kind, p, 0, ours) for kind in kinds}}
found["stock"] = fingerprints.ingredients("train", p, 0, stock)
found["table"] = fingerprints.of_notebook("{ROOT}/notebooks/06_comparison.ipynb")
print(json.dumps({{kind: str(parts) for kind, parts in found.items()}}))
"""
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env=environment,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for name in ("openurine_lib", "synthurine"):
        shutil.copytree(ROOT / name, folder / name)
    return folder / "openurine_lib"


@pytest.mark.parametrize("name", ["smoke", "demo", "study", "paper"])
def test_rows_that_share_a_result_ask_for_it_alike(name: str) -> None:
    """Otherwise one row's notebook would clear what another's has made."""
    p = profile(name)
    jobs = plan(p)
    for m in methods().values():
        for kind, first in (
            ("train", jobs.train[train_key(m, p)]),
            ("predict", jobs.predict[predict_key(m, p)]),
        ):
            made = [fingerprints.ingredients(kind, p, 0, row) for row in (m, first)]
            assert made[0] == made[1], (kind, m.id, first.id)


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("model/loss.py", "from __future__", "# a comment\nfrom __future__", set()),
        (
            "config/methods.yaml",
            "# --- Table 4",
            "new: {answers: {4: x}, engine: ultralytics}\n# --- Table 4",
            set(),
        ),
        ("config/methods.yaml", "arch: yolov8m,", "arch: yolov8s,", {"stock"}),
        (
            "experiments/comparison.py",
            "\ndef reproduced_table(",
            "\nADDED = 1\n\n\ndef reproduced_table(",
            {"table"},
        ),
        (
            "model/loss.py",
            "\nclass MultiHeadLoss",
            "\nADDED = 1\n\n\nclass MultiHeadLoss",
            {"ssl", "train", "search", "stock"},
        ),
        (
            "model/autoencoder.py",
            "\nclass Autoencoder",
            "\nADDED = 1\n\n\nclass Autoencoder",
            {"ssl"},
        ),
    ],
)
def test_changes(package: Path, file: str, old: str, new: str, changed: set[str]) -> None:
    before, path = digests(package), package / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    try:
        after = digests(package)
    finally:
        path.write_text(text)
    assert {k for k in before if before[k] != after[k]} == changed


@pytest.mark.parametrize(
    ("field", "value", "changed"),
    [
        ("ssl_epochs", 99, {"ssl"}),
        ("max_test_fields", 1, {"predict"}),
        ("max_train_fields", 1, {"train", "search"}),
    ],
)
def test_a_profile_change_concerns_the_jobs_that_use_it(
    field: str, value: int, changed: set[str]
) -> None:
    demo, ours = profile("demo"), method("ours-yolo12m")
    other, kinds = (
        dataclasses.replace(demo, **{field: value}),
        ("ssl", "train", "predict", "search"),
    )
    assert {
        k
        for k in kinds
        if fingerprints.ingredients(k, demo, 0, ours) != fingerprints.ingredients(k, other, 0, ours)
    } == changed


@pytest.mark.parametrize(
    "new", [{"why": "new"}, {"doi": "10.1/new"}, {"published_size": {"params_m": 1.0}}]
)
def test_what_is_said_of_a_row_is_no_change_of_its_training(new: dict[str, Any]) -> None:
    demo, ours = profile("demo"), method("ours-yolo12m")
    other = dataclasses.replace(ours, **new)
    for kind in ("ssl", "train", "predict", "search"):
        assert fingerprints.ingredients(kind, demo, 0, ours) == fingerprints.ingredients(
            kind, demo, 0, other
        )


def test_prose_and_outputs_of_a_notebook_are_no_change(tmp_path: Path) -> None:
    nb = written(tmp_path / "a.ipynb", "x = 1  # one")
    first = fingerprints.of_notebook(nb)
    content = nbformat.read(nb, 4)
    content.cells.append(nbformat.v4.new_markdown_cell("prose"))
    content.cells[1].source, content.cells[1].execution_count = "x = 1", 3
    nbformat.write(content, nb)
    assert fingerprints.of_notebook(nb) == first
    assert fingerprints.of_notebook(written(tmp_path / "a.ipynb", "x = 2")) != first


def test_data_is_compared_by_content_and_read_once(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache.json"
    data.mkdir()
    (data / "a.txt").write_text("1")
    first = fingerprints.of_data(data, cache)
    os.utime(data / "a.txt", (1, 1))
    assert fingerprints.of_data(data, cache) == first  # a copy with other times
    (data / "a.txt").write_text("2")
    assert fingerprints.of_data(data, cache) != first


@pytest.mark.parametrize("left", ["", '{"a.txt": ["1-'])
def test_a_record_that_was_cut_off_does_not_stop_later_runs(tmp_path: Path, left: str) -> None:
    data, cache = tmp_path / "data", tmp_path / "locks" / "data.json"
    data.mkdir()
    (data / "a.txt").write_text("1")
    first = fingerprints.of_data(data, cache)
    cache.write_text(left)
    assert fingerprints.of_data(data, cache) == first
    assert json.loads(cache.read_text()).keys() == {"a.txt"}  # whole again


def test_imports_inside_functions_are_followed() -> None:
    assert not hasattr(run_module, "synthurine")  # imported where a data set is drawn
    assert "synthurine.fields" in fingerprints.modules_reached("openurine_lib.experiments.run")


def test_every_method_has_its_ingredients() -> None:
    p = profile("paper")
    for kind in ("dataset", "ssl", "train", "predict", "search"):
        assert fingerprints.ingredients(
            kind, p, 0, method("ours-yolo12m")
        ) != fingerprints.ingredients(kind, p, 1, method("ours-yolo12m"))


# --- how long


def test_a_job_sets_its_threads_whatever_it_inherits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Last digits depend on the threads, so these must not depend on the number of jobs."""
    import job

    inherited = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENURINE_THREADS"), "7")
    monkeypatch.setattr(os, "environ", os.environ | inherited)
    job._set_environment(1)
    for name in (*inherited, "OPENBLAS_NUM_THREADS"):
        assert os.environ[name] == "1"
    # and no rule asks for more, so that {threads} is 1 on every machine
    rules = (ROOT / "workflow" / "Snakefile").read_text()
    assert "--threads {threads}" in rules
    assert "threads:" not in rules and "set-threads" not in rules


def test_paper_profile_in_jobs_and_hours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_operations", lambda arch: 1.0)
    estimate.describe(open_run(profile_name="paper"), given=0.02)
    text = capsys.readouterr().out
    p = profile("paper")
    assert "0.02 s an image (given)" in text and "CPU" not in text
    ours = next(w for w in estimate.work(open_run(profile_name="paper")) if w.kind == "05 search")
    assert (
        ours.images == p.search["trials"] * p.search["epochs"] * p.synthetic["fields"] * 0.8 * 0.8
    )


@pytest.mark.parametrize("rows", [None, "all"])
def test_a_profile_that_names_its_rows_is_estimated_for_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rows: str | None
) -> None:
    monkeypatch.setattr(estimate, "_operations", lambda arch: 1.0)
    run = open_run(profile_name="smoke")
    if rows:
        run = dataclasses.replace(run, profile=dataclasses.replace(run.profile, rows=rows))
    estimate.describe(run, given=0.02)
    assert f" {rows or len(run.profile.named_rows)} rows over" in capsys.readouterr().out
    trainings = next(w for w in estimate.work(run) if w.kind == estimate.TRAINING)
    assert trainings.jobs == len(plan(run.profile, run.profile.named_rows).train)


def test_memory_of_a_gpu_beside_the_hours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_operations", lambda arch: 1.0)
    run = open_run(profile_name="paper")
    estimate.describe(run, given=0.02)
    text = capsys.readouterr().out
    lines = {line[:22].strip(): line.split()[-1] for line in text.splitlines() if line}
    memory, new = estimate.gpu_gb(run)
    assert not new
    for kind in ("02 ssl pretraining", "03 training", "04 inference", "05 search"):
        assert lines[kind] == f"{memory[kind][0]:.1f}"
    assert "not checked on a GPU" in text
    # the search trains the paper's method, of which no training is larger than the largest
    assert memory["05 search"][0] <= memory["03 training"][0]
    assert memory["04 inference"][0] < memory["03 training"][0]


def test_memory_of_a_gpu_for_some_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(profile_name="paper")
    memory, _ = estimate.gpu_gb(run, ["yolo12n"])
    assert set(memory) == {"03 training", "04 inference"}  # no pretraining, no search
    # sixteen slices at once, one whole field
    sliced, whole = (
        estimate.gpu_gb(run, [name])[0]["04 inference"][0] for name in ("yolo12m-sahi", "yolo12m")
    )
    assert 10 < sliced / whole < 16
    monkeypatch.setattr(estimate.gpu_memory, "activations", dict)
    estimate.describe(run, given=0.02, rows=["yolo12n"])  # says so, and goes on
    text = capsys.readouterr().out
    assert "Without yolo12n, which make docs has not counted" in text and "GPU GB:" not in text
    assert "0.02 s an image (given)" in text


@pytest.mark.parametrize(("workers", "rounds"), [(20, 15), (7, 43), (1, 300)])
def test_the_search_takes_as_many_rounds_as_a_worker_has_trials(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workers: int, rounds: int
) -> None:
    monkeypatch.setattr(estimate, "_operations", lambda arch: 1.0)
    run = open_run(profile_name="paper")
    assert run.profile.search_workers == 20
    several = dataclasses.replace(run.profile, search_workers=workers)
    estimate.describe(dataclasses.replace(run, profile=several), given=0.02)
    # a trial: 100 passes over four fifths of four fifths of 790 fields
    hours = rounds * 100 * 790 * 0.8 * 0.8 * 0.02 / 3600
    assert workers < 20 or hours < 24, "300 trials on 20 workers fit a day"
    said = f"{workers} jobs share its trials; side by side: {hours:,.1f} hours"
    assert (said in capsys.readouterr().out) == (workers > 1)


# --- a run


def reproduce(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "workflow" / "reproduce.py"), *arguments]
    environment = os.environ | {"OPENURINE_ROOT": str(root)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root)


def test_reproduce_refuses_before_long_work(tmp_path: Path) -> None:
    assert "no profile 'smok'" in reproduce(tmp_path, "--profile", "smok").stderr
    done = reproduce(tmp_path, "--data", str(tmp_path / "nowhere"))
    assert done.returncode == 2 and "nowhere' does not exist" in done.stderr
    wrong = {"--seed": "-1", "--jobs": "0", "--workers": "0", "--gpus": "two", "--per-gpu": "0"}
    for option, value in wrong.items():
        done = reproduce(tmp_path, f"{option}={value}")
        assert done.returncode == 2 and f"{option}: '{value}' is no whole number" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_reproduce_names_the_folder_that_it_may_not_write_to(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")  # a file
    done = reproduce(tmp_path, "--profile", "smoke")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert str(tmp_path / "runs" / "smoke") in done.stderr and "may write to" in done.stderr


def test_a_published_notebook_has_one_line_a_bar_and_no_path_of_the_machine(tmp_path: Path) -> None:
    v4 = nbformat.v4
    stream = "stream"
    cell = v4.new_code_cell(
        "x",
        outputs=[
            v4.new_output(stream, name="stderr", text="\rtrain:   0%"),
            v4.new_output(stream, name="stdout", text=f"{tmp_path}/runs/a.csv\n"),
            v4.new_output(stream, name="stderr", text="\rtrain:  50%"),
            v4.new_output(stream, name="stderr", text="\rtrain: 100%\nwarning\n"),
            v4.new_output("display_data", {"text/html": f"<b>{tmp_path}/x</b>"}),
        ],
    )
    book = v4.new_notebook(cells=[cell], metadata={"papermill": {"input_path": str(tmp_path)}})
    nbformat.write(book, tmp_path / "copy.ipynb")
    notebook.publish(tmp_path / "copy.ipynb", tmp_path / "out" / "a.ipynb", tmp_path)
    text = (tmp_path / "out" / "a.ipynb").read_text()
    assert str(tmp_path) not in text and "50%" not in text
    outputs = nbformat.read(tmp_path / "out" / "a.ipynb", as_version=4).cells[0].outputs
    assert outputs[0].text == "train: 100%\nwarning\n" and outputs[1].text == "runs/a.csv\n"
    assert outputs[2].data["text/html"] == "<b>x</b>"


def test_the_last_lines_are_the_first_table_of_the_page(tmp_path: Path) -> None:
    ours, plain = (method(name).answers[4] for name in ("ours-yolo12m", "yolo12m-sahi"))
    rows = ["row,map50_here,map50_paper", f"{ours},61.234,64.15", f"{plain},,59.91"]
    (tmp_path / "table4.csv").write_text("\n".join(rows) + "\n")
    lines = headline(tmp_path)
    assert lines[1].startswith("The paper's method") and lines[1].split()[-2:] == ["61.2", "64.2"]
    assert lines[2].split()[-2:] == ["—", "59.9"]
    assert lines[3].startswith("1 of 2 rows")


def test_a_part_leads_to_the_notebook_that_has_run_or_to_the_numbers(tmp_path: Path) -> None:
    run, row = open_run("synthetic", "smoke"), method("yolo12m")
    numbers = run.predict_dir(row, 1) / "metrics.csv"
    assert first_of(run, row, 1) == numbers, "of carried predictions no notebook has run"
    executed = f"04_sahi_inference-{predict_key(row, run.profile)}-fold1.ipynb"
    (run.dir / "notebooks").mkdir(parents=True)
    (run.dir / "notebooks" / executed).touch()
    assert first_of(run, row, 1).name == executed
