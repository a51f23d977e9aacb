"""Is the synthetic OpenUrine worth anything on real fields? A test with one small detector.

    python benchmarks/synthetic_to_real.py --data /path/to/urised2k --out runs/transfer

Two questions:

(a) What does a detector that trained on synthetic fields alone find on real ones?
(b) With only 50 labelled real fields, is it better to start from that detector than from scratch,
    at the same cost in real fields and steps? Three seeds, each with its own 50 fields.

The classes are those that both sets have (`openurine` in the real set's taxonomy file). The boxes
of other classes are left out of training. In scoring they are ignored: a detection that lies on
one of them is neither right nor wrong.

The test slides are those of one fold, held out from training. Nobody looked at them while the
simulator was made, and nothing is chosen on them. One class (yeast) lies on one slide, so no
training field of the real set shows it, and it counts in (a) alone: "mean" is over all classes,
"mean of trained" over those that the real training fields have. An interrupted call goes on where
it was.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

# one training runs at a time, so it gets all cores unless the user says otherwise
os.environ.setdefault("OPENURINE_THREADS", str(os.cpu_count() or 1))

import cv2
import joblib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

import synthurine
from openurine_lib import files, open_run, style
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.dataset import BOX_COLUMNS, Dataset
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import corners, evaluate
from openurine_lib.experiments import provenance
from openurine_lib.experiments.methods import profile
from openurine_lib.experiments.run import Run
from openurine_lib.inference import predict_fields
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from synthurine.fields import lay
from synthurine.laboratories import LABORATORIES

ARCH = "yolo12n"
IMGSZ = 416
FEW = 50  # labelled real fields
FOLD = 4
# Both are read off training slides of the real set by eye: a red cell of 7.2 um is 26 px of 720,
# and its box leaves 5 px on each side.
REAL_UM = 200  # width of a field
MARGIN_UM = 1.4
# what lies on an aimed field now and then, without a box
STRAY = ["Bacteria", "Mucus", "Artifact", "Hyaline cast", "Amorphous", "Fat droplets", "WBC clump"]


def main() -> None:
    options = _options()
    run = open_run(str(options.data), "demo", 0)
    real = run.dataset
    common = shared(real.taxonomy)
    test = real.test_images(FOLD, None)

    if options.aimed:
        folder = options.out / f"aimed-{options.fields}"
        images, boxes = aimed(folder, options.fields, common)
    else:
        images, boxes = proportional(options, common)
    # the labels follow the real set's habit; the simulator's own are tight
    margin = MARGIN_UM * IMGSZ / REAL_UM
    boxes[XYXY[:2]] = (boxes[XYXY[:2]] - margin).clip(0, IMGSZ)
    boxes[XYXY[2:]] = (boxes[XYXY[2:]] + margin).clip(0, IMGSZ)
    name = "aimed" if options.aimed else "synthetic"
    from_synthetic = fit(common, images, boxes, options.epochs, 0, options.out / f"a-{name}", None)
    rows = scored(f"{name} only", from_synthetic, real, test, common, seed=0)
    if options.aimed:
        _save(options, run, pd.DataFrame(rows), "synthetic_aimed")
        return

    pool = real.train_images(FOLD, None)
    for seed in range(options.seeds):
        few = pool.sample(FEW, random_state=seed).sort_values("image").reset_index(drop=True)
        boxes = _in_common(real.boxes_of(few), real.taxonomy, common)
        for start, first_weights in (("scratch", None), ("synthetic", from_synthetic)):
            out = options.out / f"b-{start}-seed{seed}"
            weights = fit(common, few, boxes, options.fine_epochs, seed, out, first_weights)
            rows += scored(f"{FEW} real fields, from {start}", weights, real, test, common, seed)
            table = pd.DataFrame(rows)
            _save(options, run, table)
    _plot(options, table)
    by_class = table.pivot_table(index="class", columns="trained on", values="ap50", sort=False)
    print(by_class.round(3).to_string())
    means = table[table["class"].str.startswith("mean")].groupby(["class", "trained on"])
    print(means.ap50.agg(["mean", "std", "count"]).round(3).to_string())


def proportional(
    options: argparse.Namespace, common: Taxonomy
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fields in Table 2's proportions, as ``openurine synthesize`` draws them.

    The boxes are those of the shared classes.
    """
    spec = {
        "fields": options.fields,
        "unlabelled": 0,
        "cohort": 0,
        "patients": max(1, options.fields // 5),
        "field_px": IMGSZ,
        "field_um": REAL_UM,
    }
    folder = synthurine.write(options.out / f"synthetic-{options.fields}", spec, 0)
    drawn = open_run(str(folder), "demo", 0).dataset
    images = drawn.images[drawn.images.split == "labelled"].reset_index(drop=True)
    return images, _in_common(drawn.boxes, drawn.taxonomy, common)


def aimed(folder: Path, n: int, common: Taxonomy) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fields that show the shared classes about equally often.

    Now and then they show something else, too, without a box.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = joblib.Parallel(os.cpu_count())(
        joblib.delayed(_aimed_field)(folder, i, common) for i in range(n)
    )
    images = pd.DataFrame([(path.stem, str(path), IMGSZ, IMGSZ) for path, _ in done])
    images.columns = ["image", "path", "width", "height"]
    rows = [(path.stem, *box) for path, boxes in done for box in boxes]
    return images, pd.DataFrame(rows, columns=BOX_COLUMNS)


def _aimed_field(folder: Path, i: int, common: Taxonomy) -> tuple[Path, list[tuple[float, ...]]]:
    rng = np.random.default_rng([0, i])
    names: list[str] = []
    for name in common.aliases:
        many = 12 if name == "RBC" else 4
        names += [name] * int(rng.poisson(many) if rng.random() < 0.4 else 0)
    for name in STRAY:
        names += [name] * int(rng.poisson(2) if rng.random() < 0.12 else 0)
    lab = LABORATORIES[i % len(LABORATORIES)]
    image, boxes = lay(names, IMGSZ, REAL_UM / IMGSZ, lab, rng)
    path = folder / f"{i:05d}.jpg"
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, lab.jpeg])
    return path, [(common.id(name), *box) for name, *box in boxes if common.knows(name)]


