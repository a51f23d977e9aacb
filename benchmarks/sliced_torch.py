"""Sliced inference of an 1800 x 1800 field in plain torch: stock sahi on a stock ultralytics model, against this
project (see sliced.py)."""

import tempfile
from pathlib import Path

import pairs
import sliced

from openurine_lib.training.engines.ultralytics import detector


def main() -> None:
    for arch in ("yolo12n", "yolo12m"):
        with tempfile.TemporaryDirectory() as folder:
            ours = detector(
                sliced.weights(arch, Path(folder)), sliced.CONFIDENCE, "cpu", sliced.SLICE
            )
            name = "sliced_torch" if arch == "yolo12n" else f"sliced_torch_{arch}"
            stock = sliced.by_sahi(arch, Path(folder))
            pairs.compare(name, f"stock sahi, {arch}, {sliced.AGAINST}", stock, sliced.by_us(ours))


if __name__ == "__main__":
    main()
