"""The libreyolo engine: attention, varifocal loss and teacher are where they should be.

It learns, resumes, and refuses what does not fit.
"""

import math

import numpy as np
import pytest
import tiny
import torch
from ultralytics.nn.modules.block import C3TR
from ultralytics.nn.modules.conv import CBAM

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.experiments.methods import methods, profile
from openurine_lib.inference import predict_fields, predict_image
from openurine_lib.training import weights as weights_files
from openurine_lib.training.engines import libreyolo as engine
from openurine_lib.training.weights import WeightsError, check_taxonomy, read_weights

SMALL = ("yusnet-n", "yolov7-cbam-n", "kd-yolox-vit-n")
QUIET = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "fliplr": 0.0}
TARGET = {"boxes": torch.tensor([[10.0, 10, 40, 40]]), "labels": torch.tensor([2])}
EMPTY = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


def network(arch, imgsz=64, **more):
    torch.manual_seed(0)
    return engine.Network(arch, 3, imgsz, **more)


@pytest.mark.parametrize("arch", SMALL)
def test_losses_are_numbers_also_without_a_particle(arch):
    model = network(arch).train()
    for targets in ([TARGET, EMPTY], [EMPTY, EMPTY]):
        losses = model([torch.rand(3, 64, 64), torch.rand(3, 48, 64)], targets)
        assert {"iou", "obj", "cls"} <= set(losses) and all(
            torch.isfinite(loss) for loss in losses.values()
        )
    sum(losses.values()).backward()


def test_attention_and_transformer_are_in_their_places():
    yusnet = network("yusnet-n").net.backbone.backbone.attention
    assert list(yusnet) == ["dark3", "dark4", "dark5"] and all(
        isinstance(m, CBAM) for m in yusnet.values()
    )
    v7 = network("yolov7-cbam-n").net
    stages = [
        m[0].out_channels
        for m in v7.layers
        if isinstance(m, torch.nn.Sequential) and isinstance(m[1], CBAM)
    ]
    assert stages == [64, 128, 256, 256], "a quarter of YOLOv7's 256, 512, 1024, 1024"
    assert isinstance(network("kd-yolox-vit-n").net.backbone.backbone.dark5[-1], C3TR)


def test_varifocal_loss_by_hand():
    logits, target = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.6], [0.0]])
    positive = 0.6 * -(0.6 * math.log(0.5) + 0.4 * math.log(0.5))
    p = 1 / (1 + math.exp(-2))
    negative = 0.75 * p**2 * -math.log(1 - p)
    assert math.isclose(
        float(engine.Varifocal()(logits, target)), positive + negative, rel_tol=1e-5
    )
    assert isinstance(network("yusnet-n").net.head.bcewithlog_loss, engine.Varifocal)


def test_a_student_learns_from_its_teacher_and_does_not_carry_it():
    teacher = network("yolox-vit-t").eval()
    alone, student = (
        network("kd-yolox-vit-n").train(),
        network("kd-yolox-vit-n", teacher=teacher).train(),
    )
    assert student.state_dict().keys() == alone.state_dict().keys()
    images, targets = [torch.rand(3, 64, 64)] * 2, [TARGET] * 2
    hard, both = alone(images, targets), student(images, targets)
    assert all(torch.isclose(both[name], hard[name]) for name in hard)
    assert set(both) - set(hard) == {"soft_iou", "soft_obj", "soft_cls"}
    sum(both.values()).backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_the_distance_from_a_teacher_by_hand():
    """One cell and one level, two classes: box, object, classes."""
    student = torch.tensor([[[1.0, 0, 0, 0, 0, 0, 0]]])
    teacher = torch.tensor([[[3.0, 0, 0, 0, 2, math.log(3), 0]]])
    found = engine._distance([student], [teacher])
    assert math.isclose(found["soft_iou"], 0.5 * 5 * (3 - 1) ** 2 / 4)
    assert math.isclose(found["soft_obj"], 0.5 * math.log(2), rel_tol=1e-6)  # at 1/2, whatever p is
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert math.isclose(found["soft_cls"], 0.5 * divergence / 2, rel_tol=1e-5)
    same = engine._distance([teacher], [teacher])
    assert same["soft_iou"] == 0 and abs(float(same["soft_cls"])) < 1e-7


