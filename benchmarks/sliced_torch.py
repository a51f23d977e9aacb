"""Sliced inference of an 1800 x 1800 field in plain torch: stock sahi on a stock ultralytics model, against this
project.

The same weights (untrained: at this confidence nothing is found, so that the networks are compared), slices of 640 px
with a quarter of overlap, shown at 640 px, no pass over the whole field. Stock gets one slice at a time, which is its
default and its fastest on a processor.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pairs
import torch
from sahi import AutoDetectionModel
from sahi.predict import get_sliced_prediction
from ultralytics import YOLO

from openurine_lib.engines.ultralytics import detector
from openurine_lib.inference import predict_image
from openurine_lib.multihead import build_model
from openurine_lib.taxonomy import load

SIDE, SLICE = 1800, 640


def main() -> None:
    taxonomy = load("openurine")
    image = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    for arch in ("yolo12n", "yolo12m"):
        with tempfile.TemporaryDirectory() as folder:
            model = build_model(arch, taxonomy, "single")
            meta = {"engine": "ultralytics", "arch": arch, "heads": "single", "imgsz": SLICE, "objectness_gain": 0.0,
                    "taxonomy": taxonomy.name, "classes": list(taxonomy.classes),
                    "head_classes": {k: list(v) for k, v in taxonomy.heads.items()}}  # fmt: skip
            torch.save({"state_dict": model.state_dict(), "meta": meta}, Path(folder) / "weights.pt")
            ours = detector(Path(folder) / "weights.pt", 0.25, "cpu", SLICE)
            stock = YOLO(f"{arch}.yaml")
            stock.save(Path(folder) / "stock.pt")
            sahi = AutoDetectionModel.from_pretrained(
                "ultralytics", str(Path(folder) / "stock.pt"), confidence_threshold=0.25, device="cpu", image_size=SLICE
            )

            def by_sahi(model: object = sahi) -> float:
                torch.set_num_threads(1)  # what importing ultralytics leaves a user with
                start = time.perf_counter()
                get_sliced_prediction(image, model, SLICE, SLICE, 0.25, 0.25, perform_standard_pred=False, verbose=0)
                return time.perf_counter() - start

            def by_us(model: object = ours) -> float:
                from openurine_lib.cpu import use_cores

                use_cores()
                start = time.perf_counter()
                predict_image(model, image, SLICE)  # type: ignore[arg-type]
                return time.perf_counter() - start

            by_sahi(), by_us()
            name = "sliced_torch" if arch == "yolo12n" else f"sliced_torch_{arch}"
            pairs.compare(name, f"stock sahi, {arch}, {SIDE} px field in slices of {SLICE}", by_sahi, by_us)


if __name__ == "__main__":
    main()
