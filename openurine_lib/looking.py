"""How a detector looks at a field: in slices (SAHI), whole at their scale, and in how many looks.

The paper's way is slices whose finds are merged by non-maximum suppression. What else a ``Way``
can ask for is ours:

- At once: a field that is small enough is seen whole, at the scale of its slices.
- Without finds at a cut: a slice cuts the particles at its edge, and a detector takes a piece for a
  particle. Suppression keeps both, since a piece and the whole overlap too little. But slices
  overlap, so another one mostly shows the particle whole. Therefore a find that touches a cut is
  left out if another slice shows all of it away from its cuts. What no slice shows so, as a long
  cast, counts in all of them.
- Two looks, whose finds are fused (``two_looks``).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sahi.models.base import DetectionModel
from sahi.postprocess.backends import set_postprocess_backend
from sahi.predict import get_prediction, get_sliced_prediction
from sahi.slicing import get_slice_bboxes

from openurine_lib.data.box_tensors import suppressed
from openurine_lib.data.boxes import XYXY
from openurine_lib.ways import Way

MATCH_THRESHOLD = 0.5  # IoU from which two boxes are one particle
TYPES: dict[str, Any] = {"cls": int} | dict.fromkeys(["conf", *XYXY], float)
AT_ONCE_PX = 1280  # longest side at which a network sees a field ``at_once``: memory grows with it
CUT_PX = 3  # of the field: a find that lies nearer to a cut touches it (taken once, not tuned)
BATCH = 16  # slices a forward pass, unless the detector says (``batch``)
# A processor gains nothing from more than one, and could lose boxes: where ultralytics' suppression
# meets its time limit, it leaves the rest of the batch without any.
BATCH_CPU = 1

logging.getLogger("sahi").setLevel(logging.ERROR)  # it warns of every box of no area
set_postprocess_backend("numpy")  # no slower here, and orders equal scores the same way every time


def found(
    detector: DetectionModel, image: np.ndarray, slice_px: int | None, overlap: float, way: Way
) -> pd.DataFrame:
    """What one look finds, in no order: [cls, conf, x1, y1, x2, y2] in the image's pixels.

    image: uint8 (H, W, 3) RGB. slice_px: side of the slices; None: the whole, at ``image_size``.
    overlap: of neighbouring slices, a share of their side.
    """
    px = size_at_once(detector, max(image.shape[:2]), slice_px) if way.at_once else None
    if px:
        with _seen_at(detector, px):
            return _boxes(get_prediction(image, detector).object_prediction_list)
    if slice_px is None:
        return _boxes(get_prediction(image, detector).object_prediction_list)
    usual = BATCH_CPU if "cpu" in str(detector.device) else BATCH
    batch = getattr(detector, "batch", usual)
    if way.uncut:
        return _without_cut(detector, image, slice_px, overlap, batch)
    result = get_sliced_prediction(
        image, detector, slice_height=slice_px, slice_width=slice_px,
        overlap_height_ratio=overlap, overlap_width_ratio=overlap, perform_standard_pred=False,
        postprocess_type="NMS", postprocess_match_metric="IOU",
        postprocess_match_threshold=MATCH_THRESHOLD, postprocess_class_agnostic=False,
        batch_size=batch, verbose=0,
    )  # fmt: skip
    return _boxes(result.object_prediction_list)


def size_at_once(detector: Any, side: int, slice_px: int | None) -> int | None:
    """Pixels at which a field of that longer side is seen whole as its slices would be.

    None if it is no larger than a slice, if AT_ONCE_PX is too small for it, or if the detector sees
    every image at one size (it has no ``any_size``).
    """
    if not slice_px or side <= slice_px or not getattr(detector, "any_size", False):
        return None
    px = math.ceil(side * detector.image_size / slice_px / 32) * 32  # whole cells of every level
    return px if px <= AT_ONCE_PX else None


def cuts(height: int, width: int, slice_px: int, overlap: float) -> np.ndarray:
    """The slices of a field as sahi cuts it: (S, 4) x1, y1, x2, y2 in its pixels."""
    corners = get_slice_bboxes(
        height, width, slice_px, slice_px,
        overlap_height_ratio=overlap, overlap_width_ratio=overlap,
    )  # fmt: skip
    return np.array(corners)


def uncut(boxes: np.ndarray, slices: np.ndarray, own: int, size: Sequence[int]) -> np.ndarray:
    """Which of a slice's boxes touch no cut, or are shown away from one by no slice: (N,) bool.

    boxes: (N, 4), and slices: (S, 4), x1, y1, x2, y2 in pixels of the field. own: which of the
    slices found them. size: width and height of the field, whose own edges cut nothing.
    """
    low, high = slices[:, None, :2], slices[:, None, 2:]  # (S, 1, 2)
    # how far a box lies from the edges of each slice; below 0 where it reaches beyond
    before = np.where(low > 0, boxes[:, :2] - low, np.inf)  # (S, N, 2)
    after = np.where(high < np.array(size), high - boxes[:, 2:], np.inf)
    distance = np.minimum(before, after).min(2)  # (S, N)
    whole = distance > CUT_PX
    return whole[own] | ~whole.any(0)


def _without_cut(
    detector: DetectionModel, image: np.ndarray, slice_px: int, overlap: float, batch: int
) -> pd.DataFrame:
    height, width = image.shape[:2]
    slices = cuts(height, width, slice_px, overlap)
    numbers = iter(range(len(slices)))
    parts = []
    while some := list(itertools.islice(numbers, batch)):
        shown = [image[y1:y2, x1:x2] for x1, y1, x2, y2 in slices[some]]
        detector.perform_batch_inference([np.ascontiguousarray(pixels) for pixels in shown])
        # of each slice in its own pixels
        detector.convert_original_predictions(
            shift_amount=[[0, 0]] * len(some), full_shape=[list(p.shape[:2]) for p in shown]
        )
        for own, of_slice in zip(some, detector.object_prediction_list_per_image, strict=True):
            boxes = _boxes(of_slice)
            boxes[XYXY] += np.tile(slices[own, :2], 2)  # to the pixels of the field
            kept = uncut(boxes[XYXY].to_numpy(), slices, own, (width, height))
            parts.append(boxes[kept])
    return suppressed(pd.concat(parts, ignore_index=True), MATCH_THRESHOLD)


@contextlib.contextmanager
def _seen_at(detector: Any, px: int) -> Iterator[None]:
    """Within, the detector brings images to that size, and gives as many more boxes."""
    usual = detector.image_size, detector.max_det
    # as many boxes on an area as slices may have there
    detector.max_det = round(detector.max_det * (px / detector.image_size) ** 2)
    detector.image_size = px
    try:
        yield
    finally:
        detector.image_size, detector.max_det = usual


def _boxes(predictions: Sequence[Any]) -> pd.DataFrame:
    """sahi's objects as a frame."""
    rows = [(p.category.id, p.score.value, *p.bbox.to_xyxy()) for p in predictions]
    # astype: an empty frame has no types of its own
    return pd.DataFrame(rows, columns=list(TYPES)).astype(TYPES)