def test_boxes_come_back_in_the_images_own_pixels(tmp_path, monkeypatch):
    """The network sees one box, from 32 to 64 of its 96 pixels, and again with less confidence."""
    found = torch.tensor(
        [[[48.0, 48, 32, 32, 0.1, 0.9, 0], [49, 48, 32, 32, 0, 0.8, 0], [5, 5, 40, 8, 0.4, 0, 0.3]]]
    )
    monkeypatch.setattr(engine.Network, "_decoded", lambda self, x: found.expand(len(x), -1, -1))
    weights = engine.fit(tiny.job(tmp_path, "single", "yusnet-n", epochs=1, n=4))
    detector = engine.detector(weights, 0.35, "cpu", 96)
    image = np.zeros((96, 192, 3), np.uint8)
    whole = predict_image(detector, image, None)  # half the size: the box is 64 to 128
    assert whole.cls.tolist() == [1, 0], "one box within a class, and one class a box"
    np.testing.assert_allclose(
        whole.iloc[0, 2:].astype(float), [64, 64, 128, 96], atol=0.1
    )  # ends with the image
    np.testing.assert_allclose(whole.iloc[1, 2:].astype(float), [0, 2, 50, 18], atol=0.1)
    sliced = predict_image(detector, image, 96, 0.0)
    ones = sliced[sliced.cls == 1].sort_values("x1")[["x1", "y1", "x2", "y2"]].to_numpy(float)
    np.testing.assert_allclose(ones, [[32, 32, 64, 64], [128, 32, 160, 64]], atol=0.1)


@pytest.mark.parametrize("arch", ["yolov7-cbam-n", "kd-yolox-vit-n"])
def test_resumed_training_ends_with_the_same_weights(tmp_path, monkeypatch, arch):
    whole, broken = (
        tiny.job(tmp_path / name, "single", arch, epochs=2, n=4) for name in ("whole", "broken")
    )
    expected = read_weights(engine.fit(whole))["state_dict"]
    save = weights_files.save

    def killed(content, path):
        save(content, path)
        if len(content.get("rows", ())) == 1 and path.parent == broken.dir:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(weights_files, "save", killed)
        engine.fit(broken)
    if arch in engine.TEACHER:
        taught = (broken.dir / "teacher" / "weights.pt").stat().st_mtime_ns
    resumed = read_weights(engine.fit(broken))["state_dict"]
    assert all(torch.equal(v, resumed[k]) for k, v in expected.items())
    assert (whole.dir / "log.csv").read_bytes() == (broken.dir / "log.csv").read_bytes()
    if arch in engine.TEACHER:
        assert (broken.dir / "teacher" / "weights.pt").stat().st_mtime_ns == taught, (
            "the teacher was trained again"
        )


def test_what_does_not_fit_is_refused(tmp_path):
    weights = engine.fit(tiny.job(tmp_path, "single", "yusnet-n", epochs=1, n=4))
    meta = torch.load(weights, weights_only=True)["meta"]
    with pytest.raises(WeightsError, match="train on this data set first"):
        check_taxonomy(meta, Taxonomy("other", ("ring",), {"Cells": (0,)}, {}, {}), weights)
    torch.save(
        {"state_dict": {}, "meta": meta | {"engine": "torchvision"}}, tmp_path / "foreign.pt"
    )
    with pytest.raises(WeightsError, match="belongs to the torchvision engine"):
        engine.detector(tmp_path / "foreign.pt", 0.1, "cpu", 96)
    with pytest.raises(ValueError, match="no libreyolo detector 'yolov6'"):
        network("yolov6")


def test_the_configuration_names_what_there_is():
    rows = [m for m in methods().values() if m.engine == "libreyolo"]
    assert {profile(p).arch(m) for m in rows for p in ("smoke", "paper")} <= set(
        engine.ARCHITECTURES
    )


@pytest.mark.thorough
@pytest.mark.parametrize("arch", SMALL)
def test_overfits_a_few_fields(tmp_path, arch):
    job = tiny.job(tmp_path, "single", arch, epochs=60, **QUIET)
    weights = engine.fit(job)
    predictions = predict_fields(
        engine.detector(weights, 0.001, "cpu", 96), job.images, None, 0.0, tmp_path / "p.csv"
    )
    assert summary(evaluate(job.boxes, predictions, 3, list(job.images.image)))["map50"] > 0.5
