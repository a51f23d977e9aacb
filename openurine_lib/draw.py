"""Boxes on a field, coloured by head, with supervision's annotators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import supervision as sv

from openurine_lib.style import HEAD_COLOURS
from openurine_lib.taxonomy import Taxonomy


def boxes_on(image: np.ndarray, boxes: pd.DataFrame, taxonomy: Taxonomy, labels: bool = True) -> np.ndarray:
    """A copy of the image with the boxes and their class names (and confidences, if they have any).

    image: uint8 (H, W, 3) RGB; boxes: [cls, x1, y1, x2, y2] and perhaps [conf], in its pixels.
    """
    corners = boxes[["x1", "y1", "x2", "y2"]].to_numpy(float).reshape(-1, 4)
    found = sv.Detections(xyxy=corners, class_id=boxes.cls.to_numpy(int))
    texts = [taxonomy.classes[c] for c in boxes.cls]
    if "conf" in boxes:
        texts = [f"{text} {conf:.2f}" for text, conf in zip(texts, boxes.conf, strict=True)]
    colours = sv.ColorPalette.from_hex([HEAD_COLOURS[taxonomy.head_of(c)] for c in range(taxonomy.n)])
    side = max(image.shape[:2])
    drawn = np.ascontiguousarray(image[..., ::-1])  # supervision draws in BGR
    drawn = sv.BoxAnnotator(colours, thickness=max(1, side // 500)).annotate(drawn, found)
    if labels:
        drawn = sv.LabelAnnotator(colours, text_scale=side / 2500, text_padding=2).annotate(drawn, found, labels=texts)
    return np.ascontiguousarray(drawn[..., ::-1])
