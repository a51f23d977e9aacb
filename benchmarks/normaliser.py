"""The normaliser of the six losses, by experiment: one for all heads, or one a head.

    python benchmarks/normaliser.py --data /path/to/urised2k --out runs/normaliser

The paper's N_i, M_i and P_i can be read either way. Both ways are tried on two sets: on synthetic
fields of all 39 classes, and on UriSed2K. UriSed2K is used inside the slides that its benchmarks
train on (trained on folds 3 and 4, scored on fold 2); folds 0 and 1 are not touched.

Both ways start from the same weights and see the same batches; each seed gives one pair. So short a
training from scratch would find nothing. Therefore all trainings start from one backbone and neck,
which a single head has trained on the synthetic training fields. The six heads start untrained.

It uses one thread. A training that is there is not repeated, and an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OPENURINE_THREADS", "1")

import cv2
import numpy as np
import pandas as pd
import torch
from pairs import RESULTS
from ultralytics.utils import DEFAULT_CFG

import synthurine
from openurine_lib import files, open_run
from openurine_lib.data.dataset import Dataset
from openurine_lib.data.images import read_rgb
from openurine_lib.evaluation.metrics import evaluate
from openurine_lib.experiments import provenance
from openurine_lib.experiments.methods import profile
from openurine_lib.experiments.run import Run
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.model.build import build_model
from openurine_lib.model.loss import MultiHeadLoss
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights

ARCH = "yolo12n"
IMGSZ = 256
BATCH = 4
WARM_EPOCHS = 8
EPOCHS = 3
SCORED = 100  # fields of UriSed2K, at most
SPEC = {
    "fields": 320,
    "unlabelled": 0,
    "cohort": 0,
    "patients": 64,
    "field_px": IMGSZ,
    "field_um": 200,
}
WAYS = {"shared": True, "per head": False}
COLUMNS = ["data", "normaliser", "seed", "what", "name", "boxes", "value"]


class Part(NamedTuple):
    """One of the two sets: its fields to train on and its fields to score."""

    name: str
    run: Run
    train: pd.DataFrame
    test: pd.DataFrame


def main() -> None:
    options = _options()
    sets = parts(options)
    synthetic = sets[0]
    warm = warm_start(synthetic.run.dataset, synthetic.train, options.out)
    rows: list[dict[str, Any]] = []
    for part in sets:
        rows += [{"data": part.name} | row for row in at_start(part.run.dataset, part.train)]
    for seed, part, way in itertools.product(range(options.seeds), sets, WAYS):
        data = part.run.dataset
        out = options.out / f"{part.name}-{way.replace(' ', '-')}-{seed}"
        weights = fit(data, part.train, way, seed, out, warm)
        found = summarised(data, part.train, score(data, weights, part.test, out))
        rows += [{"data": part.name, "seed": seed, "normaliser": way} | row for row in found]
        print(f"{part.name}, seed {seed}, {way}: mAP50 {found[-1]['value']:.4f}", flush=True)
        save(pd.DataFrame(rows), sets, seed + 1)


def save(table: pd.DataFrame, sets: list[Part], seeds: int) -> None:
    """Writes docs/results/normaliser.csv and its provenance, with what is there so far."""
    table = table[COLUMNS]
    with files.atomic_path(RESULTS / "normaliser.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    stamps = [
        provenance.stamp(part.run, fields=len(part.train), scored=len(part.test)) for part in sets
    ]
    size = f"{ARCH}, {IMGSZ} px, {EPOCHS} passes after a warm start"
    stamp = stamps[0] | {
        "face": f"{size}: small, not the paper's size; {seeds} seeds",
        "dataset": [s["dataset"] | {k: s[k] for k in ("fields", "scored")} for s in stamps],
        "arch": ARCH,
        "imgsz": IMGSZ,
        "batch": BATCH,
        "epochs": EPOCHS,
        "warm_epochs": WARM_EPOCHS,
        "seeds": seeds,
        "synthetic": SPEC,
        "simulator": synthurine.SIMULATOR,
        "settings": settings(),
    }
    files.write_json(RESULTS / "normaliser.json", stamp)
    shown = table[table.what != "class"].pivot_table(
        index=["data", "what", "name"], columns="normaliser", values="value", sort=False
    )
    print(shown.round(3).to_string(), flush=True)


def parts(options: argparse.Namespace) -> list[Part]:
    """Both sets; in each, no patient or slide is both trained on and scored."""
    folder = synthurine.write(options.out / "fields", SPEC, 0, workers=1)
    drawn = open_run(str(folder), "demo", 0)
    drawn_train = drawn.dataset.train_images(0)
    real = open_run(str(options.data), "demo", 0)
    images = real.dataset.images[real.dataset.images.split == "labelled"]
    # as many as of the synthetic set
    train = images[images.fold.isin([3, 4])].sample(len(drawn_train), random_state=0)
    train = train.sort_values("image").reset_index(drop=True)
    return [
        Part("synthetic", drawn, drawn_train, drawn.dataset.test_images(0)),
        Part("urised2k", real, train, real.dataset.test_images(2, SCORED)),
    ]


def settings() -> dict[str, Any]:
    changes = {"batch": BATCH, "nbs": BATCH, "close_mosaic": 1, "imgsz": IMGSZ}
    return profile("demo").settings | changes


def warm_start(data: Dataset, images: pd.DataFrame, folder: Path) -> Path:
    """A backbone and neck that know what particles look like, as the engine reads an encoder."""
    out = folder / "warm.pt"
    if out.exists():
        return out
    job = TrainJob(
        arch=ARCH,
        taxonomy=data.taxonomy,
        heads="single",
        imgsz=IMGSZ,
        images=images,
        boxes=data.boxes_of(images),
        epochs=WARM_EPOCHS,
        settings=settings(),
        seed=0,
        dir=folder / "warm",
        device="cpu",
    )
    content = read_weights(engine("ultralytics").fit(job))
    # the last layer is the head, which is left out
    head = f"model.{len(build_model(ARCH, data.taxonomy, 'single').model) - 1}."
    tensors = content["state_dict"].items()
    content["state_dict"] = {k: v for k, v in tensors if not k.startswith(head)}
    with files.atomic_path(out) as temporary:
        torch.save(content, temporary)
    return out


def fit(data: Dataset, images: pd.DataFrame, way: str, seed: int, out: Path, warm: Path) -> Path:
    """Trains with one of the normalisers, or returns the weights that are there."""
    MultiHeadLoss.shared = WAYS[way]
    if (out / "weights.pt").exists():
        return out / "weights.pt"
    job = TrainJob(
        arch=ARCH,
        taxonomy=data.taxonomy,
        heads="multi",
        imgsz=IMGSZ,
        images=images,
        boxes=data.boxes_of(images),
        epochs=EPOCHS,
        settings=settings(),
        seed=seed,
        dir=out,
        device="cpu",
        encoder=warm,
    )
    return engine("ultralytics").fit(job)


def score(data: Dataset, weights: Path, test: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Metrics of each class on whole fields."""
    detector = engine("ultralytics").detector(weights, CONFIDENCE, "cpu", IMGSZ)
    found = predict_fields(detector, test, None, 0.0, out / "predictions.csv")
    return evaluate(data.boxes_of(test), found, data.taxonomy.n, list(test.image))


