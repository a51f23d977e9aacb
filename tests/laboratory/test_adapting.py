"""A laboratory's fields without a box: cameras learned, fields drawn, the detector trained on."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import tiny

from openurine_lib import cli
from openurine_lib.clinical import validation
from openurine_lib.laboratory import adapting, finds, finetuning
from openurine_lib.laboratory.adapting import adapt
from openurine_lib.laboratory.predicting import BadOption
from openurine_lib.training import weights
from openurine_lib.training.weights import read_weights
from synthurine import likeness
from synthurine.fields import lay
from synthurine.laboratories import LABORATORIES


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.untrained(tmp_path_factory.mktemp("base"))


@pytest.fixture
def fields(tmp_path):
    folder = tmp_path / "fields"
    folder.mkdir()
    for i in range(2):
        image, _ = lay(["RBC"] * 12, 300, 0.27, LABORATORIES[0], np.random.default_rng(i))
        cv2.imwrite(str(folder / f"field{i}.jpg"), image[..., ::-1])
    return folder


def test_impossible_requests_are_refused_before_any_work(base, fields, tmp_path):
    wrong = {"drawn": 5, "epochs": 1, "um_per_px": -1.0, "out": fields / "adapted"}
    for name, value in wrong.items():
        with pytest.raises(BadOption, match=name):
            adapt([fields], **{"out": tmp_path / "out", "weights": base, name: value})
    content = read_weights(base)
    few = content["meta"] | {"classes": content["meta"]["classes"][:3]}
    weights.save({"state_dict": content["state_dict"], "meta": few}, tmp_path / "few.pt")
    with pytest.raises(weights.WeightsError, match="3 classes"):
        adapt([fields], tmp_path / "out", tmp_path / "few.pt")
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        adapt([tmp_path / "nowhere.jpg"], tmp_path / "out", base)


def test_what_is_too_small_to_see_is_not_to_be_found():
    boxes = pd.DataFrame({"x1": 0.0, "y1": 0.0, "x2": [4.9, 3.0, 4.0], "y2": [1.0, 5.0, 40.0]})
    assert adapting.visible(boxes).index.tolist() == [0, 1]
    assert adapting.visible(boxes)["y2"].tolist() == [5.0, 40.0]


def test_uncertain_finds_are_painted_out_and_sure_ones_are_left():
    pixels = np.full((200, 200, 3), 180, np.uint8)
    pixels[40:60, 40:60] = 60
    pixels[100:120, 100:120] = 60
    box = pd.DataFrame({"x1": [40], "y1": [40], "x2": [60], "y2": [60]})
    out = finds.painted(pixels, box, box + 60)
    assert abs(out[50, 50].astype(int) - 180).max() < 40 and (out[110, 110] == 60).all()
    assert (finds.painted(pixels, box, box)[50, 50] == 60).all()


@pytest.mark.more
def test_an_adaptation_is_resumed_and_reported(base, fields, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(likeness, "GUESSES", (2, 2))
    # a field is one slice; the tiny network's own slices would be 144 of it
    monkeypatch.setattr(adapting.validation, "usual_slice_px", lambda *known: 620)
    for module in (adapting, finetuning):
        monkeypatch.setattr(module, "CHECKS", 2)
    out = tmp_path / "out"
    options = {"out": out, "weights": base, "drawn": 30, "epochs": 2}
    with tiny.killed_after(1, finetuning, "held_out_scores"):
        adapt([fields], **options)
    (cameras,) = out.glob("laboratories-*.yaml")
    times = {path: path.stat().st_mtime_ns for path in [cameras, *out.glob("drawn-*/images/*")]}
    assert len(times) == 31
    command = ["adapt", str(fields), "--out", str(out), "--weights", str(base)]
    assert cli.main([*command, "--drawn", "30", "--epochs", "2"]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items()), "drawn twice"
    told = capsys.readouterr().out
    assert "camera 1" in told and str(cameras) in told and "not measured" in told
    adapted = out / "weights.pt"
    assert not list(out.rglob("*.bmp")), "slices that nobody needs any more"
    assert f"openurine predict FIELD... --weights {adapted}" in told
    # measured on drawn fields, and the record says so
    record = validation.read(adapted)
    assert record["drawn"] is True and record["um_per_px"] == pytest.approx(0.27, rel=0.3)
    meta = read_weights(adapted)["meta"]
    assert meta["synthetic"] is True and meta["adapted_to"]["fields"] == 2
    # another camera, other fields: nothing of the old ones is taken
    shutil.rmtree(out / "dataset")
    text = cameras.read_text(encoding="utf-8")
    cameras.write_text(text.replace("jpeg: 95", "jpeg: 60"), encoding="utf-8")
    adapt([fields], **options)
    assert len(list(out.glob("drawn-*"))) == 2
