"""What speed costs in mAP50. Writes docs/results/parity.json.

    python benchmarks/parity.py --data /path/to/fields --slice 480 --weights a.pt [b.pt ...]

Trained detectors predict the test fields of their folds in several ways: in float32 as stock sahi
does, on the fast path, and exported. A detector predicts the fold that its training left out, in
slices if it was trained on slices.

Rounding lets boxes of nearly the same confidence change places in the ranking, for better or for
worse. So one detector says little. The mean of several counts, and their spread says how large a
difference between two detectors must be to mean something.
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
#: Entries of the stamp that do not hold for the detectors: the run's profile only gives the folds.
OF_THE_PROFILE = ("face", "profile", "settings", "folds")


def main() -> None:
    options = _options()
    run = open_run(str(options.data.resolve()), "demo", options.seed)
    for weights in options.weights:
        check_taxonomy(read_weights(weights)["meta"], run.dataset.taxonomy, weights)
    detectors = [_one(run, weights, options) for weights in options.weights]
    names = [name for name in PATHS if name != "exact"]
    each = {
        name: [d["map50_percent"][name] - d["map50_percent"]["exact"] for d in detectors]
        for name in names
    }
    mean = {name: statistics.mean(each[name]) for name in names}
    stamp = {k: v for k, v in provenance.stamp(run).items() if k not in OF_THE_PROFILE}
    result = {
        "face": "points of mAP50 from float32; read the differences, not the height",
        "difference_mean": mean,
        "difference_sd": {name: statistics.stdev(v) if v[1:] else None for name, v in each.items()},
        "difference_farthest": {name: max(v, key=abs) for name, v in each.items()},
        "limit_of_the_mean": LIMIT,
        "within": max(map(abs, mean.values())) <= LIMIT,
        "detectors": detectors,
    }
    files.write_json(options.out, stamp | result)
    rounded = {name: round(v, 3) for name, v in mean.items()}
    print(rounded, f"points of mAP50 in the mean (allowed {LIMIT});", options.out)


def _one(run: Any, weights: Path, options: argparse.Namespace) -> dict[str, Any]:
    """mAP50 (percent) of one detector on each path."""
    meta = read_weights(weights)["meta"]
    fields = run.dataset.test_images(meta["fold"], options.fields)
    truth = run.dataset.boxes_of(fields)
    slice_px = options.slice if "-slices-" in meta["key"] else None
    digest = files.digest_of_file(weights)
    place = run.dir / "parity" / digest[:12]
    place.mkdir(parents=True, exist_ok=True)
    copy = Path(shutil.copyfile(weights, place / "weights.pt"))  # the exports go beside it
    map50 = {}
    for name, opened in PATHS.items():
        network = opened(copy, meta["imgsz"])
        found = predict_fields(network, fields, slice_px, OVERLAP, place / f"{name}.csv")
        scores = evaluate(truth, found, run.dataset.taxonomy.n, list(fields.image))
        map50[name] = 100 * summary(scores)["map50"]
        print(
            f"{meta['key']}, fold {meta['fold']}, {name}: mAP50 {map50[name]:.3f}, "
            f"{len(found)} boxes",
            flush=True,
        )
    return {
        "key": meta["key"],
        "fold": meta["fold"],
        "fields": len(fields),
        "true_boxes": len(truth),
        "slice_px": slice_px,
        "weights_sha256": digest,
        "map50_percent": map50,
    }


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
