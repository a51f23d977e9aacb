"""The effdet engine: builds, learns by heart, predicts in original pixels, resumes."""

import dataclasses

import by_heart
import pytest
import torch

from openurine_lib.experiments.methods import methods, profile
from openurine_lib.training.engines import effdet as engine

SMALL = "efficientdet_lite0"


def test_the_configurations_networks_are_known():
    used = {m.arch for m in methods().values() if m.engine == "effdet"}
    small = {profile("smoke").smaller[arch] for arch in used}
    assert used | small == set(engine.ARCHITECTURES)
    with pytest.raises(ValueError, match="no effdet detector 'yolo'"):
        engine.build("yolo", 2, 96)


def test_losses_with_and_without_boxes_and_detections_in_the_images_pixels():
    model = engine.build(SMALL, 1, 96, conf=0.0).train()
    assert model.side == 128  # the next multiple of the coarsest stride
    some = {"boxes": torch.tensor([[10.0, 10, 40, 40]]), "labels": torch.tensor([0])}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = model([torch.rand(3, 96, 96), torch.rand(3, 64, 96)], [some, none])
    assert (
        set(losses) == {"class", "box"}
        and all(torch.isfinite(v) for v in losses.values())
        and losses["box"] > 0
    )
    assert model([torch.rand(3, 96, 96)] * 2, [none] * 2)["box"] == 0
    with torch.inference_mode():
        (found,) = model.eval()([torch.rand(3, 100, 300)])
    assert 0 < len(found["boxes"]) <= 300 and found["labels"].unique().tolist() == [0]
    assert (found["boxes"].min(0).values >= 0).all()
    assert (found["boxes"].max(0).values <= torch.tensor([300.0, 100, 300, 100]) + 1e-3).all()


def test_the_weights_do_not_depend_on_the_size():
    at_96, at_256 = (set(engine.build(SMALL, 3, side).state_dict()) for side in (96, 256))
    assert at_96 == at_256 and not any("anchors" in name for name in at_96)


@pytest.mark.thorough
def test_learns_eight_fields_by_heart(tmp_path):
    job = by_heart.job(tmp_path, SMALL, epochs=60)
    detector = engine.detector(engine.fit(job), 0.001, "cpu", 96)
    assert by_heart.map50(detector, job) > 0.5
    assert by_heart.map50_side_by_side(detector, job) > 0.5
    assert by_heart.map50_enlarged(detector, job) > 0.5


def test_resumes_to_the_same_weights(tmp_path, monkeypatch):
    job = by_heart.job(tmp_path, SMALL, epochs=2, n=2, batch=2)
    by_heart.assert_resumes(
        engine, job, dataclasses.replace(job, dir=tmp_path / "again"), monkeypatch
    )
