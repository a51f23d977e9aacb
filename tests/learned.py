"""A tiny detector that has learned, trained once for all tests that only look at what it finds."""

import os
import shutil
from pathlib import Path

import pytest
import tiny
from filelock import FileLock

from openurine_lib.training.engines import ultralytics as engine

EPOCHS = 60


def weights(heads: str, folder: Path, factory: pytest.TempPathFactory) -> Path:
    """A copy, in the folder, of the weights of a detector with such heads (single or multi).

    Two processes of pytest have one parent folder, and share what the first of them trained.
    """
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    place = factory.getbasetemp() if alone else factory.getbasetemp().parent
    trained = place / f"learned-{heads}"
    with FileLock(f"{trained}.lock"):
        file = trained / "weights.pt"
        if not file.exists():
            job = tiny.job(trained / "training", heads=heads, epochs=EPOCHS)
            shutil.copyfile(engine.fit(job), trained / "weights.part")
            os.replace(trained / "weights.part", file)
    return Path(shutil.copy(file, folder))
