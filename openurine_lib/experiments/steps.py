"""The steps of a run. Each returns what is stored, or computes and stores it now.

So every notebook runs alone, and no result is computed twice. What the repository carries of an
earlier training is taken in place of one (``carried``). What is stored counts only if it would be
made from the same today (``made_from``), and predictions and metrics only if they are whole.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib import default_weights, files
from openurine_lib.evaluation.metrics import evaluate
from openurine_lib.experiments import carried, made_from, provenance, sizes
from openurine_lib.experiments.methods import Method, predict_key, train_key
from openurine_lib.experiments.run import Run, first_record
from openurine_lib.inference import CONFIDENCE, predict_fields, read_predictions
from openurine_lib.speed.processor import device, devices
from openurine_lib.training import coco_weights
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.pretraining import pretrain
from openurine_lib.training.slices import slices_of
from openurine_lib.training.transfer import write_start
from openurine_lib.training.weights import DETECTOR, check_taxonomy, read_weights, taxonomy_of

SLICES = "slices"  # folder of a training, while it runs

Step = Callable[[Run, Method, int], Path]  # for a row and a fold, it returns the file that it made


# A decorator, because the code of a step is an ingredient of what it makes, but not whether a
# stored result is believed (``fingerprints.of_definition`` leaves decorators out).
def _checked(kind: str) -> Callable[[Step], Step]:
    """The step looks first whether its folder's results are made from what they would be today."""

    def decorate(step: Step) -> Step:
        @functools.wraps(step)
        def checked(run: Run, m: Method, fold: int) -> Path:
            if kind == "train" and m.ssl:  # the encoder is an ingredient
                ensure_encoder(run, m, fold)
            made_from.check(run, kind, m, fold)
            return step(run, m, fold)

        return checked

    return decorate


@_checked("ssl")
def ensure_encoder(run: Run, m: Method, fold: int) -> Path:
    """The method's backbone, pretrained on fields of patients not in the test part."""
    p = run.profile
    out = run.ssl_dir(p.arch(m), fold) / "encoder.pt"
    if out.exists():
        return out
    if earlier := carried.to_restore(run, "ssl", m, fold):
        return carried.restore_weights(earlier, out)
    images = run.dataset.unlabelled_images(fold, p.max_unlabelled_fields)
    with on_record(run, out.parent):
        size, crop = p.settings["imgsz"], p.ssl_px
        pretrain(p.arch(m), images, size, p.ssl_epochs, run.seed, out, device(), crop)
    return out


@_checked("train")
def ensure_weights(run: Run, m: Method, fold: int) -> Path:
    """The method, trained on the fold's training part; rows of one ``train_key`` share it."""
    out = run.train_dir(m, fold) / "weights.pt"
    if out.exists():
        return out
    if earlier := carried.to_restore(run, "train", m, fold):
        return carried.restore_weights(earlier, out)
    job = training_job(run, m, fold, out.parent)
    with on_record(run, out.parent):
        engine(m.engine).fit(job)
    shutil.rmtree(out.parent / SLICES, ignore_errors=True)  # several GB; there may be none
    # what the engine says it started from, not what it was offered
    origin = read_weights(out)["meta"].get("pretrained")
    if origin:
        files.write_json(out.parent / coco_weights.FILE, origin)
    coco_weights.say(job.arch, origin)
    return out


def training_job(run: Run, m: Method, fold: int, folder: Path) -> TrainJob:
    """What the method's training on a fold is given; its files go to ``folder``."""
    p, data = run.profile, run.dataset
    images = data.train_images(fold, p.max_train_fields)
    boxes = data.boxes_of(images)
    if p.trains_on_slices(m):
        sahi, some = p.settings["sahi"], p.slices_per_field
        images, boxes = slices_of(
            images, boxes, sahi["slice"], sahi["overlap"], some, run.seed, folder / SLICES
        )
    return TrainJob(
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
        dir=folder,
        # only ultralytics trains on several GPUs
        device=devices() if m.engine == "ultralytics" else device(),
        encoder=ensure_encoder(run, m, fold) if m.ssl else None,
        pretrained=_start(run, m, folder),
        meta={
            "key": train_key(m, p),
            "fold": fold,
            "data": data.fingerprint,
            "synthetic": data.synthetic,
            "method": asdict(m),
        },
    )


def _start(run: Run, m: Method, folder: Path) -> Path | None:
    """What the method's weights are before its first step, if not random: a file of tensors."""
    if not run.profile.starts_carried(m):
        return coco_weights.find(run.profile.arch(m))
    weights = default_weights.named(m.start)
    known = taxonomy_of(read_weights(weights, "ultralytics")["meta"], weights)
    out = folder / "start.pt"
    write_start(weights, known, run.dataset.taxonomy, run.seed, out)
    return out


