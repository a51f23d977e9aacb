"""Boxes on a field, coloured by head, with supervision's annotators."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import supervision as sv

from openurine_lib.style import HEAD_COLOURS
from openurine_lib.taxonomy import Taxonomy

READABLE = 1000  # pixels of the longer side; smaller fields are enlarged, so that class names can be read


def boxes_on(image: np.ndarray, boxes: pd.DataFrame, taxonomy: Taxonomy, labels: bool = True) -> np.ndarray:
    """The field with the boxes and their class names (and confidences, if they have any), enlarged if it is small.

    image: uint8 (H, W, 3) RGB; boxes: [cls, x1, y1, x2, y2] and perhaps [conf], in its pixels.
    """
    factor = -(-READABLE // max(image.shape[:2]))
    corners = factor * boxes[["x1", "y1", "x2", "y2"]].to_numpy(float).reshape(-1, 4)
    found = sv.Detections(xyxy=corners, class_id=boxes.cls.to_numpy(int))
    texts = [taxonomy.classes[c] for c in boxes.cls]
    if "conf" in boxes:
        texts = [f"{text} {conf:.2f}" for text, conf in zip(texts, boxes.conf, strict=True)]
    colours = sv.ColorPalette.from_hex([HEAD_COLOURS[taxonomy.head_of(c)] for c in range(taxonomy.n)])
    side = factor * max(image.shape[:2])
    drawn = cv2.resize(image[..., ::-1], None, fx=factor, fy=factor)  # a copy, in BGR as supervision draws
    drawn = sv.BoxAnnotator(colours, thickness=max(1, side // 500)).annotate(drawn, found)
    if labels:
        drawn = sv.LabelAnnotator(colours, text_scale=side / 2500, text_padding=2).annotate(drawn, found, labels=texts)
    return np.ascontiguousarray(drawn[..., ::-1])
