"""The ablation rows of Table 4 on real fields, at equal computing.

    python benchmarks/real_ablation.py --data /path/to/urised2k choose   # chooses the slice size
    python benchmarks/real_ablation.py --data /path/to/urised2k fold 0   # trains and scores a fold
    python benchmarks/real_ablation.py --data /path/to/urised2k tables   # writes docs/results/

The network is yolo12n at 320 px, the folds are split by slide, and each row gets the same
computing. A training may spend what the stock row spends in ``EPOCHS`` passes over whole fields.
The amount is the FLOPs of the forward and backward passes, counted by torch. A slice costs what a
field does, as both are shown at 320 px. With six heads a pass costs more. The autoencoder's own
training is paid from the same budget.

All rows that are trained on slices draw from the same slices, two a field. Two rows are special:

- ``+ SAHI, inference only`` shows slices to the stock row's network, as the paper's text has it. It
  costs no training.
- ``+ SAHI, as long as after pretraining`` has the passes that the pretrained row has left, but from
  random weights, on the first fold. It shows what the pretraining itself does, its cost aside.

The slice size is chosen with folds 2 to 4 alone: trained on 3 and 4, scored on 2. The rows are
scored on folds 0 and 1. Every result is stored, and an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# one training runs at a time, so it gets all cores unless the user says otherwise
os.environ.setdefault("OPENURINE_THREADS", str(os.cpu_count() or 1))

import pandas as pd
import torch
from matplotlib import pyplot as plt
from pairs import RESULTS
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.utils import DEFAULT_CFG

from openurine_lib import files, style
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import METRICS, evaluate, summary
from openurine_lib.experiments import provenance, steps
from openurine_lib.experiments.methods import PAPER_IMGSZ, Method, Profile, methods, profile
from openurine_lib.experiments.run import Run
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.model.autoencoder import Autoencoder, reconstruction_loss
from openurine_lib.model.build import build_model
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.slices import slices_of

ARCH = "yolo12n"
IMGSZ = 320
BATCH = 8
EPOCHS = 12
SSL_PART = 1 / 3  # of a row's computing, where it pretrains
SLICES_PER_FIELD = 2
SIZES = [256, 352, 480]  # pixels of the original; 256 of 720 is the paper's 640 of 1800
FOLDS = (0, 1)
TUNING_FOLD = 2
TUNING_EPOCHS = 2
SAHI_ROW = "yolo12m-sahi"
ROWS = ["yolo12m", SAHI_ROW, "yolo12m-sahi-ssl", "yolo12m-sahi-multi", "ours-yolo12m"]
INFERENCE_ONLY = "YOLOv12-M + SAHI, inference only"
SHORTER = "YOLOv12-M + SAHI, as long as after pretraining"


@dataclass(frozen=True)
class WithSlices(Profile):
    """A profile that gives the size of its slices in pixels of the original image."""

    slice_px: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        s = Profile.settings.fget(self)  # type: ignore[attr-defined]
        return s | {"sahi": s["sahi"] | {"slice": self.slice_px}}


def small(name: str, folds: tuple[int, ...], epochs: int, slice_px: int = 0) -> WithSlices:
    """The demo profile's networks at IMGSZ, on all fields of these folds.

    Every row makes the same number of passes.
    """
    demo = profile("demo")
    changes: dict[str, Any] = {
        "name": name,
        "about": "",
        "px_scale": IMGSZ / PAPER_IMGSZ,
        "folds": list(folds),
        "max_train_fields": None,
        "max_test_fields": None,
        "max_unlabelled_fields": None,
        "epochs": epochs,
        "epochs_for": {},
        "slices_per_field": SLICES_PER_FIELD,
        "slice_px": slice_px,
        "train": demo.train | {"batch": BATCH, "nbs": BATCH, "close_mosaic": 1},
    }
    return WithSlices(**vars(demo) | changes)


@dataclass(frozen=True)
class EqualComputing(WithSlices):
    """A profile whose epochs follow from what a pass costs."""

    # FLOPs of a training step on one image, for "single", "multi" and "ssl"
    costs: dict[str, float] = field(default_factory=dict)
    part: float = 1.0  # of the computing

    def epochs_of(self, m: Method) -> int:
        part = 1 - SSL_PART if m.ssl else self.part
        passes = EPOCHS / (SLICES_PER_FIELD if self.trains_on_slices(m) else 1)
        return max(1, round(part * passes * self.costs["single"] / self.costs[m.heads]))


def main() -> None:
    options = _options()
    first = Run(str(options.data.resolve()), small("real-ablation", FOLDS, EPOCHS))
    if options.what == "choose":
        choose(first, options.seed)
        return
    chosen = first.dir / "slice_size.csv"
    if not chosen.exists():
        raise SystemExit(f"error: {chosen} is missing; choose the slice size first")
    sizes = pd.read_csv(chosen)
    run = budgeted(first, int(sizes.loc[sizes.map50.idxmax(), "slice_px"]))
    if options.what == "tables":
        tables(run, sizes)
    else:
        train_and_score(run, options.fold, options.rows)


def train_and_score(run: Run, fold: int, rows: list[str] | None) -> None:
    """Every row on one fold, or those that are named; prints their scores."""
    if not rows:
        scores = summary(steps.ensure_metrics(shorter(run), methods()[SAHI_ROW], fold))
        print(SHORTER, "fold", fold, scores, flush=True)
    for name in rows or ROWS:
        m = methods()[name]
        print(name, "fold", fold, summary(steps.ensure_metrics(run, m, fold)), flush=True)
        if not m.sliced:
            print(INFERENCE_ONLY, "fold", fold, summary(on_slices(run, m, fold)), flush=True)


def budgeted(run: Run, slice_px: int) -> Run:
    """The run, with epochs that follow from what a pass costs."""
    costs = flops(run.dataset.taxonomy)
    fields = len(run.dataset.train_images(FOLDS[0], None))
    unlabelled = len(run.dataset.unlabelled_images(FOLDS[0], None))
    budget = SSL_PART * EPOCHS * fields * costs["single"]
    ssl_epochs = max(1, round(budget / (unlabelled * costs["ssl"])))
    given = vars(run.profile) | {"ssl_epochs": ssl_epochs, "slice_px": slice_px}
    return Run(run.data, EqualComputing(**given, costs=costs), run.seed)


def shorter(run: Run) -> Run:
    """The same with the detector's part of the computing alone, for the row without pretraining."""
    p: Any = run.profile
    return Run(run.data, replace(p, name=f"{p.name}-shorter", part=1 - SSL_PART), run.seed)


