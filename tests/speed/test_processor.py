"""What makes a processor fast changes no box."""

import learned
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from sahi.models.ultralytics import UltralyticsDetectionModel
from sahi.predict import get_sliced_prediction
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from openurine_lib.evaluation.metrics import matches
from openurine_lib.inference import predict_image, read_rgb
from openurine_lib.speed import processor
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.weights import read_weights

SLICE = 64


@pytest.fixture(scope="module", params=["single", "multi"])
def trained(request, tmp_path_factory):
    """A tiny detector that finds something, and a field that it did not see."""
    weights = learned.weights(request.param, tmp_path_factory.mktemp("tiny"), tmp_path_factory)
    images, _ = tiny.frames(tmp_path_factory.mktemp("new"), 1, 128, seed=9)
    return weights, read_rgb(images.path[0])


def test_exact_prediction_is_stock_sahis(trained):
    """Float32 gives the very boxes of stock sahi on a stock ultralytics model."""
    weights, image = trained
    content = read_weights(weights)
    if content["meta"]["heads"] != "single":
        pytest.skip("stock ultralytics has no six-head model to compare with")
    stock = DetectionModel("yolo12n.yaml", nc=len(content["meta"]["classes"]), verbose=False)
    stock.load_state_dict(content["state_dict"])
    stock.names = dict(enumerate(content["meta"]["classes"]))
    wrapper = YOLO("yolo12n.yaml")
    wrapper.model = stock.eval()
    sahi = UltralyticsDetectionModel(
        model=wrapper, confidence_threshold=0.001, device="cpu", image_size=96,
        category_mapping={str(k): v for k, v in stock.names.items()},
    )  # fmt: skip
    result = get_sliced_prediction(
        image, sahi, SLICE, SLICE, 0.25, 0.25, perform_standard_pred=False, postprocess_type="NMS",
        postprocess_match_metric="IOU", postprocess_class_agnostic=False, verbose=0,
    )  # fmt: skip
    theirs = sorted(
        (*p.bbox.to_xyxy(), p.score.value, p.category.id) for p in result.object_prediction_list
    )
    ours = predict_image(engine.detector(weights, 0.001, "cpu", 96, exact=True), image, SLICE)
    ours = sorted(zip(ours.x1, ours.y1, ours.x2, ours.y2, ours.conf, ours.cls, strict=True))
    assert len(theirs) > 5 and np.allclose(ours, theirs, atol=1e-4)


@pytest.mark.skipif(
    not processor.cpu_bf16(),
    reason="this processor has no units for bfloat16, so nothing is approximated",
)
@pytest.mark.parametrize("slice_px", [None, SLICE])
def test_fast_prediction_finds_the_same(trained, slice_px):
    """In bfloat16 every box of some confidence is found again, to a pixel and some hundredths."""
    weights, image = trained
    exact, fast = (
        predict_image(engine.detector(weights, 0.001, "cpu", 96, exact=e), image, slice_px).assign(
            image="a"
        )
        for e in (True, False)
    )
    sure = exact[exact.conf > 0.1].reset_index(drop=True)
    assert len(sure) and not exact.equals(fast)  # the fast one did run in another precision
    found = matches(sure, fast.sort_values("conf", ascending=False, ignore_index=True))
    assert found[:, 0].sum() == len(sure)
    for box in sure.itertuples():
        same = fast[fast.cls == box.cls]
        apart = np.abs(same[["x1", "y1", "x2", "y2"]] - [box.x1, box.y1, box.x2, box.y2]).max(
            axis=1
        )
        assert apart.min() < 2 and abs(same.conf[apart.idxmin()] - box.conf) < 0.05


def test_cores_are_those_asked_for_or_all(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OPENURINE_THREADS", "1")
        processor.use_cores()
        assert torch.get_num_threads() == 1
        monkeypatch.delenv("OPENURINE_THREADS")
        monkeypatch.setattr(processor.os, "cpu_count", lambda: 2)
        processor.use_cores()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_bfloat16_can_be_switched_off(monkeypatch):
    monkeypatch.setattr(processor, "_bf16_units", lambda: True)
    assert processor.cpu_bf16()
    monkeypatch.setenv("OPENURINE_BF16", "0")
    assert not processor.cpu_bf16()


def test_without_bf16_units_everything_stays_float32(trained, monkeypatch):
    weights, image = trained
    monkeypatch.setattr(processor, "_bf16_units", lambda: False)
    fast, exact = (
        predict_image(engine.detector(weights, 0.001, "cpu", 96, exact=e), image, None)
        for e in (False, True)
    )
    pd.testing.assert_frame_equal(
        fast, exact, atol=1e-4
    )  # pixels: a convolution and its activation in one pass round once


def test_numbers_too_small_for_their_format_count_as_zero_in_a_training():
    torch.set_flush_denormal(False)  # an earlier test may have trained in this process
    tiny_number = torch.tensor([1e-39])
    assert float(tiny_number * 1) > 0
    try:
        processor.ready_for("cuda")
        assert float(tiny_number * 1) > 0
        processor.ready_for("cpu")
        assert float(tiny_number * 1) == 0
    finally:
        torch.set_flush_denormal(False)