def shared(taxonomy: Taxonomy) -> Taxonomy:
    """The classes that both sets have, in one head.

    They have the real set's names; OpenUrine's are aliases.
    """
    names = tuple(taxonomy.classes[c] for c in sorted(taxonomy.openurine))
    aliases = {
        other: taxonomy.classes[c] for c in taxonomy.openurine for other in taxonomy.openurine[c]
    }
    return Taxonomy("shared", names, {"Cells": tuple(range(len(names)))}, aliases, {})


def _in_common(boxes: pd.DataFrame, taxonomy: Taxonomy, common: Taxonomy) -> pd.DataFrame:
    """The boxes of shared classes, with their ids in ``common`` instead of ``taxonomy``.

    ``common`` knows the classes by both sets' names.
    """
    new_ids = {i: common.id(name) for i, name in enumerate(taxonomy.classes) if common.knows(name)}
    of_shared = boxes[boxes.cls.isin(new_ids)]
    return of_shared.assign(cls=of_shared.cls.map(new_ids)).reset_index(drop=True)


def fit(
    common: Taxonomy,
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    epochs: int,
    seed: int,
    out: Path,
    start: Path | None,
) -> Path:
    """Trains from the weights ``start`` or from scratch, or returns the weights that are there."""
    if (out / "weights.pt").exists():
        return out / "weights.pt"
    changes = {"batch": 16, "nbs": 16, "close_mosaic": max(2, epochs // 10)}
    job = TrainJob(
        arch=ARCH,
        taxonomy=common,
        heads="single",
        imgsz=IMGSZ,
        images=images,
        boxes=boxes,
        epochs=epochs,
        settings=profile("demo").settings | changes,
        seed=seed,
        dir=out,
        device="cpu",
        encoder=start,
    )
    return engine("ultralytics").fit(job)


def scored(
    what: str, weights: Path, real: Dataset, test: pd.DataFrame, common: Taxonomy, seed: int
) -> list[dict[str, Any]]:
    """A row for each class with true boxes, and for their means."""
    detector = engine("ultralytics").detector(weights, 0.001, "cpu", IMGSZ)
    found = predict_fields(detector, test, None, 0.0, weights.with_name("predictions.csv"))
    truth = real.boxes_of(test)
    wanted = _in_common(truth, real.taxonomy, common)
    others = truth[~truth.cls.isin(list(real.taxonomy.openurine))]
    metrics = evaluate(wanted, without_ignored(found, wanted, others), common.n, list(test.image))
    metrics = metrics[metrics.boxes > 0]
    rows: list[dict[str, Any]] = [
        {"class": common.classes[int(r.cls)], "boxes": int(r.boxes), "ap50": r.ap50}
        for r in metrics.itertuples()
    ]
    in_training = real.boxes_of(real.train_images(FOLD, None))
    trained = set(_in_common(in_training, real.taxonomy, common).cls)
    for name, part in (("mean", metrics), ("mean of trained", metrics[metrics.cls.isin(trained)])):
        rows.append({"class": name, "boxes": int(part.boxes.sum()), "ap50": part.ap50.mean()})
    print(what, seed, {r["class"]: round(float(r["ap50"]), 3) for r in rows}, flush=True)
    return [{"trained on": what, "seed": seed} | r for r in rows]


def without_ignored(
    found: pd.DataFrame, wanted: pd.DataFrame, others: pd.DataFrame
) -> pd.DataFrame:
    """Detections without those that lie on a box to be ignored.

    Such a detection overlaps that box by an IoU of 0.5 at least, and every wanted box by less.
    """
    from torchvision.ops import box_iou

    keep = np.ones(len(found), bool)
    found = found.reset_index(drop=True)
    for image, part in found.groupby("image"):
        ignored = others[others.image == image]
        if ignored.empty:
            continue
        detected = corners(part)
        on_ignored = box_iou(detected, corners(ignored)).max(1).values
        rest = wanted[wanted.image == image]
        on_wanted = box_iou(detected, corners(rest)).max(1).values if len(rest) else 0 * on_ignored
        keep[part.index] = ~((on_ignored >= 0.5) & (on_wanted < on_ignored)).numpy()
    return found[keep]


def _save(
    options: argparse.Namespace, run: Run, table: pd.DataFrame, stem: str = "synthetic_to_real"
) -> None:
    with files.atomic_path(options.out / f"{stem}.csv") as temporary:
        table.round(4).to_csv(temporary, index=False)
    stamp = provenance.stamp(
        run,
        simulator=synthurine.SIMULATOR,
        arch=ARCH,
        imgsz=IMGSZ,
        synthetic_fields=options.fields,
        epochs=options.epochs,
        real_fields=FEW,
        fine_epochs=options.fine_epochs,
    )
    files.write_json(options.out / f"{stem}.json", stamp)


def _plot(options: argparse.Namespace, table: pd.DataFrame) -> None:
    """AP50 of each class, a dot a seed; and the training losses."""
    style.use()
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.PAGE, 2.6))
    colours = ("0.55", style.OKABE_ITO["vermillion"], style.OKABE_ITO["blue"])
    names = list(dict.fromkeys(table["class"]))
    trainings = dict.fromkeys(table["trained on"])
    for i, (what, colour) in enumerate(zip(trainings, colours, strict=True)):
        part = table[table["trained on"] == what]
        at = np.arange(len(names)) + 0.26 * (i - 1)
        means = part.groupby("class").ap50.mean().reindex(names)
        left.bar(at, means, 0.24, color=colour, alpha=0.6, label=what)
        dots = part["class"].map(dict(zip(names, at, strict=True)))
        left.scatter(dots, part.ap50, 5, color=colour)
    left.set_xticks(range(len(names)), names, rotation=30, ha="right")
    left.set_ylabel("AP50 on held-out real slides")
    left.legend()
    for start, colour in zip(("scratch", "synthetic"), colours[1:], strict=True):
        for seed in range(options.seeds):
            log = pd.read_csv(options.out / f"b-{start}-seed{seed}" / "log.csv")
            label = f"from {start}" if seed == 0 else None
            right.plot(log.epoch, log.loss, color=colour, lw=0.8, label=label)
    right.set(xlabel=f"pass over {FEW} real fields", ylabel="training loss")
    right.legend()
    synthetic = f"{options.fields} synthetic fields, {options.epochs} passes"
    figure.suptitle(f"{ARCH}, {IMGSZ} px; real: UriSed2K, one fold; {synthetic}", fontsize=6)
    with files.atomic_path(options.out / "synthetic_to_real.png") as temporary:
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
