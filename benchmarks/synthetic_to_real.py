"""Is the synthetic OpenUrine worth anything on real fields? Two questions, one small detector, held-out real slides.

    python benchmarks/synthetic_to_real.py --data /path/to/urised2k --out runs/transfer

(a) trained on synthetic fields alone, what does it find on real ones? (b) With only 50 labelled real fields, is it
better to start from there than from scratch, at the same cost in real fields and steps? Three seeds, each with its own
50 fields.

The classes are those that both sets have (`openurine` in the real set's taxonomy file). The others' boxes are left out
of training; in scoring they are ground to be ignored: a detection that lies on one of them is neither right nor wrong.
The test slides are those of one fold whose slides nobody looked at while the simulator was made; nothing is chosen on
them. A class that no training field of the real set shows (yeast lies on one slide) counts in (a) alone: "mean" is
over all classes, "mean of trained" over those that the real training fields have. An interrupted call goes on where it
was.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from openurine_lib import files

os.environ.setdefault(
    "OPENURINE_THREADS", str(os.cpu_count() or 1)
)  # this trains one network at a time

import cv2
import joblib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

import synthurine
from openurine_lib import open_run, style
from openurine_lib.data.dataset import Dataset
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import corners, evaluate
from openurine_lib.experiments import provenance
from openurine_lib.experiments.methods import profile
from openurine_lib.inference import predict_fields
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from synthurine.fields import lay
from synthurine.laboratories import LABORATORIES

ARCH, IMGSZ, FEW, FOLD = "yolo12n", 416, 50, 4
# Read off training slides of the real set by eye: a red cell of 7.2 um is 26 px of 720, and its box leaves 5 px on
# each side.
REAL_UM, MARGIN_UM = 200, 1.4


def main() -> None:
    o = _options()
    run = open_run(str(o.data), "demo", 0)
    real, common = run.dataset, shared(run.dataset.taxonomy)
    test = real.test_images(FOLD, None)
    rows: list[dict[str, object]] = []

    images, boxes = (
        aimed(o.out / f"aimed-{o.fields}", o.fields, common) if o.aimed else proportional(o, common)
    )
    margin = (
        MARGIN_UM * IMGSZ / REAL_UM
    )  # the labels follow the real set's habit; the simulator's own are tight
    boxes[["x1", "y1"]] = (boxes[["x1", "y1"]] - margin).clip(0, IMGSZ)
    boxes[["x2", "y2"]] = (boxes[["x2", "y2"]] + margin).clip(0, IMGSZ)
    name = "aimed" if o.aimed else "synthetic"
    from_synthetic = fit(common, images, boxes, o.epochs, 0, o.out / f"a-{name}", None)
    rows += scored(f"{name} only", from_synthetic, real, test, common, seed=0)
    if o.aimed:
        _save(o, run, pd.DataFrame(rows), "synthetic_aimed")
        return

    pool = real.train_images(FOLD, None)
    for seed in range(o.seeds):
        few = pool.sample(FEW, random_state=seed).sort_values("image").reset_index(drop=True)
        boxes = _in_common(real.boxes_of(few), real.taxonomy, common)
        for start, weights in (("scratch", None), ("synthetic", from_synthetic)):
            out = o.out / f"b-{start}-seed{seed}"
            weights = fit(common, few, boxes, o.fine_epochs, seed, out, weights)
            rows += scored(f"{FEW} real fields, from {start}", weights, real, test, common, seed)
            table = pd.DataFrame(rows)
            _save(o, run, table)
    means = (
        table[table["class"].str.startswith("mean")]
        .groupby(["class", "trained on"])
        .ap50.agg(["mean", "std", "count"])
    )
    _plot(o, table)
    print(
        table.pivot_table(index="class", columns="trained on", values="ap50", sort=False)
        .round(3)
        .to_string()
    )
    print(means.round(3).to_string())


def proportional(o: argparse.Namespace, common: Taxonomy) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fields in Table 2's proportions, as ``openurine synthesize`` draws them; the boxes of shared classes."""
    spec = {"fields": o.fields, "unlabelled": 0, "cohort": 0, "patients": max(1, o.fields // 5),
            "field_px": IMGSZ, "field_um": REAL_UM}  # fmt: skip
    d = open_run(str(synthurine.write(o.out / f"synthetic-{o.fields}", spec, 0)), "demo", 0).dataset
    images = d.images[d.images.split == "labelled"].reset_index(drop=True)
    return images, _in_common(d.boxes, d.taxonomy, common)


def aimed(folder: Path, n: int, common: Taxonomy) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fields that show the shared classes about equally often, and now and then something else, without a box."""
    folder.mkdir(parents=True, exist_ok=True)
    done = joblib.Parallel(os.cpu_count())(
        joblib.delayed(_aimed_field)(folder, i, common) for i in range(n)
    )
    images = pd.DataFrame([(path.stem, str(path), IMGSZ, IMGSZ) for path, _ in done])
    images.columns = ["image", "path", "width", "height"]
    rows = [(path.stem, *box) for path, boxes in done for box in boxes]
    return images, pd.DataFrame(rows, columns=["image", "cls", "x1", "y1", "x2", "y2"])


def _aimed_field(folder: Path, i: int, common: Taxonomy) -> tuple[Path, list[tuple[float, ...]]]:
    rng = np.random.default_rng([0, i])
    names: list[str] = []
    for name in common.aliases:
        many = 12 if name == "RBC" else 4
        names += [name] * int(rng.poisson(many) if rng.random() < 0.4 else 0)
    for name in (
        "Bacteria",
        "Mucus",
        "Artifact",
        "Hyaline cast",
        "Amorphous",
        "Fat droplets",
        "WBC clump",
    ):
        names += [name] * int(rng.poisson(2) if rng.random() < 0.12 else 0)
    lab = LABORATORIES[i % len(LABORATORIES)]
    image, boxes = lay(names, IMGSZ, REAL_UM / IMGSZ, lab, rng)
    cv2.imwrite(
        str(path := folder / f"{i:05d}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, lab.jpeg]
    )
    return path, [(common.id(name), *box) for name, *box in boxes if common.knows(name)]


def shared(taxonomy: Taxonomy) -> Taxonomy:
    """The classes that the real set shares with OpenUrine, under the real set's names, in one head."""
    names = tuple(taxonomy.classes[c] for c in sorted(taxonomy.openurine))
    aliases = {
        other: taxonomy.classes[c] for c in taxonomy.openurine for other in taxonomy.openurine[c]
    }
    return Taxonomy("shared", names, {"Cells": tuple(range(len(names)))}, aliases, {})


def _in_common(boxes: pd.DataFrame, own: Taxonomy, common: Taxonomy) -> pd.DataFrame:
    """The boxes of shared classes, with their ids in ``common``, which knows them by both sets' names."""
    to = {i: common.id(name) for i, name in enumerate(own.classes) if common.knows(name)}
    kept = boxes[boxes.cls.isin(to)]
    return kept.assign(cls=kept.cls.map(to)).reset_index(drop=True)


def fit(
    common: Taxonomy,
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    epochs: int,
    seed: int,
    out: Path,
    start: Path | None,
) -> Path:
    """Trains, or returns what is there."""
    settings = profile("demo").settings | {
        "batch": 16,
        "nbs": 16,
        "close_mosaic": max(2, epochs // 10),
    }
    job = TrainJob(
        ARCH, common, "single", IMGSZ, images, boxes, epochs, settings, seed, out, "cpu", start
    )
    return out / "weights.pt" if (out / "weights.pt").exists() else engine("ultralytics").fit(job)


def scored(
    what: str, weights: Path, real: Dataset, test: pd.DataFrame, common: Taxonomy, seed: int
) -> list[dict[str, object]]:
    """A row a class with true boxes, and their mean."""
    detector = engine("ultralytics").detector(weights, 0.001, "cpu", IMGSZ)
    found = predict_fields(detector, test, None, 0.0, weights.with_name("predictions.csv"))
    truth = real.boxes_of(test)
    wanted = _in_common(truth, real.taxonomy, common)
    others = truth[~truth.cls.isin(list(real.taxonomy.openurine))]
    metrics = evaluate(wanted, without_ignored(found, wanted, others), common.n, list(test.image))
    metrics = metrics[metrics.boxes > 0]
    rows = [
        {"class": common.classes[int(r.cls)], "boxes": int(r.boxes), "ap50": r.ap50}
        for r in metrics.itertuples()
    ]
    trained = set(
        _in_common(real.boxes_of(real.train_images(FOLD, None)), real.taxonomy, common).cls
    )
    for name, part in (("mean", metrics), ("mean of trained", metrics[metrics.cls.isin(trained)])):
        rows.append({"class": name, "boxes": int(part.boxes.sum()), "ap50": part.ap50.mean()})
    print(what, seed, {r["class"]: round(float(r["ap50"]), 3) for r in rows}, flush=True)
    return [{"trained on": what, "seed": seed} | r for r in rows]


def without_ignored(
    found: pd.DataFrame, wanted: pd.DataFrame, others: pd.DataFrame
) -> pd.DataFrame:
    """Detections without those that overlap a box to be ignored by IoU 0.5 and overlap every wanted box less."""
    from torchvision.ops import box_iou

    keep = np.ones(len(found), bool)
    found = found.reset_index(drop=True)
    for image, part in found.groupby("image"):
        ignored = others[others.image == image]
        if ignored.empty:
            continue
        here = corners(part)
        on_ignored = box_iou(here, corners(ignored)).max(1).values
        rest = wanted[wanted.image == image]
        on_wanted = box_iou(here, corners(rest)).max(1).values if len(rest) else 0 * on_ignored
        keep[part.index] = ~((on_ignored >= 0.5) & (on_wanted < on_ignored)).numpy()
    return found[keep]


def _save(
    o: argparse.Namespace, run: object, table: pd.DataFrame, stem: str = "synthetic_to_real"
) -> None:
    with files.atomic_path(o.out / f"{stem}.csv") as temporary:
        table.round(4).to_csv(temporary, index=False)
    stamp = provenance.stamp(run, simulator=synthurine.SIMULATOR, arch=ARCH, imgsz=IMGSZ, synthetic_fields=o.fields,
                             epochs=o.epochs, real_fields=FEW, fine_epochs=o.fine_epochs)  # type: ignore[arg-type] # fmt: skip
    files.write_json(o.out / f"{stem}.json", stamp)


def _plot(o: argparse.Namespace, table: pd.DataFrame) -> None:
    """AP50 of each class, a dot a seed; and the training losses."""
    style.use()
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.6))
    colours = ("0.55", style.OKABE_ITO["vermillion"], style.OKABE_ITO["blue"])
    names = list(dict.fromkeys(table["class"]))
    for i, (what, colour) in enumerate(
        zip(dict.fromkeys(table["trained on"]), colours, strict=True)
    ):
        part = table[table["trained on"] == what]
        at = np.arange(len(names)) + 0.26 * (i - 1)
        left.bar(
            at,
            part.groupby("class").ap50.mean().reindex(names),
            0.24,
            color=colour,
            alpha=0.6,
            label=what,
        )
        left.scatter(
            part["class"].map(dict(zip(names, at, strict=True))), part.ap50, 5, color=colour
        )
    left.set_xticks(range(len(names)), names, rotation=30, ha="right")
    left.set_ylabel("AP50 on held-out real slides")
    left.legend()
    for start, colour in zip(("scratch", "synthetic"), colours[1:], strict=True):
        for seed in range(o.seeds):
            log = pd.read_csv(o.out / f"b-{start}-seed{seed}" / "log.csv")
            right.plot(
                log.epoch,
                log.loss,
                color=colour,
                lw=0.8,
                label=f"from {start}" if seed == 0 else None,
            )
    right.set(xlabel=f"pass over {FEW} real fields", ylabel="training loss")
    right.legend()
    figure.suptitle(
        f"{ARCH}, {IMGSZ} px; real: UriSed2K, one fold; {o.fields} synthetic fields, {o.epochs} passes",
        fontsize=6,
    )
    with files.atomic_path(o.out / "synthetic_to_real.png") as temporary:
        figure.savefig(temporary, dpi=200)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--fields", type=int, default=1600, help="synthetic fields (%(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=8, help="on the synthetic fields (%(default)s)"
    )
    parser.add_argument(
        "--fine-epochs", type=int, default=60, help="on the real fields (%(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--aimed",
        action="store_true",
        help="question (a) with fields that show the shared classes more",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
