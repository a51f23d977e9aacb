"""How often, and in which ways, should a detector look at a field? docs/results/looks.csv

    python benchmarks/looks.py /path/to/fields

The detector of the project sees two fields of each slide of a fold's training part, which it has
not learned from: in slices of several sides, as they are and mirrored. The boxes of several looks
are fused. The test part is not touched. A look that is finished is kept in runs/<run>/looks.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import pandas as pd
from tqdm.auto import tqdm
from training_slides import training_fields

from openurine_lib import default_weights, open_run, read_rgb
from openurine_lib.clinical import validation
from openurine_lib.clinical.drawn_to_real import scores, with_usual_room
from openurine_lib.evaluation.shared_classes import renamed
from openurine_lib.experiments.run import Run
from openurine_lib.files import PACKAGE, atomic_path
from openurine_lib.inference import CONFIDENCE, predict_image, read_predictions, write_csv
from openurine_lib.laboratory.predicting import open_detector
from openurine_lib.training.weights import read_weights, taxonomy_of
from openurine_lib.two_looks import LOOKS, Look, fused

LONGER, SHORTER = LOOKS
USUAL = Look(1.0, mirrored=False, levelled=False)
MIRRORED = Look(1.0, mirrored=True, levelled=False)
WAYS = {
    "one": [USUAL],
    "one, longer slices": [LONGER],
    "one, shorter slices, mirrored": [SHORTER],
    "two: usual, mirrored": [USUAL, MIRRORED],
    "two: longer, and mirrored shorter": [LONGER, SHORTER],
    "three: all sides": [USUAL, LONGER, SHORTER],
}
RESULTS = PACKAGE.parent / "docs" / "results" / "looks.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", help="labelled fields, as for make reproduce DATA=")
    parser.add_argument("--fold", type=int, default=0, help="(%(default)s)")
    options = parser.parse_args()
    run = open_run(options.data, "study")
    fields = training_fields(run, options.fold)
    weights = default_weights.path()
    classes = taxonomy_of(read_weights(weights)["meta"], weights)
    looks = dict.fromkeys(look for way in WAYS.values() for look in way)
    seen = {look: found_by(run, fields, look, options.fold) for look in looks}
    rows = []
    for name, way in WAYS.items():
        found = [seen[look][0] for look in way]
        boxes = found[0] if len(way) == 1 else together(found, fields)
        boxes = with_usual_room(renamed(boxes, run.dataset.taxonomy, classes), weights)
        by_class = scores(run, fields, boxes)
        row = {"looks": name, "seconds a field": sum(seen[look][1] for look in way)}
        for cls, _, ap50, ap30 in by_class:
            row |= {f"{cls} 0.3": ap30, f"{cls} 0.5": ap50}
        rows.append(row)
    table = pd.DataFrame(rows).round({"seconds a field": 2}).round(1)
    with atomic_path(RESULTS) as temporary:
        table.to_csv(temporary, index=False)
    print(table.to_string(index=False))


def found_by(run: Run, fields: pd.DataFrame, look: Look, fold: int) -> tuple[pd.DataFrame, float]:
    """The boxes of one look at every field, and its seconds a field."""
    weights = default_weights.path()
    file = run.dir / "looks" / f"fold{fold}-{look.share:.2f}-{look.mirrored:d}.csv"
    if not file.exists():
        detector, _, _ = open_detector(weights, CONFIDENCE)
        # a look says by itself whether it is brought to that contrast
        contrast, detector.contrast = detector.contrast, 0.0
        known = validation.read(weights)
        side = round(known["slice_px"] * look.share)
        parts = []
        for field in tqdm(list(fields.itertuples()), desc=f"slices of {side} px", unit="field"):
            image = read_rgb(field.path)
            shown = look.field(image, contrast)
            started = time.perf_counter()
            way = replace(validation.usual_way(known), looks=1)
            boxes = predict_image(detector, shown, side, way=way)
            boxes["seconds"] = time.perf_counter() - started
            boxes = look.back(boxes, len(image))
            parts.append(boxes.assign(image=field.image))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_csv(pd.concat(parts), file)
    found = read_predictions(file)
    seconds = found.groupby("image")["seconds"].first().mean()
    return found.drop(columns="seconds"), float(seconds)


def together(found: list[pd.DataFrame], fields: pd.DataFrame) -> pd.DataFrame:
    """The looks' boxes, fused field by field."""
    parts = []
    for field in fields.itertuples():
        of_field = [boxes[boxes["image"] == field.image] for boxes in found]
        parts.append(fused(of_field, field.width, field.height).assign(image=field.image))
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    main()
