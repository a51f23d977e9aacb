"""The ensemble engine: it fuses boxes as it should, and trains each member once.

Its weights stand alone: they do not need the files of the members.
"""

import shutil

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import MAX_DETECTIONS, predict_fields, predict_image
from openurine_lib.training.engines import composed, libreyolo, ultralytics
from openurine_lib.training.engines import ensemble as engine
from openurine_lib.training.engines.composed import BoxDetector
from openurine_lib.training.weights import WeightsError

SMALLEST = "yolov5n_yusnet-n"  # yolov9t and a taught YOLOX take several times as long
NAMES = {"0": "disc", "1": "square", "2": "bar"}


class Fixed(BoxDetector):
    """Always the same boxes."""

    def boxes(self, image):
        return tuple(np.array(values, float) for values in self.answer)


def adapter(cls, **more):
    return cls(
        model=torch.nn.Identity(),
        confidence_threshold=0.01,
        device="cpu",
        category_mapping=NAMES,
        **more,
    )


def fixed(*answer):
    made = adapter(Fixed)
    made.answer = answer
    return made


def test_boxes_are_fused_by_their_scores():
    one = fixed([[10, 10, 30, 30]], [0.8], [1])
    two = fixed([[14, 10, 34, 30], [60, 60, 90, 80]], [0.4, 0.6], [1, 2])
    fused = adapter(engine.Fused)
    fused.members = [one, two]
    found = predict_image(fused, np.zeros((100, 200, 3), np.uint8), None)
    expected = [[1, 0.6, 10 + 4 / 3, 10, 30 + 4 / 3, 30], [2, 0.3, 60, 60, 90, 80]]
    np.testing.assert_allclose(found.to_numpy(float), expected, atol=0.01)


def test_a_suppression_prefers_the_first_member_and_moves_no_box():
    one = fixed([[10, 10, 30, 30]], [0.5], [1])
    two = fixed([[14, 10, 34, 30], [60, 60, 90, 80], [0, 0, 9, 9]], [0.9, 0.6, 0.05], [1, 2, 2])
    fused = adapter(engine.Fused)
    fused.members, fused.fusion = [one, two], "nms"
    found = predict_image(fused, np.zeros((100, 200, 3), np.uint8), None)
    expected = [[1, 0.7 * 0.5, 10, 10, 30, 30], [2, 0.3 * 0.6, 60, 60, 90, 80]]
    np.testing.assert_allclose(found.to_numpy(float), expected, atol=0.01)


def test_a_fusion_that_there_is_not_is_refused_before_any_training(tmp_path):
    job = tiny.job(tmp_path, "single", SMALLEST, epochs=1, n=4, fusion="mean")
    with pytest.raises(ValueError, match="no fusion 'mean'; there are wbf, nms"):
        engine.fit(job)


def test_no_more_boxes_than_of_any_engine():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 900, (MAX_DETECTIONS, 2))
    many = [
        fixed(np.hstack((c, c + 5)), rng.uniform(0.1, 1, len(c)), np.zeros(len(c)))
        for c in (corners, corners + 50)
    ]
    fused = adapter(engine.Fused)
    fused.members = many
    found = predict_image(fused, np.zeros((1000, 1000, 3), np.uint8), None)
    assert len(found) == MAX_DETECTIONS and found.conf.min() > 0.05
    fused.members = [fixed(np.zeros((0, 4)), [], [])] * 2
    assert predict_image(fused, np.zeros((50, 50, 3), np.uint8), None).empty


def test_the_name_tells_the_members():
    assert engine.members("yolov9e-pgi_kd-yolox-vit-s") == {
        "yolov9e-pgi": "ultralytics",
        "kd-yolox-vit-s": "libreyolo",
    }
    for wrong in ("yolov9e", "yolov9e_yolov9e"):
        with pytest.raises(ValueError, match="names no ensemble"):
            engine.members(wrong)


def test_members_are_trained_once_and_the_weights_stand_alone(tmp_path, monkeypatch):
    job = tiny.job(tmp_path, "single", SMALLEST, epochs=1, n=4)
    trained, fits = [], {m: m.fit for m in (ultralytics, libreyolo)}
    for module, fit in fits.items():
        monkeypatch.setattr(
            module, "fit", lambda job, fit=fit: trained.append(job.arch) or fit(job)
        )
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(libreyolo, "fit", lambda job: (_ for _ in ()).throw(KeyboardInterrupt))
        engine.fit(job)
    assert trained == ["yolov5n"] and not (job.dir / "weights.pt").exists()
    weights = engine.fit(job)
    assert trained == ["yolov5n", "yusnet-n"], "a finished member was trained again"
    other = composed.train_part(
        tiny.job(tmp_path, "single", "", epochs=2, n=4), "yusnet-n", "libreyolo", "yusnet-n"
    )
    assert (
        trained[-1] == "yusnet-n"
        and len(trained) == 3
        and len(pd.read_csv(other.parent / "log.csv")) == 2
    )
    log = pd.read_csv(job.dir / "log.csv")
    assert list(log) == ["epoch", "loss", "yolov5n/loss", "yusnet-n/loss"]
    assert np.allclose(log.loss, log["yolov5n/loss"] + log["yusnet-n/loss"])

    image = np.random.default_rng(0).integers(0, 255, (192, 192, 3), dtype=np.uint8)
    detector = engine.detector(weights, 1e-6, "cpu", 96)
    whole, sliced = predict_image(detector, image, None), predict_image(detector, image, 96)
    assert len(whole) and len(sliced) and whole.x2.max() > 96, "boxes stay in the network's pixels"
    moved = shutil.copy(weights, tmp_path / "alone.pt")
    shutil.rmtree(job.dir)
    assert predict_image(engine.detector(moved, 1e-6, "cpu", 96), image, None).equals(whole)
    with pytest.raises(WeightsError, match="belongs to the ensemble engine"):
        ultralytics.load_model(moved)
    content = torch.load(moved, weights_only=True)
    assert (
        content["meta"]["classes"] == ["disc", "square", "bar"]
        and content["meta"]["arch"] == job.arch
    )
    torch.save(content | {"meta": content["meta"] | {"engine": "libreyolo"}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="belongs to the libreyolo engine"):
        engine.detector(tmp_path / "other.pt", 0.1, "cpu", 96)


@pytest.mark.thorough
def test_overfits_a_few_fields(tmp_path):
    quiet = {
        "hsv_h": 0.0,
        "hsv_s": 0.0,
        "hsv_v": 0.0,
        "fliplr": 0.0,
        "scale": 0.1,
        "mosaic": 0.0,
        "translate": 0.0,
    }
    job = tiny.job(tmp_path, "single", SMALLEST, epochs=60, nbs=4, **quiet)
    weights = engine.fit(job)
    predictions = predict_fields(
        engine.detector(weights, 0.001, "cpu", 96), job.images, None, 0.0, tmp_path / "p.csv"
    )
    assert summary(evaluate(job.boxes, predictions, 3, list(job.images.image)))["map50"] > 0.5
