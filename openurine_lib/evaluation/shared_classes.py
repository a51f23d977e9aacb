"""Scores of a detector on a data set of other classes, in those that both have.

What counts is the ``openurine`` entry of the data set's taxonomy: its classes that are the same
particle as one or several of OpenUrine's 39. The boxes of its other classes are ignored: a
detection that lies on one of them is neither right nor wrong.

Annotators differ in how much room they leave around a particle. Around a small one that decides:
two pixels on each side of a box of 20 px lower its IoU with a tight one to 0.69, five to 0.44.
``room`` measures the habit on training fields, so that boxes can be widened by it (``widened``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from torchvision.ops import box_iou

from openurine_lib.data.boxes import XYXY
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import ByImage, corners

SAME = 0.3  # IoU: a tight and a loose box of one particle
SURE = 0.25  # confidence of the detections by which the room is measured


def shared(taxonomy: Taxonomy) -> Taxonomy:
    """The classes of a data set that OpenUrine has too, in one head.

    They have the data set's names; OpenUrine's are aliases. Raises ValueError if there are none.
    """
    if not taxonomy.openurine:
        raise ValueError(
            f"taxonomy {taxonomy.name!r} names no class that OpenUrine has too; its file may list "
            "them under `openurine`"
        )
    ids = sorted(taxonomy.openurine)
    names = tuple(taxonomy.classes[c] for c in ids)
    aliases = {other: taxonomy.classes[c] for c in ids for other in taxonomy.openurine[c]}
    return Taxonomy("shared", names, {"Cells": tuple(range(len(names)))}, aliases, {})


def in_shared(boxes: pd.DataFrame, taxonomy: Taxonomy, common: Taxonomy) -> pd.DataFrame:
    """The boxes of shared classes, with their ids in ``common`` instead of ``taxonomy``."""
    ids = {i: common.id(name) for i, name in enumerate(taxonomy.classes) if common.knows(name)}
    of_shared = boxes[boxes["cls"].isin(ids)]
    return of_shared.assign(cls=of_shared["cls"].map(ids)).reset_index(drop=True)


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
        a, b = part[XYXY].to_numpy(), true[XYXY].to_numpy()[iou.argmax(1)]
        sides = (b[:, 2:] - b[:, :2] - a[:, 2:] + a[:, :2]) / 2  # (N, 2): of width, of height
        distances.append(sides[iou.max(1) >= SAME].ravel())
    together = np.concatenate(distances) if distances else np.zeros(0)
    return float(np.median(together)) if len(together) else 0.0


def widened(boxes: pd.DataFrame, by: float) -> pd.DataFrame:
    """The boxes with ``by`` pixels more on each side."""
    return boxes.assign(
        x1=boxes["x1"] - by, y1=boxes["y1"] - by, x2=boxes["x2"] + by, y2=boxes["y2"] + by
    )


def _overlap(boxes: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """The largest IoU of each box with one of the others: (N,), 0 without any."""
    if others.empty:
        return np.zeros(len(boxes))
    return box_iou(corners(boxes), corners(others)).max(1).values.numpy()
