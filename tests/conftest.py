"""Every test runs in a folder of its own, with one thread and nothing from the network."""

import os
from pathlib import Path

import matplotlib
import pytest

for _name in ("OMP_NUM_THREADS", "OPENURINE_THREADS"):
    os.environ.setdefault(_name, "1")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that a test opens writes below ``tmp_path``, never into the checkout."""
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
