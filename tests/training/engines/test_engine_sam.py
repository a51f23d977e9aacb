"""The sam engine: a mask confirms a box or removes it, and moves none; the weights say by what."""

import numpy as np
import pytest
import tiny
import torch

from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import predict_fields, predict_image
from openurine_lib.training.engines import sam as engine
from openurine_lib.training.engines import ultralytics
from openurine_lib.training.weights import WeightsError


def field(side=160):
    """A red disc around (80, 60), radius 20, on a bright background with noise."""
    image = np.random.default_rng(0).normal(215, 3, (side, side, 3)).clip(0, 255).astype(np.uint8)
    yy, xx = np.mgrid[:side, :side]
    image[(xx - 80) ** 2 + (yy - 60) ** 2 <= 400] = (120, 40, 40)
    return image


def test_a_box_whose_mask_is_empty_or_lies_elsewhere_is_not_confirmed():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    seen = np.array([[1.0, 1, 9, 9], [0, 0, 3, 10], [np.nan] * 4])
    assert engine.confirmed(seen, boxes).tolist() == [True, False, False]


def test_masks_remove_boxes_and_move_none(monkeypatch):
    """A disc, two empty places and an unsure box: only a sure box in an empty place goes."""
    found, prompter = (
        engine.Segmented(
            model=torch.nn.Identity(),
            confidence_threshold=0.01,
            device="cpu",
            category_mapping={"0": "disc"},
        )
        for _ in range(2)
    )
    found.prompter = prompter
    given = (
        np.array([[54.0, 34, 106, 86], [110, 110, 150, 150], [10, 100, 50, 140]]),
        np.array([0.9, 0.8, 0.2]),
        np.array([0, 0, 0]),
    )
    monkeypatch.setattr(found.prompter, "boxes", lambda image: given)
    everything = predict_image(found, field(), None)
    assert len(everything) == 3, "without SAM all boxes stand"
    prompts = []

    def segment(image, boxes):
        prompts.append(boxes.tolist())
        return np.array([[60.0, 40, 101, 81], [np.nan] * 4])  # the disc, and nothing

    found.segment = segment
    boxes = predict_image(found, field(), None)
    assert prompts == [given[0][:2].tolist()], "only sure boxes are prompts"
    assert boxes[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == given[0][[0, 2]].tolist()
    assert boxes.conf.round(2).tolist() == [0.9, 0.2]


def test_weights_say_what_they_were_made_for(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENURINE_SAM", raising=False)
    job = tiny.job(tmp_path, "single", "yolov5n-sam", epochs=1, n=4)
    weights = engine.fit(job)
    content = torch.load(weights, weights_only=True)
    assert content["meta"]["segmenter"] == "none" and content["meta"]["arch"] == "yolov5n-sam"
    assert (job.dir / "log.csv").read_bytes() == (job.dir / "detector" / "log.csv").read_bytes()
    image = np.zeros((192, 192, 3), np.uint8)
    detector = engine.detector(weights, 1e-6, "cpu", 96)
    assert len(predict_image(detector, image, None)) and len(predict_image(detector, image, 96))
    with pytest.raises(WeightsError, match="belongs to the sam engine"):
        ultralytics.load_model(weights)
    with pytest.raises(WeightsError, match="belongs to the ultralytics engine"):
        engine.detector(job.dir / "detector" / "weights.pt", 0.1, "cpu", 96)
    real = content | {"meta": content["meta"] | {"segmenter": "sam_b.pt 0123456789ab"}}
    torch.save(real, tmp_path / "real.pt")
    with pytest.raises(
        WeightsError, match="made for SAM's sam_b.pt 0123456789ab; name that file in OPENURINE_SAM"
    ):
        engine.detector(tmp_path / "real.pt", 0.1, "cpu", 96)
    (tmp_path / "sam_b.pt").write_text("no weights")
    monkeypatch.setenv("OPENURINE_SAM", str(tmp_path / "sam_b.pt"))
    with pytest.raises(WeightsError, match="sam_b.pt is no weights file of tensors only"):
        engine.fit(job)


@pytest.mark.slow
def test_sam_itself_is_prompted_by_the_boxes(tmp_path, monkeypatch):
    """Every prompt gets an answer of the right form, or none.

    With random weights the masks themselves mean nothing.
    """
    from ultralytics.models.sam.build import build_mobile_sam

    file = tmp_path / "mobile_sam.pt"
    torch.save(build_mobile_sam().state_dict(), file)
    monkeypatch.setenv("OPENURINE_SAM", str(file))
    assert engine._segmenter_id().startswith("mobile_sam.pt ")
    boxes = np.array([[54.0, 34, 106, 86], [10, 10, 50, 50]])
    drawn = engine.sam(str(file), "cpu")(field(), boxes)
    assert drawn.shape == (2, 4) and (np.isnan(drawn) | ((drawn >= 0) & (drawn <= 160))).all()


@pytest.mark.thorough
def test_overfits_a_few_fields(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENURINE_SAM", raising=False)
    quiet = {
        "hsv_s": 0.0,
        "hsv_v": 0.0,
        "scale": 0.1,
        "fliplr": 0.0,
        "mosaic": 0.0,
        "nbs": 4,
        "warmup_epochs": 1.0,
    }
    job = tiny.job(tmp_path, "single", "yolo11n-sam", epochs=70, **quiet)
    detector = engine.detector(engine.fit(job), 0.001, "cpu", 96)
    predictions = predict_fields(detector, job.images, None, 0.0, tmp_path / "p.csv")
    assert summary(evaluate(job.boxes, predictions, 3, list(job.images.image)))["map50"] > 0.5