def summarised(data: Dataset, train: pd.DataFrame, ap: pd.DataFrame) -> list[dict[str, Any]]:
    """AP50 of every class, then its mean over each head, over the rarer classes, and over all.

    The rarer classes are the half with fewer boxes in training. Only classes with true boxes count.
    """
    seen = data.boxes_of(train).cls.value_counts().reindex(ap.cls, fill_value=0).to_numpy()
    ap = ap.assign(seen=seen, head=[data.taxonomy.head_of(c) for c in ap.cls])
    ap = ap[ap.boxes > 0]
    rare = ap[ap.seen <= ap.seen.median()]
    rows = []
    for r in ap.itertuples():
        name = data.taxonomy.classes[r.cls]
        rows.append({"what": "class", "name": name, "boxes": r.seen, "value": r.ap50})
    groups = [*ap.groupby("head", sort=False), ("rarer half of the classes", rare), ("all", ap)]
    for name, group in groups:
        boxes = group.seen.sum()
        rows.append({"what": "mAP50", "name": name, "boxes": boxes, "value": group.ap50.mean()})
    return rows


@torch.no_grad()
def at_start(data: Dataset, images: pd.DataFrame, batches: int = 32) -> list[dict[str, Any]]:
    """Losses of an untrained model by head, both ways from the same predictions.

    Each value is a mean over the batches.
    """
    torch.manual_seed(0)
    model = build_model(ARCH, data.taxonomy, "multi", lambdas={}).train()
    model.args = DEFAULT_CFG
    losses = {way: model.init_criterion() for way in WAYS}
    for way, loss in losses.items():
        loss.shared = WAYS[way]
    sums: dict[tuple[str, str], list[float]] = {}
    empty: dict[str, list[bool]] = {}
    chosen = images.sample(min(len(images), batches * BATCH), random_state=0)
    for first in range(0, len(chosen), BATCH):
        batch = as_batch(data, chosen.iloc[first : first + BATCH])
        preds = model.predict(batch["img"])
        for way, loss in losses.items():
            for part, value in loss(preds, batch)[1].items():
                sums.setdefault((way, part), []).append(float(value))
        for head, ids in data.taxonomy.heads.items():
            has_object = torch.isin(batch["cls"], torch.tensor(ids)).any()
            empty.setdefault(head, []).append(not has_object)
    rows = []
    for (way, part), values in sums.items():
        row = {"normaliser": way, "what": "loss at initialisation", "name": part}
        rows.append(row | {"value": np.mean(values)})
    for head, without in empty.items():
        row = {"normaliser": "either", "what": "batches without an object", "name": head}
        rows.append(row | {"value": np.mean(without)})
    return rows


def as_batch(data: Dataset, fields: pd.DataFrame) -> dict[str, torch.Tensor]:
    """Whole fields, stretched to a square, as the loss reads them."""
    squares = [
        cv2.resize(read_rgb(path), (IMGSZ, IMGSZ), interpolation=cv2.INTER_AREA)
        for path in fields.path
    ]
    pixels = np.stack(squares).transpose(0, 3, 1, 2)  # (B, 3, H, W)
    sizes = fields.assign(at=range(len(fields)))[["image", "at", "width", "height"]]
    boxes = data.boxes_of(fields).merge(sizes)
    boxes = boxes.sort_values("at", kind="stable")  # the loss wants the boxes image by image
    x = (boxes.x1 + boxes.x2) / 2 / boxes.width
    y = (boxes.y1 + boxes.y2) / 2 / boxes.height
    w = (boxes.x2 - boxes.x1) / boxes.width
    h = (boxes.y2 - boxes.y1) / boxes.height
    return {
        "img": torch.from_numpy(pixels.copy()).float() / 255,
        "batch_idx": torch.tensor(boxes["at"].to_numpy()).float(),
        "cls": torch.tensor(boxes.cls.to_numpy()).float().view(-1, 1),
        "bboxes": torch.tensor(np.stack([x, y, w, h], 1)).float(),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/normaliser"))
    parser.add_argument("--seeds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
