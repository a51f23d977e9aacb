"""A run that is killed at chosen moments: how it is started, and which moments are chosen."""

import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
KILLER = Path(__file__).resolve().parent / "killer"
COMMAND = [sys.executable, str(REPOSITORY / "workflow" / "reproduce.py")]
COMMAND += ["--profile", "smoke", "--jobs", "2"]


def started(
    root: Path, counts: Path, at: str = "", command: Iterable[str] = COMMAND
) -> "subprocess.CompletedProcess[str]":
    """Runs the command in a process group of its own, with every job's file operations counted.

    root: the project folder of the run. counts: a folder for the counts. at: ``<phase> <n>``, the
    file operation before which the run is killed.
    """
    counts.mkdir(parents=True, exist_ok=True)
    paths = [str(KILLER), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OPENURINE_ROOT": str(root),
        "KILLER_COUNTS": str(counts),
        "KILLER_AT": at,
    }
    return subprocess.run(
        [*command],
        capture_output=True,
        text=True,
        cwd=root,
        env=environment,
        start_new_session=True,
    )


def operations(counts: Path, phase: str) -> int:
    """How many file operations a job of the phase has; the shortest job, where there are several.

    Raises ValueError if no job of the phase was counted.
    """
    return min(file.stat().st_size for file in counts.glob(f"{phase}-*"))


def moments(counts: Path, phases: Iterable[str], seed: int) -> list[str]:
    """A moment for each of the phases, in their order: the same ones for the same seed."""
    drawn = random.Random(seed)
    return [f"{phase} {drawn.randint(1, operations(counts, phase))}" for phase in phases]
