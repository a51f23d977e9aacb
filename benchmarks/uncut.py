"""What does it gain that finds at a cut are left out? docs/results/uncut.csv

    python benchmarks/uncut.py                            # drawn fields, the study's detectors
    python benchmarks/uncut.py --data FOLDER --weights FILE --fold 1      # one's own

Each detector sees the test fields of a fold twice, in the same slices: merged by suppression alone,
as sahi does and the paper's rows do, and without the finds at a cut that another slice shows whole
(``looking.uncut``). The intervals hold 95 %, from resampling patients. Detectors that were trained
on another set are scored in shared classes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib import default_weights, open_run
from openurine_lib.clinical.drawn_to_real import with_usual_room
from openurine_lib.clinical.validation import read as read_record
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.evaluation.shared_classes import renamed
from openurine_lib.experiments.run import Run
from openurine_lib.files import PACKAGE, atomic_path
from openurine_lib.inference import CONFIDENCE, OVERLAP, predict_fields
from openurine_lib.laboratory.finetuning import gains
from openurine_lib.laboratory.predicting import open_detector
from openurine_lib.ways import Way

STUDY = {
    "the paper's method": "study/yolo12n-multi-ssl-slices-448-sliced/fold0",
    "the plain detector with slices": "study/yolo12n-single-slices-448-sliced/fold0",
}
RESULTS = PACKAGE.parent / "docs" / "results" / "uncut.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="synthetic", help="as for make reproduce (%(default)s)")
    parser.add_argument("--fold", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--weights", type=Path, nargs="*", help="by default the study's detectors")
    parser.add_argument("--looks", type=int, choices=(1, 2), default=1, help="(%(default)s)")
    options = parser.parse_args()
    run = open_run(options.data, "study")
    detectors = {name: default_weights.named(folder) for name, folder in STUDY.items()}
    if options.weights:
        detectors = {file.parent.parent.name: file for file in options.weights}
    rows = []
    for name, weights in detectors.items():
        rows.append(compared(run, options.fold, name, weights, options.looks))
        print(pd.DataFrame(rows).round(1).to_string(index=False), flush=True)
    table = pd.DataFrame(rows).round(2)
    if RESULTS.exists():  # rows of other calls stay
        earlier = pd.read_csv(RESULTS)
        table = pd.concat([earlier, table])
        table = table.drop_duplicates(["data", "fold", "detector", "looks"], keep="last")
    with atomic_path(RESULTS) as temporary:
        table.to_csv(temporary, index=False)


def compared(run: Run, fold: int, name: str, weights: Path, looks: int) -> dict[str, Any]:
    """A row of the table: both ways on the fold's test fields."""
    fields, data = run.test_images(fold), run.dataset
    truth = data.boxes_of(fields)
    row: dict[str, Any] = {"data": run.data_name, "fold": fold, "detector": name, "looks": looks}
    both = list(found(run, fields, weights, looks))
    for way, (boxes, seconds) in zip(("usual", "uncut"), both, strict=True):
        scores = summary(evaluate(truth, boxes, data.taxonomy.n, list(fields["image"])))
        row |= {f"{metric}_{way}": 100 * scores[metric] for metric in ("map50", "map50_95")}
        row[f"seconds_{way}"] = seconds
    last = gains(truth, both[0][0], both[1][0], data.taxonomy, fields).iloc[-1]
    return row | {column: last[column] for column in ("gain", "low", "high")}


def found(
    run: Run, fields: pd.DataFrame, weights: Path, looks: int
) -> Iterator[tuple[pd.DataFrame, float]]:
    """The boxes of both ways, in the data set's classes, and seconds a field."""
    detector, classes, _ = open_detector(weights, CONFIDENCE)
    side = read_record(weights).get("slice_px") or run.profile.settings["sahi"]["slice"]
    own = run.dataset.taxonomy
    for way in (Way(looks=looks), Way(uncut=True, looks=looks)):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            boxes = predict_fields(detector, fields, side, OVERLAP, Path(folder) / "b.csv", way=way)
            seconds = (time.perf_counter() - started) / len(fields)
        if classes.classes != own.classes:
            boxes = with_usual_room(renamed(boxes, own, classes), weights)
        yield boxes, seconds


if __name__ == "__main__":
    main()
