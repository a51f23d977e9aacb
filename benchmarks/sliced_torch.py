"""Sliced inference of an 1800 x 1800 field in plain torch (see sliced.py).

Stock sahi on a stock ultralytics model, against this project.
"""

import tempfile
from pathlib import Path

import pairs
import sliced

from openurine_lib.training.engines.ultralytics import detector


def main() -> None:
    for arch in ("yolo12n", "yolo12m"):
        with tempfile.TemporaryDirectory() as folder:
            weights = sliced.weights(arch, Path(folder))
            ours = detector(weights, sliced.CONFIDENCE, "cpu", sliced.SLICE)
            name = "sliced_torch" if arch == "yolo12n" else f"sliced_torch_{arch}"
            stock = sliced.by_sahi(arch, Path(folder))
            pairs.compare(name, f"stock sahi, {arch}, {sliced.AGAINST}", stock, sliced.by_us(ours))


if __name__ == "__main__":
    main()
