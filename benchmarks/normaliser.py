"""The normaliser of the six losses, by experiment: one for all heads, or one a head.

    python benchmarks/normaliser.py --data /path/to/urised2k --out runs/normaliser

The paper's N_i, M_i and P_i can be read either way. Two sets: synthetic fields of all 39 classes, and UriSed2K inside
the slides that its benchmarks train on (trained on folds 3 and 4, scored on fold 2; folds 0 and 1 are not touched).
Both ways start from the same weights and see the same batches; the seeds are the pairs. So short a training from
scratch would find nothing, so all start from one backbone and neck, trained with a single head on the synthetic
training fields; the six heads start untrained. One thread. A training that is there is not repeated, an interrupted
one goes on.
"""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path
from typing import Any

from openurine_lib import files

os.environ.setdefault("OPENURINE_THREADS", "1")

import cv2
import numpy as np
import pandas as pd
import torch
from pairs import RESULTS
from ultralytics.utils import DEFAULT_CFG

import synthurine
from openurine_lib import open_run
from openurine_lib.data.dataset import Dataset
from openurine_lib.evaluation.metrics import evaluate
from openurine_lib.experiments import provenance
from openurine_lib.experiments.methods import profile
from openurine_lib.experiments.run import Run
from openurine_lib.inference import CONFIDENCE, predict_fields, read_rgb
from openurine_lib.model.build import build_model
from openurine_lib.model.loss import MultiHeadLoss
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights

ARCH, IMGSZ, BATCH, WARM_EPOCHS, EPOCHS, SCORED = "yolo12n", 256, 4, 8, 3, 100
SPEC = {
    "fields": 320,
    "unlabelled": 0,
    "cohort": 0,
    "patients": 64,
    "field_px": IMGSZ,
    "field_um": 200,
}
WAYS = {"shared": True, "per head": False}


def main() -> None:
    o = _options()
    sets = parts(o)
    warm = warm_start(sets[0][1].dataset, sets[0][2], o.out)
    rows = [
        {"data": name} | row for name, run, train, _ in sets for row in at_start(run.dataset, train)
    ]
    for seed, (name, run, train, test), way in itertools.product(range(o.seeds), sets, WAYS):
        out = o.out / f"{name}-{way.replace(' ', '-')}-{seed}"
        ap = score(run.dataset, fit(run.dataset, train, way, seed, out, warm), test, out)
        found = summarised(run.dataset, train, ap)
        rows += [{"data": name, "seed": seed, "normaliser": way} | row for row in found]
        print(f"{name}, seed {seed}, {way}: mAP50 {found[-1]['value']:.4f}", flush=True)
        save(pd.DataFrame(rows), sets, seed + 1)


