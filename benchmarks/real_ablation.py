"""The ablation rows of Table 4 on real fields: yolo12n at 320 px, slide-grouped folds, the same computing for each row.

    python benchmarks/real_ablation.py --data /path/to/urised2k choose       # the slice size, on training slides
    python benchmarks/real_ablation.py --data /path/to/urised2k fold 0       # trains and scores every row of a fold
    python benchmarks/real_ablation.py --data /path/to/urised2k tables       # docs/results/real_ablation.*

Equal computing: a training may spend what the stock row spends in ``EPOCHS`` passes over whole fields, in FLOPs of
its forward and backward passes, counted by torch. A slice costs what a field does (both are shown at 320 px), six
heads make a pass dearer, and the autoencoder's own training is paid from the same purse. Every row that is trained on
slices draws from the same slices, two a field. ``+ SAHI, inference only`` is the stock row's network on slices, as
the paper has it: it costs no training. ``+ SAHI, as long as after pretraining`` has the passes that the pretrained
row has left, from scratch, on the first fold: what the pretraining itself does, its price aside.

The slice size is chosen with folds 2 to 4 alone: trained on 3 and 4, scored on 2. The rows are scored on folds 0 and
1. Everything is kept; an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openurine_lib import files
from openurine_lib.model import autoencoder

os.environ.setdefault(
    "OPENURINE_THREADS", str(os.cpu_count() or 1)
)  # one training at a time, unless told otherwise

import pandas as pd
import torch
from matplotlib import pyplot as plt
from pairs import RESULTS
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.utils import DEFAULT_CFG

from openurine_lib import style
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import METRICS, evaluate, summary
from openurine_lib.experiments import provenance, steps
from openurine_lib.experiments.methods import Method, Profile, methods, profile
from openurine_lib.experiments.run import Run
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.model.build import build_model
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.slices import slices_of

ARCH, IMGSZ, BATCH, EPOCHS = "yolo12n", 320, 8, 12
SSL_PART = 1 / 3  # of a row's computing, where it pretrains
SLICES_PER_FIELD = 2
SIZES = [256, 352, 480]  # pixels of the original; 256 of 720 is the paper's 640 of 1800
FOLDS, TUNING_FOLD, TUNING_EPOCHS = (0, 1), 2, 2
SAHI_ROW = "yolo12m-sahi"
ROWS = ["yolo12m", SAHI_ROW, "yolo12m-sahi-ssl", "yolo12m-sahi-multi", "ours-yolo12m"]
INFERENCE_ONLY = "YOLOv12-M + SAHI, inference only"
SHORTER = "YOLOv12-M + SAHI, as long as after pretraining"


@dataclass(frozen=True)
class WithSlices(Profile):
    """A profile whose slices have a size of their own, pixels of the original."""

    slice_px: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        s = Profile.settings.fget(self)  # type: ignore[attr-defined]
        return s | {"sahi": s["sahi"] | {"slice": self.slice_px}}


def small(name: str, folds: tuple[int, ...], epochs: int, slice_px: int = 0) -> WithSlices:
    """The demo profile's networks at IMGSZ, on all fields of these folds, every row with the same passes."""
    demo = profile("demo")
    return WithSlices(**vars(demo) | {
        "name": name, "about": "", "px_scale": IMGSZ / 960, "folds": list(folds), "max_train_fields": None,
        "max_test_fields": None, "max_unlabelled_fields": None, "epochs": epochs, "epochs_for": {},
        "slices_per_field": SLICES_PER_FIELD, "slice_px": slice_px,
        "train": demo.train | {"batch": BATCH, "nbs": BATCH, "close_mosaic": 1},
    })  # fmt: skip


@dataclass(frozen=True)
class EqualComputing(WithSlices):
    """A profile whose epochs follow from what a pass costs."""

    costs: dict[str, float] = field(
        default_factory=dict
    )  # FLOPs of a training step, an image: single, multi, ssl
    part: float = 1.0  # of the computing

    def epochs_of(self, m: Method) -> int:
        part = 1 - SSL_PART if m.ssl else self.part
        passes = EPOCHS / (SLICES_PER_FIELD if self.trains_on_slices(m) else 1)
        return max(1, round(part * passes * self.costs["single"] / self.costs[m.heads]))


