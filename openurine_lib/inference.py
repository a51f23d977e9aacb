"""Inference with SAHI (the paper's "Inference with SAHI"; https://doi.org/10.1109/ICIP46576.2022.9897990).

A field is cut into overlapping slices, every slice is predicted, and the slices' boxes are merged by non-maximum
suppression. Whole-image prediction goes through the same door, so that both are stored and scored alike.

What the paper leaves open, and what is done here:

- the size at which the network sees a slice: the detector's ``image_size`` (sahi's habit is the size of training).
- the NMS: "merged through non-maximum suppression" and no more. IoU, threshold 0.5 (sahi's default), within a class:
  sahi's postprocessing objects would by themselves suppress across classes, which costs touching cells of two classes.
- no pass over the whole image is added to the slices (sahi's default would add one): the paper describes slices only.
- the confidence: everything from 0.001 on is stored, as ultralytics' validation does, so that the evaluator sees the
  whole precision-recall curve. Who shows boxes chooses the threshold.
- one class a box, the best, as ultralytics predicts; its validation lets a box count for every class above the
  confidence, which can give a whole-image row a little more.
- the number of boxes: as the detector gives them (300 a forward pass for all engines), no further limit after merging.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import supervision as sv
from sahi.models.base import DetectionModel
from sahi.postprocess.backends import set_postprocess_backend
from sahi.predict import get_prediction, get_sliced_prediction
from tqdm.auto import tqdm

from openurine_lib.data.images import BadField, read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import atomic_path
from openurine_lib.style import HEAD_COLOURS

CONFIDENCE = 0.001  # ultralytics' validation
MATCH_THRESHOLD = 0.5
# Slices a forward pass. A processor gains nothing from more than one (memory traffic), and could lose boxes: when
# ultralytics' NMS meets its time limit, it leaves the rest of the batch without any. A door that takes its slices one
# by one (side_by_side) says how many it wants.
BATCH, BATCH_CPU = 16, 1
COLUMNS = ["image", "cls", "conf", "x1", "y1", "x2", "y2"]

logging.getLogger("sahi").setLevel(logging.ERROR)  # it warns of every box of no area
set_postprocess_backend(
    "numpy"
)  # as fast as its others here, and equal scores are ordered the same way every time


def predict_image(
    detector: DetectionModel, image: np.ndarray, slice_px: int | None, overlap: float = 0.25
) -> pd.DataFrame:
    """The boxes of one image, most confident first.

    image: uint8 (H, W, 3) RGB. slice_px: the slices' side in the image's pixels; None predicts the whole image at once.
    overlap: of neighbouring slices, as a part of their side. Returns [cls, conf, x1, y1, x2, y2] in the image's pixels.
    """
    batch = getattr(detector, "batch", BATCH_CPU if "cpu" in str(detector.device) else BATCH)
    if slice_px is None:
        result = get_prediction(image, detector)
    else:
        result = get_sliced_prediction(
            image, detector, slice_height=slice_px, slice_width=slice_px,
            overlap_height_ratio=overlap, overlap_width_ratio=overlap, perform_standard_pred=False,
            postprocess_type="NMS", postprocess_match_metric="IOU", postprocess_match_threshold=MATCH_THRESHOLD,
            postprocess_class_agnostic=False, batch_size=batch, verbose=0,
        )  # fmt: skip
    rows = [
        (p.category.id, float(p.score.value), *p.bbox.to_xyxy())
        for p in result.object_prediction_list
    ]
    boxes = pd.DataFrame(rows, columns=COLUMNS[1:]).astype(
        {"cls": int} | dict.fromkeys(COLUMNS[2:], float)
    )
    height, width = image.shape[:2]
    boxes[["x1", "x2"]] = boxes[["x1", "x2"]].clip(0, width)
    boxes[["y1", "y2"]] = boxes[["y1", "y2"]].clip(0, height)
    boxes = boxes[(boxes.x2 > boxes.x1) & (boxes.y2 > boxes.y1)]
    return boxes.sort_values(["conf", *COLUMNS[3:], "cls"], ascending=False, ignore_index=True)


def predict_fields(
    detector: DetectionModel, images: pd.DataFrame, slice_px: int | None, overlap: float, out: Path
) -> pd.DataFrame:
    """Predicts every field and writes them to ``out`` (csv), in the order of ``images``.

    images: [image, path, ...] and, where known, [width, height], which the files must then have. Returns
    [image, cls, conf, x1, y1, x2, y2] in original pixels. Finished fields are kept in ``<out>.partial`` until all are
    there: after an interruption the same call, with the same detector and setting, goes on. Raises BadField, before any
    work for files that are missing.
    """
    missing = [path for path in images.path if not Path(path).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise BadField(f"{missing[0]}{more}: no such image; the data set lists it")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    setting = {"slice": slice_px, "overlap": overlap, "conf": detector.confidence_threshold,
               "imgsz": detector.image_size, "weights": _digest(detector.model)}  # fmt: skip
    done = _resume(partial, setting)
    with partial.open("a", encoding="utf-8") as file:
        for field in tqdm(list(images.itertuples()), desc="predicting fields", unit="field"):
            if field.image in done:
                continue
            boxes = predict_image(detector, _read_checked(field), slice_px, overlap)
            done[field.image] = boxes.to_numpy().tolist()
            file.write(json.dumps({"image": field.image, "boxes": done[field.image]}) + "\n")
            file.flush()
    rows = [(image, int(box[0]), *box[1:]) for image in images.image for box in done[image]]
    with atomic_path(out) as temporary:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(temporary, index=False, float_format="%.6g")
    partial.unlink()
    return read_predictions(out)


def read_predictions(path: Path) -> pd.DataFrame:
    """The frame that ``predict_fields`` wrote: image as text, cls as int, the rest as float."""
    types: dict[str, Any] = {"image": str, "cls": int} | dict.fromkeys(COLUMNS[2:], float)
    return pd.read_csv(path, dtype=types, keep_default_na=False)


def _read_checked(field: Any) -> np.ndarray:
    image = read_rgb(field.path)
    height, width = image.shape[:2]
    if (getattr(field, "width", width), getattr(field, "height", height)) != (width, height):
        raise BadField(f"{field.path}: {width} x {height} px, the data set says {field.width} x {field.height}; "
                       "the file was changed or turned (EXIF); prepare the data set again")  # fmt: skip
    return image


def _resume(partial: Path, setting: dict[str, Any]) -> dict[str, list[list[float]]]:
    """What an interrupted call of the same setting has finished; the file is left ready to be appended to."""
    header = json.dumps(setting) + "\n"
    lines = (
        partial.read_text(encoding="utf-8").splitlines(keepends=True) if partial.exists() else []
    )
    # a kill may have cut off the last line
    kept = [line for line in lines[1:] if line.endswith("\n")] if lines[:1] == [header] else []
    with atomic_path(partial) as temporary:
        temporary.write_text(header + "".join(kept), encoding="utf-8")
    return {entry["image"]: entry["boxes"] for entry in map(json.loads, kept)}


def _digest(model: Any) -> str:
    """Tells one set of weights from another, so that an interrupted call never goes on with other weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]


