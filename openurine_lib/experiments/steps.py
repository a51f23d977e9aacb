"""The steps of a run: each returns what is stored, or computes and stores it now. So every notebook runs alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from openurine_lib import files
from openurine_lib.experiments import provenance
from openurine_lib.experiments.methods import Method, as_dict, predict_key, train_key
from openurine_lib.experiments.run import Run
from openurine_lib.speed.processor import device, devices
from openurine_lib.training import coco_weights
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.slices import slices_of
from openurine_lib.training.weights import DETECTOR, check_taxonomy, read_weights


def _must_be_built(m: Method) -> None:
    if not m.built:
        raise NotImplementedError(
            f"method {m.id!r} is listed in methods.yaml but not yet built (engine: none)"
        )


def ensure_encoder(run: Run, arch: str, fold: int) -> Path:
    """The backbone of ``arch`` pretrained on unlabelled fields, none of a patient in the fold's test part."""
    out = run.ssl_dir(arch, fold) / "encoder.pt"
    if not out.exists():
        from openurine_lib.training.pretraining import pretrain

        images = run.dataset.unlabelled_images(fold, run.profile.max_unlabelled_fields)
        pretrain(
            arch,
            images,
            run.profile.settings["imgsz"],
            run.profile.ssl_epochs,
            run.seed,
            out,
            device(),
        )
    return out


def ensure_weights(run: Run, m: Method, fold: int) -> Path:
    """The method trained on the fold's training part. Rows that share a ``train_key`` share the file."""
    _must_be_built(m)
    out = run.train_dir(m, fold) / "weights.pt"
    if not out.exists():
        p, data = run.profile, run.dataset
        taxonomy = data.taxonomy.without_head(m.without_head) if m.without_head else data.taxonomy
        images = data.train_images(fold, p.max_train_fields)
        boxes = data.boxes_of(images)
        if p.trains_on_slices(m):
            slice_px, k = p.settings["sahi"]["slice"], p.slices_per_field
            images, boxes = slices_of(images, boxes, slice_px, k, run.seed, out.parent / "slices")
        job = TrainJob(
            arch=p.arch(m),
            taxonomy=taxonomy,
            heads=m.heads,
            imgsz=p.pixels(m.imgsz),
            images=images,
            boxes=boxes,
            epochs=p.epochs_of(m),
            settings=p.settings_of(m),
            seed=run.seed,
            dir=out.parent,
            device=devices() if m.engine == "ultralytics" else device(),
            encoder=ensure_encoder(run, p.arch(m), fold) if m.ssl else None,
            pretrained=coco_weights.find(p.arch(m)),
            meta={
                "key": train_key(m, p),
                "fold": fold,
                "data": data.fingerprint,
                "synthetic": data.synthetic,
                "method": as_dict(m),
            },
        )
        engine(m.engine).fit(job)
        used = read_weights(out)["meta"].get("pretrained")
        if used:
            files.write_json(out.parent / coco_weights.FILE, used)
        coco_weights.say(job.arch, used)
    return out


def _predict(run: Run, m: Method, fold: int, images: pd.DataFrame, out: Path) -> pd.DataFrame:
    from openurine_lib.experiments import sizes
    from openurine_lib.inference import CONFIDENCE, predict_fields, read_predictions

    if out.exists():
        return read_predictions(out)
    sahi, weights = run.profile.settings["sahi"], ensure_weights(run, m, fold)
    check_taxonomy(read_weights(weights, needed=DETECTOR)["meta"], run.dataset.taxonomy, weights)
    # as stock sahi does: a slice, like a whole field, is brought to the size of training
    px = run.profile.pixels(m.imgsz)
    detector = engine(m.engine).detector(weights, CONFIDENCE, device(), px)
    files.write_json(out.parent / sizes.FILE, sizes.of_detector(detector, px))
    return predict_fields(
        detector, images, sahi["slice"] if m.sliced else None, sahi["overlap"], out
    )


def ensure_predictions(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Boxes on the fold's test fields: image, cls, conf, x1, y1, x2, y2 in pixels of the original image."""
    _must_be_built(m)
    images = run.dataset.test_images(fold, run.profile.max_test_fields)
    return _predict(run, m, fold, images, run.predict_dir(m, fold) / "predictions.csv")


def ensure_cohort_predictions(run: Run, m: Method, fold: int, images: pd.DataFrame) -> pd.DataFrame:
    """Boxes on the fields of the clinical cohort (Table 8), which no fold trains on."""
    fields = hashlib.sha256("\n".join(images.image).encode()).hexdigest()[
        :8
    ]  # another cohort is another file
    return _predict(run, m, fold, images, run.predict_dir(m, fold) / f"cohort-{fields}.csv")


def ensure_metrics(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Per class: boxes, precision, recall, ap50, ap50_95 in 0..1 on the fold's test fields."""
    out = run.predict_dir(m, fold) / "metrics.csv"
    if out.exists():
        return pd.read_csv(out)
    from openurine_lib.evaluation.metrics import evaluate

    predictions = ensure_predictions(run, m, fold)
    images = run.dataset.test_images(fold, run.profile.max_test_fields)
    metrics = evaluate(
        run.dataset.boxes_of(images), predictions, run.dataset.taxonomy.n, list(images.image)
    )
    files.write_json(
        out.with_suffix(".json"),
        provenance.stamp(
            run, method=m.id, key=predict_key(m, run.profile), fold=fold, fields=len(images)
        ),
    )
    with files.atomic_path(out) as temporary:
        metrics.to_csv(temporary, index=False)
    return metrics
