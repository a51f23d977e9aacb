"""A kill leaves temporary files; the next job removes those that nobody can be using."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import job
import leftovers

from openurine_lib import files, open_run

HOURS_AGO = 10_000  # seconds


def left_by_a_kill(target: Path, old: bool) -> Path:
    """The temporary file of a write to ``target``, of which a kill left half."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_path(target) as temporary:
        temporary.write_text("half")
        os.link(temporary, target.with_name("kept"))
    left = target.with_name("kept").rename(temporary)
    target.unlink()
    if old:
        then = left.stat().st_mtime - HOURS_AGO
        os.utime(left, (then, then))
    return left


def test_a_temporary_file_that_nobody_writes_goes_and_results_stay(tmp_path):
    old = left_by_a_kill(tmp_path / "fold0" / "weights.pt", old=True)
    deep = left_by_a_kill(tmp_path / "fold0" / "slices" / "a.jpg", old=True)
    new = left_by_a_kill(tmp_path / "fold0" / "state.pt", old=False)
    others = [tmp_path / name for name in (".lock", "weights.pt", ".hidden.csv")]
    for path in others:
        path.touch()
        os.utime(path, (1, 1))
    leftovers.clear_temporary([tmp_path, tmp_path / "nowhere"])
    assert not old.exists() and not deep.exists()
    assert new.exists() and all(path.exists() for path in others)


def test_a_half_executed_notebook_goes_unless_its_job_is_done_now(tmp_path):
    locks = tmp_path / "locks"
    locks.mkdir()
    for name in ("03-killed", "03-at-work", "by-hand"):
        (tmp_path / f"{name}.running.ipynb").touch()
    (locks / "03-killed.lock").touch()
    with (locks / "03-at-work.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        leftovers.clear_running(tmp_path, locks)
    left = {path.name for path in tmp_path.glob("*.ipynb")}
    assert left == {"03-at-work.running.ipynb", "by-hand.running.ipynb"}


def test_a_job_begins_with_it(tmp_path, monkeypatch):
    run = open_run("synthetic", "smoke")
    half = left_by_a_kill(run.figures / "fig1.png", old=True)
    killed = run.dir / "notebooks" / "03-killed.running.ipynb"
    files.write_text(killed, "{}")
    files.write_text(run.dir / "locks" / "03-killed.lock", "")
    out = run.dir / "notebooks" / "12-nowhere.ipynb"
    given = ["--number", "12", "--data", "synthetic", "--profile", "smoke", "--out", str(out)]
    done = subprocess.run([sys.executable, job.__file__, "notebook", *given], capture_output=True)
    assert done.returncode != 0  # there is no such notebook
    assert not half.exists() and not killed.exists()
