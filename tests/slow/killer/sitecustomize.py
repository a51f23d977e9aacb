"""Ends a run with SIGKILL at a chosen file operation. Python imports this file as it starts.

What a kill leaves on the disk changes only where a file is opened, renamed or removed. So moments
are counted in these operations, not in seconds, and are the same on every machine. With the folder
of this file on PYTHONPATH, the processes of one job of the workflow (``job.py``, its workers, its
kernel) count what they change below OPENURINE_ROOT: a byte an operation, in a file of
KILLER_COUNTS that is named after the job's phase. With KILLER_AT=<phase> <n> the run ends before
the n-th operation of a job of that phase, or when the job ends, if it has fewer.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def phase_of(arguments: list[str]) -> str:
    """A job's phase: what it makes, or the number of a notebook that only shows."""
    kind = arguments[0]
    return arguments[arguments.index("--number") + 1] if kind == "notebook" else kind


def end_of_all() -> None:
    """SIGKILL to the run's processes and, as a kernel has a group of its own, to this group."""
    os.killpg(int(os.environ["KILLER_GROUP"]), signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)


def hook(phase: str, is_job: bool) -> Callable[[str, tuple[Any, ...]], None]:
    root = os.environ["OPENURINE_ROOT"]
    counts = Path(os.environ["KILLER_COUNTS"]) / f"{phase}-{os.environ['KILLER_JOB']}"
    file = os.open(counts, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    wanted, _, limit = os.environ.get("KILLER_AT", "").rpartition(" ")

    def changes(event: str, given: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = given
            writes = isinstance(flags, int) and bool(flags & WRITING)
            below = isinstance(path, str) and os.path.abspath(path).startswith(root)
            return writes and below
        return event in CHANGES and os.path.abspath(os.fsdecode(given[0])).startswith(root)

    def on(event: str, given: tuple[Any, ...]) -> None:
        ends = is_job and event == "os.utime"  # its results are there, Snakemake does not know it
        if not ends and not changes(event, given):
            return
        os.write(file, b".")  # of all processes of the job
        if phase == wanted and (ends or os.fstat(file).st_size >= int(limit)):
            end_of_all()

    return on


def start(command: list[str]) -> None:
    """Begins to count in a process with this command line, if it belongs to a job."""
    programs = [Path(part).name for part in command[:3]]
    if "reproduce.py" in programs:
        os.environ["KILLER_GROUP"] = str(os.getpid())
    is_job = "job.py" in programs
    if is_job:
        os.environ["KILLER_PHASE"] = phase_of(command[programs.index("job.py") + 1 :])
        os.environ["KILLER_JOB"] = str(os.getpid())
    if "KILLER_PHASE" in os.environ:
        sys.addaudithook(hook(os.environ["KILLER_PHASE"], is_job))


if "KILLER_COUNTS" in os.environ:
    start(sys.orig_argv)
