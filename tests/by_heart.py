"""What the tests of several engines ask of the smallest network.

Does it learn eight fields by heart, and are its boxes in the right pixels?
"""

import contextlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import tiny
import torch
from sahi.models.base import DetectionModel

from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import predict_image, read_rgb
from openurine_lib.training import weights as weights_files
from openurine_lib.training.job import TrainJob

PLAIN = {"fliplr": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}  # no augmentation


def job(folder: Path, arch: str, epochs: int, **settings) -> TrainJob:
    """Eight drawn fields of 96 px, three classes, no augmentation, all in one batch."""
    return tiny.job(folder, "single", arch, epochs, **PLAIN | {"batch": 8} | settings)


def map50(detector: DetectionModel, job: TrainJob) -> float:
    """mAP50 on the fields of the training."""
    found = [
        predict_image(detector, read_rgb(f.path), None).assign(image=f.image)
        for f in job.images.itertuples()
    ]
    return _map50(job, job.boxes, pd.concat(found), job.images.image)


def map50_side_by_side(detector: DetectionModel, job: TrainJob) -> float:
    """mAP50 on pairs of fields, put side by side and predicted in slices as large as one field.

    The boxes of the right field must come back shifted.
    """
    truth, found, side = [], [], job.images.width[0]
    for left, right in zip(
        job.images[::2].itertuples(), job.images[1::2].itertuples(), strict=True
    ):
        pixels = np.hstack([read_rgb(left.path), read_rgb(right.path)])
        found.append(predict_image(detector, pixels, side, overlap=0.0).assign(image=left.image))
        one, other = (job.boxes[job.boxes.image == name] for name in (left.image, right.image))
        truth += [one, other.assign(x1=other.x1 + side, x2=other.x2 + side, image=left.image)]
    return _map50(job, pd.concat(truth), pd.concat(found), job.images.image[::2])


def map50_enlarged(detector: DetectionModel, job: TrainJob) -> float:
    """mAP50 on the fields at twice their size, predicted whole: boxes must be in those pixels."""
    found = []
    for field in job.images.itertuples():
        pixels = read_rgb(field.path).repeat(2, 0).repeat(2, 1)
        found.append(predict_image(detector, pixels, None).assign(image=field.image))
    truth = job.boxes.assign(**{c: job.boxes[c] * 2 for c in ("x1", "y1", "x2", "y2")})
    return _map50(job, truth, pd.concat(found), job.images.image)


def _map50(job: TrainJob, truth: pd.DataFrame, found: pd.DataFrame, images: pd.Series) -> float:
    return summary(evaluate(truth, found, job.taxonomy.n, list(images)))["map50"]


def assert_resumes(engine: ModuleType, undisturbed: TrainJob, again: TrainJob, monkeypatch) -> None:
    """A training that is killed after its first epoch goes on when it is started again.

    It ends with the weights of the undisturbed one.
    """
    whole = torch.load(engine.fit(undisturbed), weights_only=True)
    save = weights_files.save

    def killed(content, path):
        save(content, path)
        if len(content.get("rows", ())) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(weights_files, "save", killed)
        with contextlib.suppress(KeyboardInterrupt):
            engine.fit(again)
    assert (again.dir / "state.pt").exists() and not (again.dir / "weights.pt").exists()
    resumed = torch.load(engine.fit(again), weights_only=True)
    assert resumed["meta"] == whole["meta"]
    assert all(torch.equal(v, resumed["state_dict"][k]) for k, v in whole["state_dict"].items())
    assert (again.dir / "log.csv").read_bytes() == (undisturbed.dir / "log.csv").read_bytes()
    assert not (again.dir / "state.pt").exists()