def save(table: pd.DataFrame, sets: list[Any], seeds: int) -> None:
    """docs/results/normaliser.csv and its provenance; what is known so far."""
    table = table[["data", "normaliser", "seed", "what", "name", "boxes", "value"]]
    with files.atomic_path(RESULTS / "normaliser.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
    stamps = [
        provenance.stamp(run, fields=len(train), scored=len(test)) for _, run, train, test in sets
    ]
    stamp = stamps[0] | {
        "face": f"{ARCH}, {IMGSZ} px, {EPOCHS} passes after a warm start: small, not the paper's size; {seeds} seeds",
        "dataset": [s["dataset"] | {k: s[k] for k in ("fields", "scored")} for s in stamps],
        "arch": ARCH, "imgsz": IMGSZ, "batch": BATCH, "epochs": EPOCHS, "warm_epochs": WARM_EPOCHS, "seeds": seeds,
        "synthetic": SPEC, "simulator": synthurine.SIMULATOR, "settings": settings(),
    }  # fmt: skip
    files.write_json(RESULTS / "normaliser.json", stamp)
    shown = table[table.what != "class"].pivot_table(
        index=["data", "what", "name"], columns="normaliser", values="value", sort=False
    )
    print(shown.round(3).to_string(), flush=True)


def parts(o: argparse.Namespace) -> list[tuple[str, Run, pd.DataFrame, pd.DataFrame]]:
    """(name, run, training fields, scored fields) of both sets; no patient or slide on both sides."""
    drawn = open_run(str(synthurine.write(o.out / "fields", SPEC, 0, workers=1)), "demo", 0)
    real = open_run(str(o.data), "demo", 0)
    images = real.dataset.images[real.dataset.images.split == "labelled"]
    train = images[images.fold.isin([3, 4])].sample(
        len(drawn.dataset.train_images(0)), random_state=0
    )
    held_out = real.dataset.test_images(2, SCORED)
    return [
        ("synthetic", drawn, drawn.dataset.train_images(0), drawn.dataset.test_images(0)),
        ("urised2k", real, train.sort_values("image").reset_index(drop=True), held_out),
    ]


def settings() -> dict[str, Any]:
    return profile("demo").settings | {
        "batch": BATCH,
        "nbs": BATCH,
        "close_mosaic": 1,
        "imgsz": IMGSZ,
    }


def warm_start(data: Dataset, images: pd.DataFrame, folder: Path) -> Path:
    """A backbone and neck that know what particles look like, as the engine reads an encoder."""
    out, boxes = folder / "warm.pt", data.boxes_of(images)
    if not out.exists():
        job = TrainJob(ARCH, data.taxonomy, "single", IMGSZ, images, boxes, WARM_EPOCHS, settings(), 0, folder / "warm",
                       "cpu")  # fmt: skip
        content = read_weights(engine("ultralytics").fit(job))
        head = f"model.{len(build_model(ARCH, data.taxonomy, 'single').model) - 1}."
        content["state_dict"] = {
            k: v for k, v in content["state_dict"].items() if not k.startswith(head)
        }
        with files.atomic_path(out) as temporary:
            torch.save(content, temporary)
    return out


def fit(data: Dataset, images: pd.DataFrame, way: str, seed: int, out: Path, warm: Path) -> Path:
    """Trains with one of the normalisers, or returns what is there."""
    MultiHeadLoss.shared = WAYS[way]
    boxes = data.boxes_of(images)
    job = TrainJob(
        ARCH,
        data.taxonomy,
        "multi",
        IMGSZ,
        images,
        boxes,
        EPOCHS,
        settings(),
        seed,
        out,
        "cpu",
        warm,
    )
    return out / "weights.pt" if (out / "weights.pt").exists() else engine("ultralytics").fit(job)


def score(data: Dataset, weights: Path, test: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Metrics a class on whole fields."""
    detector = engine("ultralytics").detector(weights, CONFIDENCE, "cpu", IMGSZ)
    found = predict_fields(detector, test, None, 0.0, out / "predictions.csv")
    return evaluate(data.boxes_of(test), found, data.taxonomy.n, list(test.image))


def summarised(data: Dataset, train: pd.DataFrame, ap: pd.DataFrame) -> list[dict[str, Any]]:
    """AP50 of every class, head, of the rarer half of the classes in training, and of all; classes with true boxes."""
    seen = data.boxes_of(train).cls.value_counts().reindex(ap.cls, fill_value=0).to_numpy()
    ap = ap.assign(seen=seen, head=[data.taxonomy.head_of(c) for c in ap.cls])[ap.boxes > 0]
    rare = ap[ap.seen <= ap.seen.median()]
    rows = [{"what": "class", "name": data.taxonomy.classes[r.cls], "boxes": r.seen, "value": r.ap50}
            for r in ap.itertuples()]  # fmt: skip
    groups = [*ap.groupby("head", sort=False), ("rarer half of the classes", rare), ("all", ap)]
    return rows + [{"what": "mAP50", "name": name, "boxes": part.seen.sum(), "value": part.ap50.mean()}
                   for name, part in groups]  # fmt: skip


@torch.no_grad()
def at_start(data: Dataset, images: pd.DataFrame, batches: int = 32) -> list[dict[str, Any]]:
    """Losses of an untrained model by head, both ways from the same predictions; means over batches."""
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
            empty.setdefault(head, []).append(not torch.isin(batch["cls"], torch.tensor(ids)).any())
    rows = [{"normaliser": way, "what": "loss at initialisation", "name": part, "value": np.mean(v)}
            for (way, part), v in sums.items()]  # fmt: skip
    return rows + [{"normaliser": "either", "what": "batches without an object", "name": head, "value": np.mean(v)}
                   for head, v in empty.items()]  # fmt: skip


def as_batch(data: Dataset, fields: pd.DataFrame) -> dict[str, torch.Tensor]:
    """Whole fields, stretched to a square, as the loss reads them."""
    pixels = np.stack(
        [
            cv2.resize(read_rgb(path), (IMGSZ, IMGSZ), interpolation=cv2.INTER_AREA)
            for path in fields.path
        ]
    )
    boxes = data.boxes_of(fields).merge(
        fields.assign(at=range(len(fields)))[["image", "at", "width", "height"]]
    )
    boxes = boxes.sort_values("at", kind="stable")  # the loss wants the boxes image by image
    x, y = (boxes.x1 + boxes.x2) / 2 / boxes.width, (boxes.y1 + boxes.y2) / 2 / boxes.height
    w, h = (boxes.x2 - boxes.x1) / boxes.width, (boxes.y2 - boxes.y1) / boxes.height
    return {
        "img": torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255,
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
