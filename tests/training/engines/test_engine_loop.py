"""The shared training loop, on a network of two parameters; and what every engine refuses."""

import dataclasses
import sys

import by_heart
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image
from torch import nn

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.inference import predict_image
from openurine_lib.training import weights as weights_files
from openurine_lib.training.engines import MissingPackage, engine, loop
from openurine_lib.training.weights import WeightsError, check_taxonomy, read_weights


class Counter(nn.Module):
    """Learns how many boxes a field has, from its mean brightness.

    It finds one box, the left half of the image.
    """

    def __init__(self, loss_scale: float = 1.0):
        super().__init__()
        self.line, self.loss_scale = nn.Linear(1, 1), loss_scale

    def forward(self, images, targets=None):
        seen = torch.stack([image.mean()[None] for image in images])
        if self.training:
            n = torch.tensor([[float(len(t["labels"]))] for t in targets])
            return {"count": (self.line(seen) - n).square().mean() * self.loss_scale}
        boxes = [torch.tensor([[0.0, 0.0, image.shape[2] / 2, image.shape[1]]]) for image in images]
        return [
            {"boxes": b, "scores": torch.tensor([0.9]), "labels": torch.tensor([2])} for b in boxes
        ]


@pytest.fixture
def job(tmp_path):
    return tiny.job(tmp_path, "single", "counter", epochs=40, batch=4)


def counter(loss_scale=1.0, **more):
    return loop.Engine(
        "counter", lambda *_: Counter(loss_scale), lambda *_: loop.Recipe(0.1, **more)
    )


def fit(job, **more):
    return counter(**more).fit(job)


def test_the_loss_falls_and_the_log_says_so(job):
    content = read_weights(fit(job), "counter")
    log = pd.read_csv(job.dir / "log.csv")
    assert list(log.columns) == ["epoch", "loss", "count", "lr"] and len(log) == 40
    assert log.loss.iloc[-1] < 0.05 * log.loss.iloc[0] and (log.loss == log["count"]).all()
    assert log.lr.iloc[-1] == pytest.approx(0.1 * job.settings["lrf"])  # a linear decay to it
    assert (
        content["meta"]["classes"] == list(tiny.TAXONOMY.classes) and content["meta"]["imgsz"] == 96
    )


def test_a_killed_training_resumes_to_the_same_weights(job, monkeypatch):
    module = type("Engine", (), {"fit": staticmethod(fit)})
    short = dataclasses.replace(job, epochs=3)
    by_heart.assert_resumes(
        module, short, dataclasses.replace(short, dir=job.dir.with_name("again")), monkeypatch
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 1}, "other seed"), ({"settings": {"fliplr": 0.9}}, "other fields or settings")],
)
def test_a_checkpoint_of_another_training_is_refused(job, monkeypatch, change, named):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "write_log", lambda *_: None)
    save = weights_files.save
    monkeypatch.setattr(weights_files, "save", lambda *a: (save(*a), killed()))
    with pytest.raises(KeyboardInterrupt):
        fit(job)
    if "settings" in change:
        change = {"settings": job.settings | change["settings"]}
    with pytest.raises(WeightsError, match=f"another training .{named}.*remove it to start anew"):
        fit(dataclasses.replace(job, **change))


def test_a_loss_that_is_no_number_stops_the_training(job):
    with pytest.raises(
        FloatingPointError, match="counter: loss nan in epoch 1; lower its learning rate"
    ):
        fit(job, loss_scale=float("nan"))
    assert not (job.dir / "weights.pt").exists()


def test_fields_reach_the_network_at_its_size_with_their_boxes(job):
    plain = dataclasses.replace(job, imgsz=48, settings=job.settings | by_heart.PLAIN)
    image, target = loop.Fields(plain, first_label=1)[0]
    assert image.shape == (3, 48, 48) and image.min() >= 0 and image.max() <= 1
    own = job.boxes[job.boxes.image == "field0"]
    np.testing.assert_allclose(
        target["boxes"].numpy(), own[["x1", "y1", "x2", "y2"]].to_numpy() / 2, atol=0.01
    )
    assert target["labels"].tolist() == (own.cls + 1).tolist()
    empty = loop.Fields(dataclasses.replace(plain, boxes=job.boxes[job.boxes.image != "field0"]))[
        0
    ][1]
    assert empty["boxes"].shape == (0, 4) and empty["labels"].shape == (0,)


