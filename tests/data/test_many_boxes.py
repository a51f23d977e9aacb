"""Large sets: names are looked up, and up to a million boxes are checked in bounded memory."""

import os
import subprocess
import sys
from pathlib import Path

import four_forms as ff
import pytest

from openurine_lib.data.readers import read
from openurine_lib.data.source import Source

LIBRARIES, A_BOX = 0.2e9, 1300  # bytes

# A process starts as a copy of the one that starts it, and what that held counts in its maximum.
# So a small process stands between, which measures its own child.
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT).returncode
print("kilobytes", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def test_a_name_that_many_patients_share_is_looked_up(monkeypatch):
    """If it were compared with all namesakes, time would grow with the square of the patients."""
    images = {f"images/p{i}/1.png": "labelled" for i in range(50)}
    source = Source(Path("/set"), images | {"loose/p3/1.png": "labelled"})
    monkeypatch.setattr(Source, "named", lambda *given: pytest.fail("all namesakes were looked at"))
    assert source.image("p7/1.png") == source.image("p7/1") == "images/p7/1.png"
    assert source.image("/home/ann/images/p7/1.png") == "images/p7/1.png"
    assert source.image("p3/1.png") is None  # two are so called
    assert source.image("p7/2.png") is None


def test_a_long_table_is_read_with_a_bar(tmp_path, monkeypatch):
    ff.table(tmp_path)
    bars = []
    monkeypatch.setattr(
        "openurine_lib.data.tables.tqdm", lambda rows, **how: bars.append(how) or rows
    )
    assert read(tmp_path).found
    assert [bar["desc"] for bar in bars] == ["reading boxes.csv"]


@pytest.mark.parametrize(
    "n",
    [
        pytest.param(250_000, marks=pytest.mark.slow),
        pytest.param(1_000_000, marks=pytest.mark.thorough),
    ],
)
def test_many_boxes_are_checked_in_bounded_memory(tmp_path, n):
    ff.images(tmp_path)
    ff.groups(tmp_path)
    with (tmp_path / "boxes.csv").open("w") as file:
        file.write("image,class,x1,y1,x2,y2\n")
        for i in range(n):
            x, y = i // len(ff.IMAGES) % 400 / 10, i // len(ff.IMAGES) // 400 / 10
            name = ff.IMAGES[i % len(ff.IMAGES)]
            file.write(f"{name}.png,{ff.NAMES[i % 3]},{x},{y},{x + 5},{y + 5}\n")
    checked = [sys.executable, "-m", "openurine_lib.cli", "check", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, *checked],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0 and f"{n} boxes" in ended.stdout, ended.stdout[-2000:]
    most = int(ended.stdout.rsplit("kilobytes", 1)[1]) * 1024
    assert most < LIBRARIES + n * A_BOX
