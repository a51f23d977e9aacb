"""What the package hands out: every name, and nothing loaded before it is asked for."""

import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

import openurine_lib
from openurine_lib.data import taxonomy
from openurine_lib.experiments import fingerprints
from openurine_lib.laboratory.predicting import BadFolder, BadOption, predict

HEAVY = ("torch", "pandas", "numpy", "ultralytics", "matplotlib")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, openurine_lib; dir(openurine_lib); "
    code += f"print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", openurine_lib.__all__)
def test_every_name_is_there(name):
    assert name in dir(openurine_lib)
    value = getattr(openurine_lib, name)
    if name not in openurine_lib.MODULES:
        assert value is getattr(import_module(openurine_lib.HOMES[name]), name)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'predictions'"):
        _ = openurine_lib.predictions


def test_a_notebook_depends_on_the_modules_behind_the_names(tmp_path, monkeypatch):
    """The package's own file imports none of them, so the graph of imports does not tell."""
    line = "from openurine_lib import open_run, predict_image, style"
    cell = {"cell_type": "code", "source": [line]}
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [cell]}))
    asked = []
    monkeypatch.setattr(fingerprints, "of_modules", lambda *roots: asked.extend(roots) or "0")
    fingerprints.of_notebook(tmp_path / "n.ipynb")
    assert asked == ["openurine_lib.inference"]


def test_predict_without_a_folder_gives_what_it_writes_with_one(weights, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (120, 100, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "field1.png")
    out = tmp_path / "out"
    written = predict([tmp_path / "field1.png"], weights, out, um_per_px=0.5)
    alone = predict([image], str(weights), um_per_px=0.5)
    pd.testing.assert_frame_equal(written.boxes, alone.boxes)
    pd.testing.assert_frame_equal(written.report, alone.report)
    kept = pd.read_csv(out / "report.csv")
    assert set(kept.detector) == {written.trained_on}
    assert set(kept.remarks) == {"; ".join(written.remarks["patient"])}
    kept = kept[list(written.report)]
    pd.testing.assert_frame_equal(written.report, kept, rtol=1e-5, check_dtype=False)
    assert len(alone.boxes) == len(pd.read_csv(out / "boxes.csv")) > 0
    files = {p.name for p in out.iterdir() if not p.name.startswith(".")}  # the lock is hidden
    assert files == {"boxes.csv", "field1.png", "made_from.json", "report.csv"}
    assert list(alone.report.component) == list(taxonomy.load("openurine").components)
    assert alone.per_hpf and not predict([image], weights).per_hpf


def test_what_was_interrupted_on_other_arrays_is_not_gone_on_with(weights, tmp_path):
    from openurine_lib import inference

    images = np.random.default_rng(0).integers(0, 255, (3, 96, 96, 3), np.uint8)
    with tiny.killed_after(1, inference, "predict_image"):
        predict(list(images[:2]), weights, tmp_path)
    assert (tmp_path / "boxes.csv.partial").exists()
    with pytest.raises(BadFolder, match="field1.png is not of these fields"):
        predict(list(images[1:]), weights, tmp_path)
    found = predict(list(images[:2]), weights, tmp_path).boxes
    pd.testing.assert_frame_equal(found, predict(list(images[:2]), weights).boxes)


@pytest.mark.parametrize(
    "option",
    [
        {"conf": 7},
        {"conf": -0.1},
        {"slice_px": -3},
        {"um_per_px": 0.0},
        {"room": -0.1},
        {"room": 2},
    ],
)
def test_a_number_out_of_range_is_named(option):
    (name,) = option
    with pytest.raises(BadOption, match=f"^{name} {option[name]}: ") as error:
        predict(["gone.png"], "none.pt", **option)
    assert error.value.parameter == name
