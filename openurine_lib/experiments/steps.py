"""The steps of a run. Each returns what is stored, or computes and stores it now.

So every notebook runs alone, and no result is computed twice.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from openurine_lib import files
from openurine_lib.evaluation.metrics import evaluate
from openurine_lib.experiments import provenance, sizes
from openurine_lib.experiments.methods import Method, predict_key, train_key
from openurine_lib.experiments.run import Run
from openurine_lib.inference import CONFIDENCE, predict_fields, read_predictions
from openurine_lib.speed.processor import device, devices
from openurine_lib.training import coco_weights
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.pretraining import pretrain
from openurine_lib.training.slices import slices_of
from openurine_lib.training.weights import DETECTOR, check_taxonomy, read_weights


def ensure_encoder(run: Run, arch: str, fold: int) -> Path:
    """The backbone of ``arch``, pretrained on fields of patients not in the test part."""
    out = run.ssl_dir(arch, fold) / "encoder.pt"
    if not out.exists():
        p = run.profile
        images = run.dataset.unlabelled_images(fold, p.max_unlabelled_fields)
        pretrain(arch, images, p.settings["imgsz"], p.ssl_epochs, run.seed, out, device())
    return out


def ensure_weights(run: Run, m: Method, fold: int) -> Path:
    """The method, trained on the fold's training part; rows of one ``train_key`` share it."""
    out = run.train_dir(m, fold) / "weights.pt"
    if out.exists():
        return out
    p, data = run.profile, run.dataset
    images = data.train_images(fold, p.max_train_fields)
    boxes = data.boxes_of(images)
    if p.trains_on_slices(m):
        side = p.settings["sahi"]["slice"]
        folder = out.parent / "slices"
        images, boxes = slices_of(images, boxes, side, p.slices_per_field, run.seed, folder)
    job = TrainJob(
        arch=p.arch(m),
        # Table 5
        taxonomy=data.taxonomy.without_head(m.without_head) if m.without_head else data.taxonomy,
        heads=m.heads,
        imgsz=p.pixels(m.imgsz),
        images=images,
        boxes=boxes,
        epochs=p.epochs_of(m),
        settings=p.settings_of(m),
        seed=run.seed,
        dir=out.parent,
        # only ultralytics trains on several GPUs
        device=devices() if m.engine == "ultralytics" else device(),
        encoder=ensure_encoder(run, p.arch(m), fold) if m.ssl else None,
        pretrained=coco_weights.find(p.arch(m)),
        meta={
            "key": train_key(m, p),
            "fold": fold,
            "data": data.fingerprint,
            "synthetic": data.synthetic,
            "method": asdict(m),
        },
    )
    engine(m.engine).fit(job)
    # what the engine says it started from, not what it was offered
    origin = read_weights(out)["meta"].get("pretrained")
    if origin:
        files.write_json(out.parent / coco_weights.FILE, origin)
    coco_weights.say(job.arch, origin)
    return out


def ensure_predictions(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Boxes on the fold's test fields: image, cls, conf, x1..y2 in pixels of the original image."""
    out = run.predict_dir(m, fold) / "predictions.csv"
    return _predict(run, m, fold, run.test_images(fold), out)


def ensure_cohort_predictions(run: Run, m: Method, fold: int, images: pd.DataFrame) -> pd.DataFrame:
    """Boxes on the fields of the clinical cohort (Table 8), which no fold trains on."""
    # another cohort is another file
    fields = files.digest("\n".join(images.image), length=8)
    return _predict(run, m, fold, images, run.predict_dir(m, fold) / f"cohort-{fields}.csv")


def _predict(run: Run, m: Method, fold: int, images: pd.DataFrame, out: Path) -> pd.DataFrame:
    if out.exists():
        return read_predictions(out)
    weights = ensure_weights(run, m, fold)
    # before the data are predicted: ids of other classes would be scored as these
    check_taxonomy(read_weights(weights, needed=DETECTOR)["meta"], run.dataset.taxonomy, weights)
    # As in stock sahi, a slice is brought to the size of training, as a whole field is.
    px = run.profile.pixels(m.imgsz)
    detector = engine(m.engine).detector(weights, CONFIDENCE, device(), px)
    files.write_json(out.parent / sizes.FILE, sizes.of_detector(detector, px))
    slice_px, overlap = run.slicing(m)
    return predict_fields(detector, images, slice_px, overlap, out)


def ensure_metrics(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Per class: boxes, precision, recall, ap50, ap50_95 in 0..1 on the fold's test fields."""
    out = run.predict_dir(m, fold) / "metrics.csv"
    if out.exists():
        return pd.read_csv(out)
    predictions = ensure_predictions(run, m, fold)
    images = run.test_images(fold)
    data = run.dataset
    metrics = evaluate(data.boxes_of(images), predictions, data.taxonomy.n, list(images.image))
    key = predict_key(m, run.profile)
    record = provenance.stamp(run, method=m.id, key=key, fold=fold, fields=len(images))
    files.write_json(out.with_suffix(".json"), record)
    with files.atomic_path(out) as temporary:
        metrics.to_csv(temporary, index=False)
    return metrics