MAX_DETECTIONS = 300  # a slice or image, of every engine, as in ultralytics' validation


READABLE = (
    1000  # pixels of the longer side; smaller fields are enlarged, so that class names can be read
)


def boxes_on(
    image: np.ndarray, boxes: pd.DataFrame, taxonomy: Taxonomy, labels: bool = True
) -> np.ndarray:
    """The field with the boxes and their class names (and confidences, if they have any), enlarged if it is small.

    image: uint8 (H, W, 3) RGB; boxes: [cls, x1, y1, x2, y2] and perhaps [conf], in its pixels.
    """
    factor = -(-READABLE // max(image.shape[:2]))
    corners = factor * boxes[["x1", "y1", "x2", "y2"]].to_numpy(float).reshape(-1, 4)
    found = sv.Detections(xyxy=corners, class_id=boxes.cls.to_numpy(int))
    texts = [taxonomy.classes[c] for c in boxes.cls]
    if "conf" in boxes:
        texts = [f"{text} {conf:.2f}" for text, conf in zip(texts, boxes.conf, strict=True)]
    colours = sv.ColorPalette.from_hex(
        [HEAD_COLOURS[taxonomy.head_of(c)] for c in range(taxonomy.n)]
    )
    side = factor * max(image.shape[:2])
    drawn = cv2.resize(
        image[..., ::-1], None, fx=factor, fy=factor
    )  # a copy, in BGR as supervision draws
    drawn = sv.BoxAnnotator(colours, thickness=max(1, side // 500)).annotate(drawn, found)
    if labels:
        drawn = sv.LabelAnnotator(colours, text_scale=side / 2500, text_padding=2).annotate(
            drawn, found, labels=texts
        )
    return np.ascontiguousarray(drawn[..., ::-1])
