"""What are a laboratory's labels worth? The detector of the project as it is, adapted without a
label, and trained further on the labelled fields of a few slides or of many.

    python benchmarks/labels.py /path/to/fields                      # docs/results/labels.csv
    python benchmarks/labels.py /path/to/fields --slides 10          # this line of it alone
    python benchmarks/labels.py /path/to/fields --slides 50 --each 1 # one field of each slide
    python benchmarks/labels.py /path/to/fields --slides --looks 2   # no slide; two looks a field

The training part of a fold plays the laboratory. ``openurine adapt`` sees its fields without boxes,
``openurine finetune`` those of some of its slides (or patients) with boxes, all fields of a slide
or a few of each; both with their defaults. Each detector is scored once on the fold's test part,
which none of them has seen. What is finished is kept in runs/<run>/labels, and a call that was
interrupted goes on.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openurine_lib import default_weights, open_run
from openurine_lib.clinical import validation
from openurine_lib.clinical.drawn_to_real import MEAN, found_by, scores, with_usual_room
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.experiments.run import Run
from openurine_lib.files import PACKAGE, atomic_path
from openurine_lib.laboratory.adapting import adapt
from openurine_lib.laboratory.finetuning import finetune
from openurine_lib.training.weights import read_weights, taxonomy_of

SLIDES = (5, 10, 20, 0)  # finetune holds one of five parts out, so five is the least
RESULTS = PACKAGE.parent / "docs" / "results" / "labels.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", help="labelled fields, as for make reproduce DATA=")
    parser.add_argument(
        "--slides", type=int, nargs="*", default=SLIDES, help="labelled ones; 0: all (%(default)s)"
    )
    parser.add_argument("--each", type=int, default=0, help="fields of a slide at most; 0: all")
    parser.add_argument("--adapt", action="store_true", help="adapt first, and start from that")
    parser.add_argument("--fold", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the slides and of the training")
    parser.add_argument("--looks", type=int, choices=(1, 2), help="at each field that is scored")
    options = parser.parse_args()
    run = open_run(options.data, "study")
    base, known = default_weights.path(), "as it comes"
    if options.adapt:
        base, known = adapted(run, base, options.fold, options.seed), "adapted"
    which = {"fold": options.fold, "seed": options.seed}
    lines = [{"start": known, "slides": 0, "fields": 0, **which, **scored(run, base, options)}]
    for slides in options.slides:
        fields = labelled(run, slides, options)
        each = f"x{options.each}" if options.each else ""
        name = f"{known.replace(' ', '-')}-{slides}{each}-fold{options.fold}-seed{options.seed}"
        out = run.dir / "labels" / name
        tuned = finetune(subset(run, fields, out / "fields"), out / "finetuned", base, options.seed)
        shown = {"slides": fields["group"].nunique(), "fields": len(fields)}
        scores_there = scored(run, tuned.weights, options)
        lines.append({"start": known, **shown, **which, **scores_there})
    print(keep(lines).to_string(index=False))


def adapted(run: Run, base: Path, fold: int, seed: int) -> Path:
    """The detector after ``openurine adapt`` on the training part's fields, without their boxes."""
    fields = list(run.dataset.train_images(fold)["path"])
    out = run.dir / "labels" / f"adapted-fold{fold}-seed{seed}"
    return adapt(fields, out, base, seed).weights


def labelled(run: Run, slides: int, options: argparse.Namespace) -> pd.DataFrame:
    """The training part's fields of so many slides, and so many of each, drawn at random; 0: all.

    Slides with fewer fields than ``options.each`` give those that they have.
    """
    each, seed = options.each, options.seed
    fields = run.dataset.train_images(options.fold)
    if slides:
        groups = np.random.default_rng(seed).permutation(sorted(fields["group"].unique()))
        fields = fields[fields["group"].isin(groups[:slides])]
    if each:
        mixed = fields.sample(frac=1, random_state=seed)
        fields = mixed.groupby("group").head(each).sort_index()
    return fields


def subset(run: Run, fields: pd.DataFrame, folder: Path) -> Path:
    """A data set of these fields alone, in CSV form; the images are links."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = {f.image: Path(f.path).name for f in fields.itertuples()}
    for f in fields.itertuples():
        link = folder / "images" / names[f.image]
        if not link.is_symlink():
            os.symlink(f.path, link)
    boxes = run.dataset.boxes_of(fields)
    boxes["class"] = boxes["cls"].map(dict(enumerate(run.dataset.taxonomy.classes)))
    boxes["image"] = boxes["image"].map(names)
    boxes[["image", "class", "x1", "y1", "x2", "y2"]].to_csv(folder / "boxes.csv", index=False)
    patients = pd.DataFrame({"image": fields["image"].map(names), "patient": fields["group"]})
    patients.to_csv(folder / "patients.csv", index=False)
    return folder


def scored(run: Run, weights: Path, options: argparse.Namespace) -> dict[str, float]:
    """A detector on the test part, with its boxes as ``predict`` gives them. In percent: the AP of
    each class that OpenUrine has, too, and mAP50 over all classes where it was trained on them.
    """
    own, test = run.dataset.taxonomy, run.test_images(options.fold)
    way = validation.usual_way(validation.read(weights))
    looks = options.looks or way.looks
    found = found_by(run, weights, test, f"test-fold{options.fold}", looks)
    found = with_usual_room(found, weights)
    every = np.nan
    if taxonomy_of(read_weights(weights)["meta"], weights).classes == own.classes:
        truth = run.dataset.boxes_of(test)
        every = 100 * summary(evaluate(truth, found, own.n, list(test["image"])))["map50"]
    merged = "uncut" if way.uncut else "suppression"
    result = {"looks": looks, "merged": merged, "map50": every}
    for name, _, ap50, ap30 in scores(run, test, found):
        result |= {f"{name} 0.5": ap50, f"{name} 0.3": ap30}
    return result


def keep(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The table with these lines in the place of earlier ones, in docs/results."""
    which = ["start", "slides", "fields", "fold", "seed", "looks", "merged"]
    old = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame()
    table = pd.concat([old, pd.DataFrame(lines)], ignore_index=True)
    table = table.drop_duplicates(which, keep="last").sort_values(which, ignore_index=True)
    first = [*which, "map50", f"{MEAN} 0.3", f"{MEAN} 0.5"]
    table = table[[*first, *(name for name in table if name not in first)]].round(1)
    with atomic_path(RESULTS) as temporary:
        table.to_csv(temporary, index=False)
    return table


if __name__ == "__main__":
    main()