def flops(taxonomy: Taxonomy) -> dict[str, float]:
    """FLOPs of one image's forward and backward pass, by torch's count.

    They are of the detector with one head, of the detector with all heads, and of the autoencoder.
    All compute in float32, so that the count does not depend on the processor.
    """
    x = torch.rand(1, 3, IMGSZ, IMGSZ)
    target = {
        "batch_idx": torch.zeros(1),
        "cls": torch.zeros(1, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.1, 0.1]]),
    }
    costs = {}
    for heads in ("single", "multi"):
        model = build_model(ARCH, taxonomy, heads).train()
        model.args = DEFAULT_CFG
        with FlopCounterMode(display=False) as count:
            preds = model.predict(x)
            model.loss({"img": x} | target, preds)[0].sum().backward()
        costs[heads] = float(count.get_total_flops())
    network = Autoencoder(ARCH).train()
    images = x.expand(2, -1, -1, -1)  # (2, 3, H, W)
    with FlopCounterMode(display=False) as count:
        l1, dissimilarity = reconstruction_loss(network(images), images)
        (l1 + dissimilarity).backward()
    return costs | {"ssl": count.get_total_flops() / len(images)}


def choose(run: Run, seed: int) -> None:
    """Writes the scores of each slice size on fold 2, after training on folds 3 and 4.

    Each size has the same number of passes.
    """
    data = run.dataset
    folds = data.images.set_index("image").fold.astype(int)
    everything = data.train_images(FOLDS[0], None)
    part = everything.image.map(folds)
    train = everything[~part.isin([*FOLDS, TUNING_FOLD])].reset_index(drop=True)
    held_out = everything[part == TUNING_FOLD].reset_index(drop=True)
    settings = run.profile.settings
    rows = []
    for size in SIZES:
        out = run.dir / f"choose-{size}"
        images, boxes = slices_of(
            train, data.boxes_of(train), size, SLICES_PER_FIELD, seed, out / "slices"
        )
        job = TrainJob(
            arch=ARCH,
            taxonomy=data.taxonomy,
            heads="single",
            imgsz=IMGSZ,
            images=images,
            boxes=boxes,
            epochs=TUNING_EPOCHS,
            settings=settings,
            seed=seed,
            dir=out,
            device="cpu",
        )
        weights = out / "weights.pt"
        if not weights.exists():
            engine("ultralytics").fit(job)
        detector = engine("ultralytics").detector(weights, CONFIDENCE, "cpu", IMGSZ)
        overlap = settings["sahi"]["overlap"]
        found = predict_fields(detector, held_out, size, overlap, out / "predictions.csv")
        truth = data.boxes_of(held_out)
        scores = summary(evaluate(truth, found, data.taxonomy.n, list(held_out.image)))
        passes = TUNING_EPOCHS * len(images)
        rows.append({"slice_px": size, "fields": len(held_out), "passes": passes} | scores)
        print(rows[-1], flush=True)
    with files.atomic_path(run.dir / "slice_size.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def on_slices(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Metrics of a network that was trained on whole fields, on slices."""
    folder = run.predict_dir(m, fold)
    out = folder.with_name(f"{folder.name}-on-slices-fold{fold}.csv")
    sahi = run.profile.settings["sahi"]
    images = run.dataset.test_images(fold, None)
    weights = steps.ensure_weights(run, m, fold)
    detector = engine(m.engine).detector(weights, CONFIDENCE, "cpu", IMGSZ)
    found = predict_fields(detector, images, sahi["slice"], sahi["overlap"], out)
    return evaluate(run.dataset.boxes_of(images), found, run.dataset.taxonomy.n, list(images.image))


def tables(run: Run, sizes: pd.DataFrame) -> None:
    """Writes what every fold gave, prints its mean and deviation, and draws the curves."""
    p: Any = run.profile
    lines: list[dict[str, Any]] = []
    per_class: list[dict[str, Any]] = []
    logs = {}
    names = run.dataset.taxonomy.classes
    for name in ROWS:
        m = methods()[name]
        for fold in FOLDS:
            logs[m.answers[4], fold] = pd.read_csv(run.train_dir(m, fold) / "log.csv")
            for row, (row_run, metrics) in scores_of(run, m, fold).items():
                line = {
                    "row": row,
                    "fold": fold,
                    "epochs": row_run.profile.epochs_of(m),
                    "pflops": spent(row_run, m, fold),
                }
                lines.append(line | {k: 100 * v for k, v in summary(metrics).items()})
                for r in metrics[metrics.boxes > 0].itertuples():
                    per_class.append({
                        "row": row, "fold": fold, "class": names[int(r.cls)],
                        "boxes": int(r.boxes), "ap50": 100 * r.ap50,
                    })  # fmt: skip
    table = pd.DataFrame(lines)
    classes = pd.DataFrame(per_class)
    stamp = provenance.stamp(
        run,
        arch=ARCH,
        imgsz=IMGSZ,
        slice_px=p.slice_px,
        costs=p.costs,
        passes_of_stock=EPOCHS,
        ssl_part=SSL_PART,
        ssl_epochs=p.ssl_epochs,
        slice_sizes=json.loads(sizes.to_json(orient="records")),
    )
    for stem, frame in (("real_ablation", table), ("real_ablation_classes", classes)):
        with files.atomic_path(RESULTS / f"{stem}.csv") as temporary:
            frame.round(3).to_csv(temporary, index=False)
    files.write_json(RESULTS / "real_ablation.json", stamp)
    _plot(table, logs)
    by_row = table.groupby("row", sort=False)[["pflops", *METRICS]].agg(["mean", "std"])
    print(by_row.round(2).to_string())
    by_class = classes.pivot_table(index="class", columns="row", values="ap50", sort=False)
    print(by_class.round(1).to_string())


def scores_of(run: Run, m: Method, fold: int) -> dict[str, tuple[Run, pd.DataFrame]]:
    """The table's rows that belong to a method: by name, the run and the metrics of each class."""
    scores = {m.answers[4]: (run, steps.ensure_metrics(run, m, fold))}
    if not m.sliced:
        scores[INFERENCE_ONLY] = (run, on_slices(run, m, fold))
    if m.id == SAHI_ROW and fold == FOLDS[0]:
        short_run = shorter(run)
        scores[SHORTER] = (short_run, steps.ensure_metrics(short_run, m, fold))
    return scores


def spent(run: Run, m: Method, fold: int) -> float:
    """PFLOPs of a row's training.

    They are those of its passes, of the pass for the batch statistics, and of the autoencoder.
    """
    p: Any = run.profile
    images = len(run.dataset.train_images(fold, None))
    images *= SLICES_PER_FIELD if p.trains_on_slices(m) else 1
    # a forward pass alone, for the batch statistics, costs a third
    detector = images * (p.epochs_of(m) + 1 / 3) * p.costs[m.heads]
    if not m.ssl:
        return detector / 1e15
    unlabelled = len(run.dataset.unlabelled_images(fold, None))
    return (detector + unlabelled * p.ssl_epochs * p.costs["ssl"]) / 1e15


def _plot(table: pd.DataFrame, logs: dict[tuple[str, int], pd.DataFrame]) -> None:
    style.use()
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.6), width_ratios=(1.3, 1))
    rows = list(dict.fromkeys(table["row"]))
    colours = dict(zip(rows, list(style.OKABE_ITO.values()), strict=False))
    for i, row in enumerate(rows):
        part = table[table["row"] == row]
        left.barh(-i, part.map50.mean(), 0.7, color=colours[row], alpha=0.6)
        left.scatter(part.map50, [-i] * len(part), 8, color="black", zorder=3)
    left.set_yticks([-i for i in range(len(rows))], [_label(row) for row in rows])
    left.set_xlabel("mAP50 on held-out slides (%); a dot a fold")
    for (row, fold), log in logs.items():
        line = "-" if fold == FOLDS[0] else ":"
        right.plot(log.epoch / len(log), log.loss, color=colours[row], lw=0.9, ls=line)
    right.set(xlabel="part of the training", ylabel="training loss (sum over heads)")
    figure.suptitle(
        f"{ARCH}, {IMGSZ} px, UriSed2K, {len(FOLDS)} of 5 slide-grouped folds, equal computing",
        fontsize=6,
    )
    with files.atomic_path(RESULTS / "real_ablation.png") as temporary:
        figure.savefig(temporary, dpi=200)


def _label(row: str) -> str:
    """The published row's name, with the network that ran."""
    return row.replace("Our method", "The paper's method").replace("YOLOv12-M", "YOLO12-n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("choose")
    one = what.add_parser("fold")
    one.add_argument("fold", type=int, choices=FOLDS)
    one.add_argument("--rows", nargs="*", choices=ROWS)
    what.add_parser("tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()
