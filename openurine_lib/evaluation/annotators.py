"""Two annotators of the same fields, compared box by box.

The paper had two experts, who worked independently, and gives no agreement between them. Here a box
of one is matched with one of the other where they overlap (IoU 0.5 or more), whatever their
classes, so that as much as possible overlaps in total (Hungarian method). Cohen's kappa of a class
(Cohen 1960, doi:10.1177/001316446002000104) is over all particles that either of them drew: is it
this class, or not? A particle that one did not draw is not this class to him. Nobody says how many
places both left empty, so no kappa here counts them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import cohen_kappa_score
from ultralytics.utils.metrics import box_iou

from openurine_lib.data.box_tensors import corners
from openurine_lib.data.check import labelled
from openurine_lib.data.readers import read
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import ByImage

IOU = 0.5
NOTHING = -1  # the class of a particle that an annotator did not draw
ALL = "all classes"


def compare(one: Path, other: Path) -> tuple[pd.DataFrame, Taxonomy, int]:
    """``pairs`` of two folders, their taxonomy, and how many fields have the same name in both.

    Raises DataError for what is wrong in a folder, FileNotFoundError without it, ValueError for
    folders of other classes, or without a common field.
    """
    for folder in (one, other):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
    (taxonomy, mine), (theirs_taxonomy, theirs) = (labelled(read(f)) for f in (one, other))
    if taxonomy.classes != theirs_taxonomy.classes:
        remedy = "put the same taxonomy.yaml into both"
        raise ValueError(f"{one} and {other} have other classes; {remedy}")
    fields = set(mine["image"]) & set(theirs["image"])
    if not fields:
        raise ValueError(f"{one} and {other}: no field has the same name in both")
    # a field without a box has a row without one
    boxes = [b[b["image"].isin(fields)].dropna(subset="cls") for b in (mine, theirs)]
    return pairs(*boxes), taxonomy, len(fields)


def pairs(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """[image, cls, cls_other], a row a particle; NOTHING where one has no box.

    one, other: boxes [image, cls, x1, y1, x2, y2].
    """
    of_one, of_other = ByImage(one), ByImage(other)
    rows: list[tuple[str, int, int]] = []
    for image in sorted({*one["image"], *other["image"]}):
        a, b = of_one[image], of_other[image]
        iou = box_iou(corners(a), corners(b)).numpy()  # (A, B)
        left, right = linear_sum_assignment(np.where(iou >= IOU, iou, 0), maximize=True)
        same = [(i, j) for i, j in zip(left, right, strict=True) if iou[i, j] >= IOU]
        classes, others = a["cls"].to_numpy(), b["cls"].to_numpy()
        rows += [(image, int(classes[i]), int(others[j])) for i, j in same]
        alone = set(range(len(a))) - {i for i, _ in same}
        rows += [(image, int(classes[i]), NOTHING) for i in sorted(alone)]
        alone = set(range(len(b))) - {j for _, j in same}
        rows += [(image, NOTHING, int(others[j])) for j in sorted(alone)]
    return pd.DataFrame(rows, columns=["image", "cls", "cls_other"])


def agreement(matched: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """[class, boxes, boxes_other, both (of this class to both), kappa], a row a class and ALL.

    matched: of ``pairs``. The row ALL: kappa over all classes of the particles that both drew; NaN
    where both say one and the same of all.
    """
    one, other = matched["cls"], matched["cls_other"]
    rows = []
    for cls, name in enumerate(taxonomy.classes):
        mine, theirs = one == cls, other == cls
        counts = (int(mine.sum()), int(theirs.sum()), int((mine & theirs).sum()))
        rows.append((name, *counts, _kappa(mine, theirs)))
    drawn = (one != NOTHING) & (other != NOTHING)
    counts = (int((one != NOTHING).sum()), int((other != NOTHING).sum()), int(drawn.sum()))
    rows.append((ALL, *counts, _kappa(one[drawn], other[drawn])))
    return pd.DataFrame(rows, columns=["class", "boxes", "boxes_other", "both", "kappa"])


def _kappa(one: pd.Series, other: pd.Series) -> float:
    if one.empty or (one.nunique() == 1 and other.nunique() == 1):
        return np.nan
    return float(cohen_kappa_score(one, other))
