"""What speed costs in mAP50: trained detectors on the test fields of their folds, in float32 as stock sahi predicts, on
the fast path, and exported. Writes docs/results/parity.json.

    python benchmarks/parity.py --data /path/to/fields --slice 480 --weights .../weights.pt [.../weights.pt ...]

A detector is predicted on the fold that its training left out, in slices if it was trained on slices. Rounding moves
boxes past each other in the ranking, one way or the other, so that a single detector says little: the mean of several
is what counts, and their spread says what two detectors' difference must exceed.
"""

import argparse
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pairs

from openurine_lib import files, open_run
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.experiments import provenance
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.training.engines import exported
from openurine_lib.training.engines.ultralytics import detector
from openurine_lib.training.weights import check_taxonomy, read_weights

OUT = pairs.RESULTS / "parity.json"
OVERLAP = 0.25
LIMIT = 0.1  # points of mAP50
PATHS: dict[str, Callable[[Path, int], Any]] = {
    "exact": lambda weights, imgsz: detector(weights, CONFIDENCE, "cpu", imgsz, exact=True),
    "fast": lambda weights, imgsz: detector(weights, CONFIDENCE, "cpu", imgsz),
    "openvino": lambda weights, imgsz: exported.detector(
        exported.export(weights, "openvino"), CONFIDENCE, "cpu", imgsz
    ),
    "onnx": lambda weights, imgsz: exported.detector(
        exported.export(weights, "onnx"), CONFIDENCE, "cpu", imgsz
    ),
}


def main() -> None:
    o = _options()
    run = open_run(str(o.data.resolve()), "demo", o.seed)
    for weights in o.weights:
        check_taxonomy(read_weights(weights)["meta"], run.dataset.taxonomy, weights)
    detectors = [_one(run, weights, o) for weights in o.weights]
    names = [name for name in PATHS if name != "exact"]
    each = {
        name: [d["map50_percent"][name] - d["map50_percent"]["exact"] for d in detectors]
        for name in names
    }
    mean = {name: statistics.mean(each[name]) for name in names}
    stamp = provenance.stamp(run)
    of_the_profile = (
        "face",
        "profile",
        "settings",
        "folds",
    )  # which is only asked for its folds: not the detectors'
    files.write_json(o.out, {k: v for k, v in stamp.items() if k not in of_the_profile} | {
        "face": "points of mAP50 from float32; read the differences, not the height",
        "difference_mean": mean,
        "difference_sd": {name: statistics.stdev(v) if v[1:] else None for name, v in each.items()},
        "difference_farthest": {name: max(v, key=abs) for name, v in each.items()},
        "limit_of_the_mean": LIMIT, "within": max(map(abs, mean.values())) <= LIMIT, "detectors": detectors,
    })  # fmt: skip
    print(
        {name: round(v, 3) for name, v in mean.items()},
        f"points of mAP50 in the mean (allowed {LIMIT});",
        o.out,
    )


def _one(run: Any, weights: Path, o: argparse.Namespace) -> dict[str, Any]:
    """mAP50 (percent) of one detector on each path."""
    meta = read_weights(weights)["meta"]
    fields = run.dataset.test_images(meta["fold"], o.fields)
    truth, slice_px = run.dataset.boxes_of(fields), o.slice if "-slices-" in meta["key"] else None
    digest = exported.digest_of_file(weights)
    place = run.dir / "parity" / digest[:12]
    place.mkdir(parents=True, exist_ok=True)
    copy = Path(shutil.copyfile(weights, place / "weights.pt"))  # the exports go beside it
    map50 = {}
    for name, opened in PATHS.items():
        found = predict_fields(
            opened(copy, meta["imgsz"]), fields, slice_px, OVERLAP, place / f"{name}.csv"
        )
        map50[name] = (
            100
            * summary(evaluate(truth, found, run.dataset.taxonomy.n, list(fields.image)))["map50"]
        )
        print(
            f"{meta['key']}, fold {meta['fold']}, {name}: mAP50 {map50[name]:.3f}, {len(found)} boxes",
            flush=True,
        )
    return {
        "key": meta["key"], "fold": meta["fold"], "fields": len(fields), "true_boxes": len(truth), "slice_px": slice_px,
        "weights_sha256": digest, "map50_percent": map50,
    }  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, nargs="+")
    parser.add_argument(
        "--slice", type=int, required=True, help="pixels, for detectors trained on slices"
    )
    parser.add_argument("--fields", type=int, help="only so many of them, to try it")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (%(default)s)")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