def test_what_prepares_a_field_does_so_in_training_and_in_prediction_and_boxes_follow(job):
    calls = []

    def enlarged(rgb):
        calls.append(rgb.shape)
        return rgb.repeat(3, 0).repeat(3, 1)

    plain = dataclasses.replace(job, epochs=2, settings=job.settings | by_heart.PLAIN)
    fields = loop.Fields(plain, prepare=enlarged)
    image, target = fields[0]
    own = job.boxes[job.boxes.image == "field0"]
    assert image.shape == (3, 288, 288)
    np.testing.assert_allclose(
        target["boxes"].numpy(), own[["x1", "y1", "x2", "y2"]].to_numpy() * 3, atol=0.01
    )
    assert torch.equal(fields[0][0], image) and len(calls) == 1  # once a field
    weights = fit(plain, prepare=enlarged)
    assert len(calls) == len(job.images) and not (job.dir / "prepared").exists()
    found = counter(first_label=1, prepare=enlarged).detector(weights, 0.1, "cpu", 96)
    (box,) = predict_image(found, np.zeros((60, 80, 3), np.uint8), None).itertuples()
    assert calls[-1] == (60, 80, 3)
    assert (
        (box.x1, box.y1, box.x2, box.y2) == (0, 0, 40, 60)
        and box.cls == 1
        and box.conf == pytest.approx(0.9)
    )


def test_turned_photographs_keep_their_boxes(job, tmp_path):
    """A field stored on its side (EXIF) is trained on upright, as it is listed and predicted."""
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(path, exif=exif)
    images = pd.DataFrame(
        [("turned", str(path), "p", 40, 80)], columns=["image", "path", "group", "width", "height"]
    )
    boxes = pd.DataFrame(
        [("turned", 0, 10.0, 20.0, 30.0, 70.0)], columns=["image", "cls", "x1", "y1", "x2", "y2"]
    )
    plain = dataclasses.replace(
        job, images=images, boxes=boxes, imgsz=80, settings=job.settings | by_heart.PLAIN
    )
    image, target = loop.Fields(plain)[0]
    assert image.shape == (3, 80, 40) and target["boxes"].tolist() == [[10, 20, 30, 70]]


@pytest.mark.parametrize("name", ["torchvision", "transformers", "effdet"])
def test_every_engine_refuses_weights_that_are_not_its_own(name, tmp_path):
    weights = tmp_path / "weights.pt"
    with pytest.raises(WeightsError, match="does not exist"):
        engine(name).detector(weights, 0.1, "cpu", 96)
    weights.write_text("nothing")
    with pytest.raises(WeightsError, match="not a weights file of this project"):
        engine(name).detector(weights, 0.1, "cpu", 96)
    torch.save(
        {"state_dict": {}, "meta": {"engine": "ultralytics", "classes": ["a", "b"]}}, weights
    )
    with pytest.raises(WeightsError, match=f"belongs to the ultralytics engine, not to {name}"):
        engine(name).detector(weights, 0.1, "cpu", 96)
    other = Taxonomy("other", ("a", "c"), {"Cells": (0, 1)}, {}, {})
    with pytest.raises(WeightsError, match="train on this data set first"):
        check_taxonomy(read_weights(weights)["meta"], other, weights)


@pytest.mark.parametrize(
    ("name", "package"), [("effdet", "effdet"), ("transformers", "transformers")]
)
def test_a_missing_package_names_the_extra(name, package, monkeypatch):
    for loaded in [m for m in sys.modules if m == f"openurine_lib.training.engines.{name}"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingPackage,
        match=rf"the {name} engine needs the package .{package}.*"
        r"pip install 'openurine_lib\[compared",
    ):
        engine(name)


def test_a_missing_package_of_one_row_names_row_and_extra(monkeypatch):
    torchvision = engine("torchvision")
    monkeypatch.delitem(sys.modules, "openurine_lib.training.engines.restoration", raising=False)
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(
        MissingPackage, match=r"fasterrcnn_vgg16_restored needs .*openurine_lib\[compared\]"
    ):
        torchvision.recipe("fasterrcnn_vgg16_restored", 96)
    assert torchvision.recipe("ssd300_vgg16", 96).prepare is None


def test_an_engine_that_does_not_exist_is_no_missing_package():
    with pytest.raises(WeightsError, match="no engine 'keras'"):
        engine("keras")