def main() -> None:
    o = _options()
    first = Run(str(o.data.resolve()), small("real-ablation", FOLDS, EPOCHS))
    if o.what == "choose":
        choose(first, o.seed)
        return
    chosen = first.dir / "slice_size.csv"
    if not chosen.exists():
        raise SystemExit(f"error: {chosen} is missing; choose the slice size first")
    sizes = pd.read_csv(chosen)
    run = budgeted(first, int(sizes.loc[sizes.map50.idxmax(), "slice_px"]))
    if o.what == "tables":
        tables(run, sizes)
        return
    if not o.rows:
        print(
            SHORTER,
            "fold",
            o.fold,
            summary(steps.ensure_metrics(shorter(run), methods()[SAHI_ROW], o.fold)),
            flush=True,
        )
    for name in o.rows or ROWS:
        m = methods()[name]
        print(name, "fold", o.fold, summary(steps.ensure_metrics(run, m, o.fold)), flush=True)
        if not m.sliced:
            print(INFERENCE_ONLY, "fold", o.fold, summary(on_slices(run, m, o.fold)), flush=True)


def budgeted(run: Run, slice_px: int) -> Run:
    """The run with its epochs by what a pass costs."""
    costs = flops(run.dataset.taxonomy)
    fields = len(run.dataset.train_images(FOLDS[0], None))
    unlabelled = len(run.dataset.unlabelled_images(FOLDS[0], None))
    ssl_epochs = max(
        1, round(SSL_PART * EPOCHS * fields * costs["single"] / (unlabelled * costs["ssl"]))
    )
    given = vars(run.profile) | {"ssl_epochs": ssl_epochs, "slice_px": slice_px}
    return Run(run.data, EqualComputing(**given, costs=costs), run.seed)


def shorter(run: Run) -> Run:
    """The same with the detector's part of the computing alone, for the row without pretraining."""
    p: Any = run.profile
    return Run(run.data, replace(p, name=f"{p.name}-shorter", part=1 - SSL_PART), run.seed)


def flops(taxonomy: Taxonomy) -> dict[str, float]:
    """FLOPs of one image's forward and backward pass, by torch's count: the detector with one head and with all; the
    autoencoder. float32, so that what is counted does not depend on the processor."""
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
    network = autoencoder.Autoencoder(ARCH).train()
    with FlopCounterMode(display=False) as count:
        sum(
            autoencoder.reconstruction_loss(
                network(x.expand(2, -1, -1, -1)), x.expand(2, -1, -1, -1)
            )
        ).backward()  # type: ignore[union-attr]
    return costs | {"ssl": count.get_total_flops() / 2}


