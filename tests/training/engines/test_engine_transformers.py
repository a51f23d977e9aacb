"""The transformers engine: it builds networks without a download, learns by heart and resumes.

Its boxes are in pixels of the original image.
"""

import dataclasses

import by_heart
import pytest
import torch

from openurine_lib.experiments.methods import methods, profile
from openurine_lib.training.engines import transformers as engine

SMALL = ("rtdetrv2_tiny", "vitdet_tiny")


def test_the_configurations_networks_are_known():
    used = {m.arch for m in methods().values() if m.engine == "transformers"}
    small = {profile("smoke").smaller[arch] for arch in used}
    assert small == set(SMALL) and used | small == set(engine.ARCHITECTURES)
    with pytest.raises(ValueError, match="no transformers detector 'yolo'"):
        engine.build("yolo", 2, 96)


@pytest.mark.parametrize("arch", SMALL)
def test_losses_with_and_without_boxes_and_detections_in_the_images_pixels(arch):
    first = engine.recipe(arch, 96).first_label
    model = engine.build(arch, 2, 96, conf=0.0).train()
    some = {
        "boxes": torch.tensor([[10.0, 10, 40, 40], [50, 50, 90, 60]]),
        "labels": torch.tensor([0, 1]) + first,
    }
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = model([torch.rand(3, 96, 96), torch.rand(3, 64, 96)], [some, none])
    assert all(torch.isfinite(v) and v > 0 for v in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())  # nothing is frozen or left out
    assert all(torch.isfinite(v) for v in model([torch.rand(3, 96, 96)] * 2, [none] * 2).values())
    with torch.inference_mode():
        (found,) = model.eval()([torch.rand(3, 100, 300)])
    assert 0 < len(found["boxes"]) <= 300 and set(found["labels"].tolist()) <= {first, first + 1}
    centres = (found["boxes"][:, :2] + found["boxes"][:, 2:]) / 2
    assert (
        (centres > 0).all()
        and (centres < torch.tensor([300.0, 100])).all()
        and centres[:, 0].max() > 100
    )


def test_the_large_rtdetr_is_the_published_size():
    with torch.device("meta"):  # shapes only
        model = engine.build("rtdetrv2_l", 80, 640)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(
        42, abs=2
    )  # of COCO's 80 classes
    assert model.net.config.num_queries == 300


def test_the_large_vitdet_drops_more_of_its_later_layers():
    """As its authors': from 0 in the first layer to a tenth in the last."""
    with torch.device("meta"):
        layers = engine.build("vitdet_b", 80, 1024).backbone.vit.encoder.layer
    chances = [getattr(layer.drop_path, "drop_prob", 0.0) for layer in layers]
    assert chances == pytest.approx([0.1 * i / 11 for i in range(12)])


@pytest.mark.parametrize("arch", SMALL)
def test_weights_of_one_size_serve_another(arch):
    engine.build(arch, 2, 160).load_state_dict(engine.build(arch, 2, 96).state_dict())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arch", "lr", "epochs"), [("rtdetrv2_tiny", 1e-3, 150), ("vitdet_tiny", 1e-3, 80)]
)
def test_learns_eight_fields_by_heart(arch, lr, epochs, tmp_path, monkeypatch):
    for family in engine.LEARNING_RATE:
        monkeypatch.setitem(engine.LEARNING_RATE, family, lr)
    job = by_heart.job(tmp_path, arch, epochs)
    detector = engine.detector(engine.fit(job), 0.001, "cpu", 96)
    assert by_heart.map50(detector, job) > 0.5
    assert by_heart.map50_side_by_side(detector, job) > 0.5
    assert by_heart.map50_enlarged(detector, job) > 0.5


@pytest.mark.parametrize("arch", SMALL)
def test_resumes_to_the_same_weights(arch, tmp_path, monkeypatch):
    job = by_heart.job(tmp_path, arch, epochs=2, n=2, batch=2)
    by_heart.assert_resumes(
        engine, job, dataclasses.replace(job, dir=tmp_path / "again"), monkeypatch
    )
