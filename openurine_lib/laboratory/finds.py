"""A detector's own finds in unlabelled fields, to train on; what is uncertain is painted out.

A loss counts whatever has no box as background. So a find that is neither certain nor absent would
teach something wrong either way: its place is painted with the field's background and noise.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision.ops import nms

from openurine_lib.data.boxes import XYXY
from openurine_lib.data.images import read_rgb
from openurine_lib.files import atomic_path
from openurine_lib.inference import OVERLAP, predict_fields
from openurine_lib.looking import MATCH_THRESHOLD
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.slices import slices_of
from openurine_lib.training.weights import read_weights

FIELDS = 44  # that are looked at, at most
SLICES = 4  # of a field at most
SURE = 0.5  # confidence from which on a find is taken for a particle
MAYBE = 0.1  # below it, nothing is there
ROOM = 4  # pixels around an uncertain find that are painted, too


def confident(
    weights: Path, fields: pd.DataFrame, side: int, seed: int, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Slices of the fields, and the boxes of what is certain on them, as ``slices_of`` gives them.

    fields: [image, path, ...]. side: of a slice in pixels. folder: for the painted fields.
    """
    fields = fields.iloc[:: -(-len(fields) // FIELDS)].reset_index(drop=True)
    imgsz = read_weights(weights)["meta"]["imgsz"]
    detector = engine("ultralytics").detector(weights, MAYBE, device(), imgsz)
    found = predict_fields(detector, fields, side, OVERLAP, folder / "finds.csv")
    rows, boxes = [], []
    for number, field in enumerate(fields.itertuples()):
        own = _one_class_a_place(found[found["image"] == field.image])
        sure = own[own["conf"] >= SURE]
        pixels = painted(read_rgb(field.path), own[own["conf"] < SURE], sure)
        path = folder / f"{number:04d}.png"
        with atomic_path(path) as temporary:
            Image.fromarray(pixels).save(temporary, compress_level=1)
        height, width = pixels.shape[:2]
        rows.append((field.image, str(path), width, height))
        boxes.append(sure[["image", "cls", *XYXY]])
    images = pd.DataFrame(rows, columns=["image", "path", "width", "height"])
    together = pd.concat(boxes, ignore_index=True)
    slices, inside = slices_of(images, together, side, OVERLAP, SLICES, seed, folder / "slices")
    return slices.assign(field=slices["image"]), inside  # each slice counts as a field


def painted(pixels: np.ndarray, uncertain: pd.DataFrame, sure: pd.DataFrame) -> np.ndarray:
    """The field (H, W, 3) without its uncertain finds; nothing is changed within the sure ones."""
    mask = np.zeros(pixels.shape[:2], np.float32)
    for x1, y1, x2, y2 in uncertain[XYXY].to_numpy(int):
        mask[max(y1 - ROOM, 0) : y2 + ROOM, max(x1 - ROOM, 0) : x2 + ROOM] = 1
    for x1, y1, x2, y2 in sure[XYXY].to_numpy(int):
        mask[y1 : y2 + 1, x1 : x2 + 1] = 0
    soft = cv2.GaussianBlur(mask, (0, 0), 2)[..., None]
    small = cv2.resize(pixels, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    size = pixels.shape[1::-1]
    empty = cv2.resize(cv2.medianBlur(small, 25), size, interpolation=cv2.INTER_CUBIC)
    # the noise is the field's own, from elsewhere
    noise = pixels.astype(np.float32) - cv2.GaussianBlur(pixels, (0, 0), 3)
    noise = np.roll(noise, (37, 53), (0, 1)).clip(-25, 25)
    return (pixels * (1 - soft) + (empty + noise) * soft).clip(0, 255).astype(np.uint8)


def _one_class_a_place(boxes: pd.DataFrame) -> pd.DataFrame:
    """Of finds that lie on one another, whatever their classes, the most confident."""
    corners = torch.tensor(boxes[XYXY].to_numpy(float))
    kept = nms(corners, torch.tensor(boxes["conf"].to_numpy(float)), MATCH_THRESHOLD)
    return boxes.iloc[kept.numpy()]
