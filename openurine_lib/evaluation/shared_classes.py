"""Scores of a detector on a data set of other classes, in those that both have.

The same are classes that the data set's taxonomy names as its equals in OpenUrine, or that have
one name (``taxonomy.equals``). The boxes of the data set's other classes are ignored: a detection
that lies on one of them is neither right nor wrong.

Annotators differ in how much room they leave around a particle. Around a small one that decides:
two pixels on each side of a box of 20 px lower its IoU with a tight one to 0.69, five to 0.44.
``room`` measures the habit on training fields, so that boxes can be widened by it (``widened``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from torchvision.ops import box_iou

from openurine_lib.data.box_tensors import corners
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.taxonomy import Taxonomy, equals
from openurine_lib.evaluation.metrics import ByImage, average_precision

SAME = 0.3  # IoU: a tight and a loose box of one particle
SURE = 0.25  # confidence of the detections by which the room is measured


def renamed(boxes: pd.DataFrame, new: Taxonomy, old: Taxonomy) -> pd.DataFrame:
    """Detections of the classes of ``old`` as those of ``new``; the others are left out."""
    theirs = {i: cls for cls, ids in equals(new, old).items() for i in ids}
    kept = boxes[boxes["cls"].isin(theirs.keys())]
    return kept.assign(cls=kept["cls"].map(theirs).astype(int)).reset_index(drop=True)


def without_ignored(
    found: pd.DataFrame, wanted: pd.DataFrame, others: pd.DataFrame, iou: float
) -> pd.DataFrame:
    """Detections without those that lie on a box of ``others``.

    Such a detection overlaps that box by ``iou`` at least, and every ``wanted`` box by less.
    """
    found = found.reset_index(drop=True)
    keep = np.ones(len(found), bool)
    others_on, wanted_on = ByImage(others), ByImage(wanted)
    for image, part in found.groupby("image"):
        if others_on[image].empty:
            continue
        on_other = _overlap(part, others_on[image])
        keep[part.index] = (on_other < iou) | (_overlap(part, wanted_on[image]) >= on_other)
    return found[keep]


def average_precision_of(
    classes: Collection[int],
    truth: pd.DataFrame,
    found: pd.DataFrame,
    n_classes: int,
    images: Sequence[str],
    iou: float,
) -> pd.Series:
    """AP in 0..1 of some of the ``n_classes``, as ``metrics.average_precision`` gives it.

    Detections of other classes, and those on boxes of other classes, are neither right nor wrong.
    """
    of_these = truth["cls"].isin(classes)
    wanted = truth[of_these].reset_index(drop=True)
    kept = without_ignored(found[found["cls"].isin(classes)], wanted, truth[~of_these], iou)
    return average_precision(wanted, kept, n_classes, images, iou)


def room(found: pd.DataFrame, truth: pd.DataFrame) -> float:
    """How much farther out than the detector's a true box lies, on each side: median in pixels.

    Only detections above SURE count that overlap a true box of their class by SAME. 0 without any.
    """
    sure = found[found["conf"] >= SURE]
    truth_on = ByImage(truth)
    distances = []
    for image, part in sure.groupby("image"):
        true = truth_on[image]
        if true.empty:
            continue
        iou = box_iou(corners(part), corners(true)).numpy()  # (N, M)
        iou[part["cls"].to_numpy()[:, None] != true["cls"].to_numpy()[None]] = 0
        nearest = true[XYXY].to_numpy()[iou.argmax(1)]
        sides = (_sides(nearest) - _sides(part[XYXY].to_numpy())) / 2  # (N, 2)
        distances.append(sides[iou.max(1) >= SAME].ravel())
    together = np.concatenate(distances) if distances else np.zeros(0)
    return float(np.median(together)) if len(together) else 0.0


def widened(boxes: pd.DataFrame, by: float) -> pd.DataFrame:
    """The boxes with ``by`` pixels more on each side."""
    return boxes.assign(
        x1=boxes["x1"] - by, y1=boxes["y1"] - by, x2=boxes["x2"] + by, y2=boxes["y2"] + by
    )


def _sides(xyxy: np.ndarray) -> np.ndarray:
    """Width and height (N, 2) of boxes (N, 4)."""
    return xyxy[:, 2:] - xyxy[:, :2]


def _overlap(boxes: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """The largest IoU of each box with one of the others: (N,), 0 without any."""
    if others.empty:
        return np.zeros(len(boxes))
    return box_iou(corners(boxes), corners(others)).max(1).values.numpy()