def ensure_predictions(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Boxes on the fold's test fields: image, cls, conf, x1..y2 in pixels of the original image."""
    _ready(run, m, fold)
    out = run.predict_dir(m, fold) / "predictions.csv"
    return _ensure_boxes(run, m, fold, run.test_images(fold), out, carried.to_score(run, m, fold))


def ensure_cohort_predictions(run: Run, m: Method, fold: int, images: pd.DataFrame) -> pd.DataFrame:
    """Boxes on the fields of the clinical cohort (Table 8), which no fold trains on.

    Carried ones are taken, unless the row was trained here: the cohort has more fields than the
    test part, on which the carried weights do predict anew.
    """
    _ready(run, m, fold)
    # another cohort is another file
    fields = files.digest("\n".join(images.image), length=8)
    out = run.predict_dir(m, fold) / f"cohort-{fields}.csv"
    trained_here = (run.train_dir(m, fold) / carried.TRAINED).exists()
    earlier = None if trained_here else carried.find(run, "predict", m, fold)
    if earlier and not (earlier / out.with_suffix(".npz").name).exists():
        earlier = None
    return _ensure_boxes(run, m, fold, images, out, earlier)


def _ready(run: Run, m: Method, fold: int) -> None:
    """Clears the row's predictions and metrics if they were made from something else."""
    if carried.to_score(run, m, fold) is None:
        ensure_weights(run, m, fold)  # they are an ingredient
    made_from.check(run, "predict", m, fold)


def _ensure_boxes(
    run: Run, m: Method, fold: int, images: pd.DataFrame, out: Path, earlier: Path | None
) -> pd.DataFrame:
    """What ``out`` holds; else what ``earlier`` carries; else what is predicted now."""
    if files.is_sealed(out):
        return read_predictions(out)
    files.discard(out)
    if earlier:
        carried.restore_predictions(earlier, out)
    boxes = _predict(run, m, fold, images, out)
    files.seal(out)
    return boxes


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
    return predict_fields(detector, images, slice_px, overlap, out, way=m.looking)


def ensure_metrics(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Per class: boxes, precision, recall, ap50, ap50_95 in 0..1 on the fold's test fields."""
    _ready(run, m, fold)
    out = run.predict_dir(m, fold) / "metrics.csv"
    if files.is_sealed(out):
        return pd.read_csv(out)
    files.discard(out)
    predictions = ensure_predictions(run, m, fold)
    images = run.test_images(fold)
    data = run.dataset
    metrics = evaluate(data.boxes_of(images), predictions, data.taxonomy.n, list(images.image))
    key = predict_key(m, run.profile)
    record = provenance.stamp(run, method=m.id, key=key, fold=fold, fields=len(images))
    record["trained"] = trained(run, m, fold)
    files.write_json(out.with_suffix(".json"), record)
    with files.atomic_path(out) as temporary:
        metrics.to_csv(temporary, index=False)
    files.seal(out)
    return metrics


def trained(run: Run, m: Method, fold: int) -> dict[str, Any]:
    """Who trained the row: [earlier (whether it was carried), time, minutes, processor, ...].

    With ``pretraining``, the same of the encoder that it started from, if there was one.
    """
    places = (run.train_dir(m, fold), run.predict_dir(m, fold))
    record = first_record(place / carried.RECORD for place in places)
    if record:
        before = {"pretraining": record["pretraining"]} if "pretraining" in record else {}
        return {"earlier": True, **record["trained"], **before}
    found = {"earlier": False, **first_record([places[0] / carried.TRAINED])}
    if m.ssl:
        place = run.ssl_dir(run.profile.arch(m), fold)
        earlier = first_record([place / carried.RECORD]).get("trained")
        found["pretraining"] = earlier or first_record([place / carried.TRAINED])
    return found


@contextlib.contextmanager
def on_record(run: Run, folder: Path) -> Iterator[None]:
    """Leaves beside a training how long it took, where and when (its calls, if several)."""
    before = first_record([folder / carried.TRAINED]).get("minutes", 0.0)
    started = time.monotonic()

    def write() -> None:
        minutes = before + (time.monotonic() - started) / 60
        stamp = provenance.stamp(run)
        kept = {k: stamp[k] for k in ("commit", "dirty", "processor", "threads", "device", "time")}
        files.write_json(folder / carried.TRAINED, {"minutes": round(minutes, 2), **kept})

    try:
        yield
    finally:
        write()  # of an interrupted call, too
