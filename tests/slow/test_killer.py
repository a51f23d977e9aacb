"""The killer itself, on a run of a few lines: it ends all processes at the operation asked for."""

import signal
import sys
from pathlib import Path

import campaign
import pytest

LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "job.py", *sys.argv[1:]]).returncode)
"""
# five operations, of which the third is a worker's; then the job ends
JOB = """
import os, subprocess, sys
from pathlib import Path
Path("a").write_text("1")
os.rename("a", "b")
Path("/dev/null").write_text("not below the run's folder")
Path("b").read_text()
subprocess.run([sys.executable, "-c", "open('c', 'w').write('2')"], start_new_session=True)
os.mkdir("d")
os.remove("b")
os.utime("c")
"""


def run(place: Path, at: str, *arguments: str) -> int:
    (place / "reproduce.py").write_text(LAUNCHER)
    (place / "job.py").write_text(JOB)
    command = [sys.executable, "reproduce.py", *arguments]
    return campaign.started(place, place.parent / "counts", at, command).returncode


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def left(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()} - {"reproduce.py", "job.py"}


def test_operations_of_all_processes_of_a_job_are_counted(place: Path) -> None:
    assert run(place, "", "train", "--number", "03") == 0
    assert campaign.operations(place.parent / "counts", "train") == 6  # the last one is its end
    assert left(place) == {"c", "d"}


@pytest.mark.parametrize(
    ("n", "there"),
    [(1, set()), (2, {"a"}), (3, {"b"}), (4, {"b", "c"}), (5, {"b", "c", "d"}), (99, {"c", "d"})],
)
def test_a_run_ends_before_the_operation(place: Path, n: int, there: set[str]) -> None:
    assert run(place, f"06 {n}", "notebook", "--number", "06") == -signal.SIGKILL
    assert left(place) == there


def test_a_job_of_another_phase_is_left_alone(place: Path) -> None:
    assert run(place, "train 1", "notebook", "--number", "06") == 0


def test_moments_are_seeded_and_within_the_shortest_job(tmp_path: Path) -> None:
    for name, size in (("train-1", 40), ("train-2", 7), ("report-3", 5)):
        (tmp_path / name).write_bytes(b"." * size)
    phases = ["train"] * 50 + ["report"] * 20
    chosen = campaign.moments(tmp_path, phases, seed=1)
    assert chosen == campaign.moments(tmp_path, phases, seed=1)
    assert chosen != campaign.moments(tmp_path, phases, seed=2)
    assert set(chosen) == {f"train {n}" for n in range(1, 8)} | {f"report {n}" for n in range(1, 6)}
    with pytest.raises(ValueError):
        campaign.operations(tmp_path, "search")