def choose(run: Run, seed: int) -> None:
    """mAP50 on fold 2 of a detector trained on folds 3 and 4, for each slice size, at the same number of passes."""
    data, rows = run.dataset, []
    folds = data.images.set_index("image").fold.astype(int)
    everything = data.train_images(FOLDS[0], None)
    part = everything.image.map(folds)
    train = everything[~part.isin([*FOLDS, TUNING_FOLD])].reset_index(drop=True)
    held_out = everything[part == TUNING_FOLD].reset_index(drop=True)
    for size in SIZES:
        out = run.dir / f"choose-{size}"
        images, boxes = slices_of(
            train, data.boxes_of(train), size, SLICES_PER_FIELD, seed, out / "slices"
        )
        settings = run.profile.settings
        job = TrainJob(
            ARCH,
            data.taxonomy,
            "single",
            IMGSZ,
            images,
            boxes,
            TUNING_EPOCHS,
            settings,
            seed,
            out,
            "cpu",
        )
        weights = out / "weights.pt"
        if not weights.exists():
            engine("ultralytics").fit(job)
        detector = engine("ultralytics").detector(weights, CONFIDENCE, "cpu", IMGSZ)
        found = predict_fields(
            detector, held_out, size, settings["sahi"]["overlap"], out / "predictions.csv"
        )
        scores = summary(
            evaluate(data.boxes_of(held_out), found, data.taxonomy.n, list(held_out.image))
        )
        rows.append(
            {"slice_px": size, "fields": len(held_out), "passes": TUNING_EPOCHS * len(images)}
            | scores
        )
        print(rows[-1], flush=True)
    with files.atomic_path(run.dir / "slice_size.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def on_slices(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Metrics of a network that was trained on whole fields, on slices."""
    out = run.predict_dir(m, fold).with_name(run.predict_dir(m, fold).name + "-on-slices")
    sahi, images = run.profile.settings["sahi"], run.dataset.test_images(fold, None)
    detector = engine(m.engine).detector(
        steps.ensure_weights(run, m, fold), CONFIDENCE, "cpu", IMGSZ
    )
    place = out.parent / f"{out.name}-fold{fold}.csv"
    found = predict_fields(detector, images, sahi["slice"], sahi["overlap"], place)
    return evaluate(run.dataset.boxes_of(images), found, run.dataset.taxonomy.n, list(images.image))


def tables(run: Run, sizes: pd.DataFrame) -> None:
    """What every fold gave, its mean and deviation, and the curves."""
    lines, per_class, logs = [], [], {}
    names = run.dataset.taxonomy.classes
    for name in ROWS:
        m = methods()[name]
        label = m.answers[4]
        for fold in FOLDS:
            logs[label, fold] = pd.read_csv(run.train_dir(m, fold) / "log.csv")
            parts = {label: (run, steps.ensure_metrics(run, m, fold))}
            if not m.sliced:
                parts[INFERENCE_ONLY] = run, on_slices(run, m, fold)
            if name == SAHI_ROW and fold == FOLDS[0]:
                parts[SHORTER] = shorter(run), steps.ensure_metrics(shorter(run), m, fold)
            for row, (r, metrics) in parts.items():
                what = {
                    "row": row,
                    "fold": fold,
                    "epochs": r.profile.epochs_of(m),
                    "pflops": spent(r, m, fold),
                }
                lines.append(what | {k: 100 * v for k, v in summary(metrics).items()})
                per_class += [{"row": row, "fold": fold, "class": names[int(r.cls)], "boxes": int(r.boxes),
                               "ap50": 100 * r.ap50} for r in metrics[metrics.boxes > 0].itertuples()]  # fmt: skip
    table = pd.DataFrame(lines)
    stamp = provenance.stamp(run, arch=ARCH, imgsz=IMGSZ, slice_px=run.profile.slice_px, costs=run.profile.costs,  # type: ignore[attr-defined]
                             passes_of_stock=EPOCHS, ssl_part=SSL_PART, ssl_epochs=run.profile.ssl_epochs,
                             slice_sizes=json.loads(sizes.to_json(orient="records")))  # fmt: skip
    for stem, frame in (
        ("real_ablation", table),
        ("real_ablation_classes", pd.DataFrame(per_class)),
    ):
        with files.atomic_path(RESULTS / f"{stem}.csv") as temporary:
            frame.round(3).to_csv(temporary, index=False)
    files.write_json(RESULTS / "real_ablation.json", stamp)
    _plot(table, logs)
    shown = table.groupby("row", sort=False)[["pflops", *METRICS]].agg(["mean", "std"])
    print(shown.round(2).to_string())
    print(
        pd.DataFrame(per_class)
        .pivot_table(index="class", columns="row", values="ap50", sort=False)
        .round(1)
        .to_string()
    )


def spent(run: Run, m: Method, fold: int) -> float:
    """PFLOPs of a row's training: its passes, the pass for the batch statistics, and the autoencoder's."""
    p: Any = run.profile
    fields = len(run.dataset.train_images(fold, None)) * (
        SLICES_PER_FIELD if p.trains_on_slices(m) else 1
    )
    detector = fields * (p.epochs_of(m) + 1 / 3) * p.costs[m.heads]
    encoder = (
        len(run.dataset.unlabelled_images(fold, None)) * p.ssl_epochs * p.costs["ssl"]
        if m.ssl
        else 0.0
    )
    return (detector + encoder) / 1e15


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
        right.plot(
            log.epoch / len(log),
            log.loss,
            color=colours[row],
            lw=0.9,
            ls="-" if fold == FOLDS[0] else ":",
        )
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
