"""What speed costs in mAP50: one trained detector on the test fields of a real fold, in float32 as stock sahi predicts,
on the fast path, and exported. Writes docs/results/parity.json.

    python benchmarks/parity.py --data /path/to/fields --weights weights.pt --fold 0 --slice 320

Give the slice size that the detector was trained for, and weights that were trained without the test fold.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pairs

from openurine_lib import export, open_run, provenance
from openurine_lib.cpu import cpu_bf16
from openurine_lib.engines import check_taxonomy, read_weights
from openurine_lib.engines.ultralytics import detector
from openurine_lib.evaluate import evaluate, summary
from openurine_lib.inference import CONFIDENCE, predict_fields

OUT = pairs.RESULTS / "parity.json"
OVERLAP = 0.25
LIMIT = 0.1  # points of mAP50


def main() -> None:
    o = _options()
    run = open_run(str(o.data.resolve()), "demo", o.seed)
    data, meta = run.dataset, read_weights(o.weights)["meta"]
    check_taxonomy(meta, data.taxonomy, o.weights)
    fields = data.test_images(o.fold, o.fields)
    truth, imgsz = data.boxes_of(fields), meta["imgsz"]
    place = run.dir / "parity"
    place.mkdir(parents=True, exist_ok=True)
    weights = Path(shutil.copyfile(o.weights, place / "weights.pt"))  # the exports go beside it
    paths: dict[str, Callable[[], Any]] = {
        "exact": lambda: detector(weights, CONFIDENCE, "cpu", imgsz, exact=True),
        "fast": lambda: detector(weights, CONFIDENCE, "cpu", imgsz),
        "openvino": lambda: export.detector(export.export(weights, "openvino"), CONFIDENCE, "cpu", imgsz),
        "onnx": lambda: export.detector(export.export(weights, "onnx"), CONFIDENCE, "cpu", imgsz),
    }
    map50, boxes = {}, {}
    for name, opened in paths.items():
        found = predict_fields(opened(), fields, o.slice or None, OVERLAP, place / f"{name}.csv")
        map50[name] = 100 * summary(evaluate(truth, found, data.taxonomy.n, list(fields.image)))["map50"]
        boxes[name] = len(found)
        print(f"{name}: mAP50 {map50[name]:.3f}, {len(found)} boxes", flush=True)
    differences = {name: map50[name] - map50["exact"] for name in map50 if name != "exact"}
    stamp = provenance.stamp(run)
    of_the_profile = ("face", "profile", "settings", "folds")  # which is only asked for its folds: not the detector's
    provenance.write_json(o.out, {k: v for k, v in stamp.items() if k not in of_the_profile} | {
        "face": f"{len(fields)} fields of fold {o.fold}; read the differences, not the height", "fold": o.fold,
        "fields": len(fields), "true_boxes": len(truth), "slice_px": o.slice, "imgsz": imgsz, "arch": meta["arch"],
        "heads": meta["heads"], "weights_sha256": export.read_meta(place / "weights_onnx")["weights_sha256"],
        "map50_percent": map50, "difference_points": differences, "boxes": boxes, "bfloat16": cpu_bf16(),
        "within": max(map(abs, differences.values())) <= LIMIT, "limit_points": LIMIT,
    })  # fmt: skip
    print(
        "points of mAP50 from float32:", {k: round(v, 3) for k, v in differences.items()}, f"(allowed {LIMIT});", o.out
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0, help="its test fields (%(default)s)")
    parser.add_argument("--slice", type=int, default=0, help="pixels, 0: whole fields (%(default)s)")
    parser.add_argument("--fields", type=int, help="only so many of them, to try it")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (%(default)s)")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
