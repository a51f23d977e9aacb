"""What the timings of sliced inference share: untrained weights, stock sahi, this project, a field.

An untrained detector finds nothing at this confidence, so the timings compare the networks. Slices
have 640 px, overlap by a quarter and are shown at 640 px; no pass over the whole field is added.
Stock sahi gets one slice at a time, its default and the fastest on a processor. It has one thread,
which is what a user has after importing ultralytics.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pairs  # noqa: F401  (puts the project on the path)
import torch
from sahi import AutoDetectionModel
from sahi.predict import get_sliced_prediction
from ultralytics import YOLO

from openurine_lib.data.taxonomy import load
from openurine_lib.inference import predict_image
from openurine_lib.model.build import build_model
from openurine_lib.speed.processor import use_cores

SIDE = 1800  # of the field, pixels
SLICE = 640  # pixels
CONFIDENCE = 0.25
AGAINST = f"{SIDE} px field in slices of {SLICE}"
FIELD = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)


def weights(arch: str, folder: Path) -> Path:
    """A ``weights.pt`` of this project: one head, OpenUrine's classes, untrained."""
    taxonomy = load("openurine")
    model = build_model(arch, taxonomy, "single")
    meta = {
        "engine": "ultralytics",
        "arch": arch,
        "heads": "single",
        "imgsz": SLICE,
        "objectness_gain": 0.0,
        "taxonomy": taxonomy.name,
        "classes": list(taxonomy.classes),
        "head_classes": {k: list(v) for k, v in taxonomy.heads.items()},
    }
    out = folder / f"{arch}.pt"
    torch.save({"state_dict": model.state_dict(), "meta": meta}, out)
    return out


def stock_model(arch: str, folder: Path, px: int) -> Any:
    """A stock ultralytics model, untrained, in stock sahi, which brings slices to ``px`` pixels."""
    YOLO(f"{arch}.yaml").save(folder / "stock.pt")
    return AutoDetectionModel.from_pretrained(
        "ultralytics",
        str(folder / "stock.pt"),
        confidence_threshold=CONFIDENCE,
        device="cpu",
        image_size=px,
    )


def by_sahi(arch: str, folder: Path) -> Callable[[], float]:
    """Seconds of stock sahi on a stock ultralytics model, warmed up."""
    model = stock_model(arch, folder, SLICE)

    def seconds() -> float:
        torch.set_num_threads(1)
        start = time.perf_counter()
        get_sliced_prediction(
            FIELD, model, SLICE, SLICE, 0.25, 0.25, perform_standard_pred=False, verbose=0
        )
        return time.perf_counter() - start

    seconds()
    return seconds


def by_us(detector: Any) -> Callable[[], float]:
    """Seconds of this project with a detector in a sahi adapter, warmed up."""

    def seconds() -> float:
        use_cores()
        start = time.perf_counter()
        predict_image(detector, FIELD, SLICE)
        return time.perf_counter() - start

    seconds()
    return seconds
