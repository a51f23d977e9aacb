"""On a GPU: trainings learn and go on after a kill, and what they learned reads on a processor.

Skipped where there is none. A GPU's kernels add noise, so numbers are compared with a tolerance.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from openurine_lib.inference import predict_image, read_rgb
from openurine_lib.training import pretraining
from openurine_lib.training.engines import torchvision as two_stage
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.weights import read_weights

GPU = "cuda:0"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
LEARN = {"optimizer": "AdamW", "lr0": 0.002, "momentum": 0.9, "nbs": 4, "mosaic": 0.0}


def on_gpu(job, **changes):
    return dataclasses.replace(job, device=GPU, **changes)


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_a_detector_learns_and_finds_the_same_on_a_processor(tmp_path, heads):
    job = on_gpu(tiny.job(tmp_path, heads, epochs=60, **LEARN))
    weights = engine.fit(job)
    loss = pd.read_csv(job.dir / "log.csv").loss
    assert loss.iloc[-5:].mean() < 0.5 * loss.iloc[0]
    tensors = read_weights(weights)["state_dict"].values()
    assert all(t.device.type == "cpu" and torch.isfinite(t.float()).all() for t in tensors)
    image = read_rgb(job.images.path[0])
    there, here = (
        predict_image(engine.detector(weights, 0.3, device, job.imgsz, exact=True), image, 64)
        for device in (GPU, "cpu")
    )
    assert len(here) == len(there) > 0
    assert list(here.cls) == list(there.cls)
    columns = ["x1", "y1", "x2", "y2"]
    assert np.allclose(here[columns], there[columns], atol=1.0)  # pixels
    assert np.allclose(here.conf, there.conf, atol=0.02)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, broken = (on_gpu(tiny.job(tmp_path / n, **LEARN)) for n in ("whole", "broken"))
    engine.fit(whole)
    engine.fit(dataclasses.replace(broken, stop_after=1))
    engine.fit(broken)
    logs = [pd.read_csv(job.dir / "log.csv") for job in (whole, broken)]
    assert list(logs[1].epoch) == [1, 2, 3]
    assert np.allclose(logs[0].loss, logs[1].loss, rtol=0.1)


def test_the_encoder_of_a_pretraining_starts_a_detector(tmp_path):
    job = on_gpu(tiny.job(tmp_path, epochs=1, nbs=4))
    encoder = tmp_path / "encoder.pt"
    pretraining.pretrain("yolo12n", job.images, 96, 20, 0, encoder, GPU)
    log = pd.read_csv(tmp_path / "log.csv")
    assert log.l1.iloc[-5:].mean() < log.l1.iloc[0]
    assert engine.fit(dataclasses.replace(job, encoder=encoder)).exists()


def test_the_loop_of_the_other_libraries_trains_and_predicts(tmp_path):
    job = on_gpu(tiny.job(tmp_path, "single", "ssdlite320_mobilenet_v3_large", epochs=2))
    detector = two_stage.detector(two_stage.fit(job), 0.01, GPU, job.imgsz)
    boxes = predict_image(detector, read_rgb(job.images.path[0]), None)
    assert list(boxes) == ["cls", "conf", "x1", "y1", "x2", "y2"]
