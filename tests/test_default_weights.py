"""The detector that comes with the project: by a rule, with its record, also in a wheel."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from openurine_lib import default_weights
from openurine_lib.data import taxonomy
from openurine_lib.training.weights import DETECTOR, check_taxonomy, read_weights

ROOT = Path(__file__).resolve().parents[1]


def carried(store, row, map50, record=True, cameras=None):
    folder = store / "study" / row / "fold0"
    folder.mkdir(parents=True)
    (folder / default_weights.WEIGHTS).write_bytes(row.encode())
    (folder / default_weights.METRICS).write_text(f"cls,ap50\n0,{map50}\n1,\n2,{map50}\n")
    (folder / default_weights.CARD).write_text("card")
    if record:
        known = {} if cameras is None else {"cameras": cameras}
        (folder / default_weights.RECORD).write_text(json.dumps(known))
    return folder


def test_the_best_with_a_record_is_the_default(tmp_path, monkeypatch):
    carried(tmp_path, "a", 0.5)
    best = carried(tmp_path, "b", 0.6)
    carried(tmp_path, "c", 0.9, record=False)
    assert default_weights.best(tmp_path) == best
    assert default_weights.map50(best) == pytest.approx(0.6)
    monkeypatch.setattr(default_weights, "INSTALLED", tmp_path / "none")
    monkeypatch.setattr(default_weights, "CARRIED", tmp_path / "empty")
    with pytest.raises(default_weights.NoWeights, match="name one"):
        default_weights.path()


def test_the_one_that_has_seen_more_cameras_comes_first(tmp_path):
    carried(tmp_path, "a", 0.9, cameras=8)
    carried(tmp_path, "b", 0.95)
    carried(tmp_path, "c", 0.4, cameras=100)
    best = carried(tmp_path, "d", 0.5, cameras=100)
    assert default_weights.best(tmp_path) == best


def test_the_one_of_this_repository_fits_its_record_and_can_be_read():
    weights = default_weights.path()
    record = json.loads((weights.parent / default_weights.RECORD).read_text())
    assert record["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    meta = read_weights(weights, "ultralytics", DETECTOR)["meta"]
    check_taxonomy(meta, taxonomy.load("openurine"), weights)
    named = {row["component"] for row in record["components"]}
    assert named == set(taxonomy.load("openurine").components)


def test_a_build_holds_the_default_and_its_record(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project / name)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("openurine_lib", "synthurine"):
        shutil.copytree(ROOT / name, project / name, ignore=ignore)
    best = carried(project / "carried", "best", 0.6)
    carried(project / "carried", "other", 0.1)
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    built = tmp_path / "built" / "openurine_lib" / "default"
    assert {f.name for f in built.iterdir()} == {f.name for f in best.iterdir()}
    assert (built / default_weights.WEIGHTS).read_bytes() == b"best"


def test_a_start_that_is_not_there_is_named(tmp_path, monkeypatch):
    folder = carried(tmp_path, "a", 0.5)
    monkeypatch.setattr(default_weights, "CARRIED", tmp_path)
    assert default_weights.named("study/a/fold0") == folder / default_weights.WEIGHTS
    with pytest.raises(default_weights.NoWeights, match="fold1.*use a checkout"):
        default_weights.named("study/a/fold1")
