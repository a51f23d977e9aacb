"""How good are detectors of drawn fields on real ones? On training slides, where one may choose.

    python benchmarks/training_slides.py FOLDER                            # as it comes
    python benchmarks/training_slides.py FOLDER --weights FILE... --name "six heads, another seed"
    python benchmarks/training_slides.py FOLDER --weights A B B B --mean --name "a quarter of A"

A score on drawn fields is no guide to real ones, so what may be chosen of a detector that never saw
a real field is chosen here: on two fields of each slide of a fold's training part (FOLDER is as for
make reproduce DATA=). The fold's test part is not looked at. AP in percent, at an IoU of 0.3 and of
0.5, of the classes that both sets have; boxes as ``openurine predict`` gives them.

Writes the lines of the table docs/results/training_slides.csv that have these names.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib import default_weights, open_run
from openurine_lib.clinical.drawn_to_real import scores, with_usual_room
from openurine_lib.evaluation.shared_classes import renamed
from openurine_lib.experiments.run import Run
from openurine_lib.files import PACKAGE, atomic_path
from openurine_lib.inference import CONFIDENCE, OVERLAP, predict_fields
from openurine_lib.laboratory.predicting import open_detector
from openurine_lib.training.transfer import write_mean
from openurine_lib.ways import Way

EACH = 2  # fields of a slide
SLICE_PX = 544  # of the detector that comes with the project, and of all that it is compared with
RESULTS = PACKAGE.parent / "docs" / "results" / "training_slides.csv"
WHICH = ["detector", "contrast", "looks", "merged", "fold"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", help="labelled fields, as for make reproduce DATA=")
    parser.add_argument("--weights", type=Path, nargs="*", help="by default those of the project")
    parser.add_argument("--mean", action="store_true", help="score the mean of the weights")
    parser.add_argument("--name", default="as it comes", help="in the table (%(default)s)")
    parser.add_argument("--looks", type=int, choices=(1, 2), default=2, help="(%(default)s)")
    parser.add_argument("--contrast", type=float, help="of fields, grey levels; 0: as they are")
    parser.add_argument("--suppression", action="store_true", help="merge slices by it alone")
    parser.add_argument("--fold", type=int, default=0, help="(%(default)s)")
    options = parser.parse_args()
    run = open_run(options.data, "study")
    files = options.weights or [default_weights.path()]
    way = Way(uncut=not options.suppression, looks=options.looks)
    asked = "as asked" if options.contrast is None else options.contrast
    setting = {
        "contrast": asked,
        "looks": way.looks,
        "merged": "suppression" if options.suppression else "uncut",
    }
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        if options.mean:
            files = [write_mean(files, Path(folder) / "mean.pt")]
        for file in files:
            name = options.name if len(files) == 1 else f"{options.name}, {file.stem}"
            line = {"detector": name, **setting, "fold": options.fold}
            lines.append(line | scored(run, file, options.fold, way, options.contrast))
    print(keep(pd.DataFrame(lines)).to_string(index=False))


def scored(
    run: Run, weights: Path, fold: int, way: Way, contrast: float | None = None
) -> dict[str, Any]:
    """AP of each shared class and their mean; fields: how many were looked at.

    contrast: to which a field is brought first; None: as the weights ask.
    """
    fields = training_fields(run, fold)
    detector, classes, _ = open_detector(weights, CONFIDENCE)
    if contrast is not None:
        detector.contrast = contrast
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "boxes.csv"
        found = predict_fields(detector, fields, SLICE_PX, OVERLAP, out, way=way)
    found = with_usual_room(renamed(found, run.dataset.taxonomy, classes), weights)
    row: dict[str, Any] = {"fields": len(fields)}
    for name, _, ap50, ap30 in scores(run, fields, found):
        row |= {f"{name} 0.3": ap30, f"{name} 0.5": ap50}
    return row


def training_fields(run: Run, fold: int) -> pd.DataFrame:
    """Fields of every slide of the fold's training part, at most EACH, drawn at random."""
    mixed = run.dataset.train_images(fold).sample(frac=1, random_state=run.seed)
    return mixed.groupby("group").head(EACH).sort_index()


def keep(lines: pd.DataFrame) -> pd.DataFrame:
    """The table with these lines in the place of earlier ones, in docs/results."""
    old = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame()
    table = pd.concat([old, lines.round(1)], ignore_index=True)
    table = table.drop_duplicates(WHICH, keep="last")
    with atomic_path(RESULTS) as temporary:
        table.to_csv(temporary, index=False)
    return table


if __name__ == "__main__":
    main()
