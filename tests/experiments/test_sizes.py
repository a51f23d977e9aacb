"""Sizes of networks: counted alike for every engine, near what is published, stored."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from methods_page import of_untrained
from PIL import Image
from sahi.models.base import DetectionModel
from test_comparison import make_run

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.experiments import sizes, steps
from openurine_lib.experiments.methods import method, methods
from openurine_lib.experiments.sizes import counted, of_detector, paper_sizes
from openurine_lib.model.build import build_model
from openurine_lib.training.engines import ultralytics


class OneConvolution(DetectionModel):
    """8 filters of 3 x 3 on 3 channels, finds nothing."""

    def load_model(self):
        self.model = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)

    def perform_inference(self, image):
        self.model(torch.from_numpy(image).permute(2, 0, 1)[None].float())

    def _create_object_prediction_list_from_original_predictions(self, *_, **__):
        self._object_prediction_list_per_image = [[]]


def test_by_hand_through_sahis_door():
    size = of_detector(OneConvolution(device="cpu", image_size=32), 32)
    assert size["params_m"] == pytest.approx(8 * 3 * 9 / 1e6)
    assert size["gflops"] == pytest.approx(2 * 8 * 3 * 9 * 32 * 32 / 1e9)
    assert size["px"] == 32


def test_a_detector_made_fast_counts_as_the_stock_one(tmp_path):
    """Its convolutions are one call with their activations, and batch norm is folded into them."""
    weights = tiny.untrained(tmp_path)
    fast, stock = (
        of_detector(ultralytics.detector(weights, 0.25, "cpu", 96, exact), 96)["gflops"]
        for exact in (False, True)
    )
    assert fast == pytest.approx(stock, rel=0.01) and fast > 0.1


def test_it_is_kept_beside_the_predictions(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    run = make_run("demo")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    images = pd.DataFrame({"image": ["a"], "path": [str(tmp_path / "a.png")]})
    run.dataset.test_images = lambda fold, limit: images
    monkeypatch.setattr(steps, "ensure_weights", lambda *_: None)
    monkeypatch.setattr(steps.made_from, "check", lambda *_: None)
    monkeypatch.setattr(steps, "read_weights", lambda *_, **__: {"meta": {}})
    monkeypatch.setattr(steps, "check_taxonomy", lambda *_: None)
    adapter = OneConvolution(device="cpu", image_size=256, confidence_threshold=0.1)
    monkeypatch.setattr(steps, "engine", lambda name: SimpleNamespace(detector=lambda *_: adapter))
    steps.ensure_predictions(run, method("yolov8m"), 0)
    monkeypatch.setattr(sizes, "folds_of_today", lambda run, m: run.profile.folds)
    assert sizes.size_of_run(run, method("yolov8m"))["gflops"] == pytest.approx(
        2 * 8 * 3 * 9 * 256 * 256 / 1e9
    )
    assert sizes.size_of_run(run, method("yolov9m")) == {}


@pytest.mark.parametrize("name", ["yolo12n", "yolov8m"])
def test_near_the_published_size(name):
    m = method(name)
    size = of_untrained(m, m.published_size["imgsz"] // 2)
    assert size["params_m"] == pytest.approx(
        m.published_size["params_m"], rel=0.03
    )  # 39 classes, not 80
    # a quarter of the pixels; ultralytics' count of YOLO12 has less of its attention
    assert 4 * size["gflops"] == pytest.approx(m.published_size["gflops"], rel=0.15)


def test_yolo26_is_as_large_as_printed_without_the_branch_that_only_trains():
    m = method("yolo26m")
    classes = Taxonomy("", tuple(map(str, range(80))), {"": tuple(range(80))}, {}, {})
    network = build_model(m.arch, classes, m.heads).eval().fuse(verbose=False)
    image = torch.zeros(1, 3, 160, 160)
    size = counted(network, lambda: network(image), 160)
    assert size["params_m"] == pytest.approx(m.published_size["params_m"], rel=0.01)
    assert size["gflops"] * 4**2 == pytest.approx(m.published_size["gflops"], rel=0.03)


def test_the_file_is_up_to_date():
    """After adding a row: make docs."""
    kept = paper_sizes()
    assert {name: line["network"] for name, line in kept.items()} == {
        m.id: m.arch for m in methods().values()
    }
    m = method("yolo12n-40")
    assert of_untrained(m, 64) == pytest.approx(
        {k: kept[m.id][k] for k in ("params_m", "gflops", "px")}, rel=0.01
    )
    six, one = kept["ours-yolo12m"], kept["yolo12m"]
    assert six["params_m"] > one["params_m"] and six["gflops"] > 1.4 * one["gflops"]


def test_three_sizes_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    run = make_run("demo")
    here = run.predict_dir(method("yolov8m"), 0) / sizes.FILE
    here.parent.mkdir(parents=True)
    here.write_text(json.dumps({"params_m": 3.0, "gflops": 1.5, "px": 256}))
    monkeypatch.setattr(sizes, "folds_of_today", lambda run, m: run.profile.folds)
    table = sizes.table4_sizes(run).set_index("method")
    row = table.loc["yolov8m"]
    assert (row["network"], row["params_m"], row["gflops"], row["px"]) == ("yolov8n", 3.0, 1.5, 256)
    assert (row["paper_network"], row["paper_px"]) == ("yolov8m", 960)
    assert (row["published_params_m"], row["published_gflops"], row["published_px"]) == (
        25.9,
        78.9,
        640,
    )
    assert row["gflops_at_published_px"] < row["paper_gflops"]
    assert np.isnan(table.loc["yolov9m", "gflops"]) and table.loc["yolov9m", "paper_gflops"] > 0
    assert len(table) == len([m for m in methods().values() if 4 in m.answers])
