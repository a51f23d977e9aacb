"""What a killed process leaves: temporary files of atomic writes, and notebooks half executed."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterable
from pathlib import Path

from openurine_lib.files import TEMPORARY

# Seconds. A file that is being written was changed a moment ago, so this one has been given up.
GIVEN_UP = 3600
RUNNING = ".running.ipynb"


def clear_temporary(folders: Iterable[Path]) -> None:
    """Removes temporary files in the folders, at any depth, that nobody is writing."""
    for path in (p for folder in folders for p in folder.rglob(".*") if p.is_file()):
        # one that another job removes at this moment is no error
        with contextlib.suppress(FileNotFoundError):
            old = time.time() - path.stat().st_mtime > GIVEN_UP
            if old and TEMPORARY.fullmatch(path.name):
                path.unlink()


def clear_running(copies: Path, locks: Path) -> None:
    """Removes half executed notebooks in ``copies`` whose job nobody does: its lock is free."""
    for path in copies.glob(f"*{RUNNING}"):
        lock = locks / f"{path.name.removesuffix(RUNNING)}.lock"
        if not lock.exists():  # of no job: somebody executes a notebook by hand
            continue
        with lock.open("a") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
