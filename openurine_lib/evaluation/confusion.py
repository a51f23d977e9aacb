"""What is taken for what: the confusion matrix of Table 7's classes, and RBC against WBC.

Everything is at the fold's best-F1 confidence, on fields that its detector has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from ultralytics.utils.metrics import ConfusionMatrix, box_iou

from openurine_lib import style
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.bootstrap import percent_interval
from openurine_lib.evaluation.classwise import spelling
from openurine_lib.evaluation.metrics import ByImage, Scored, classes_of, corners

IOU = 0.5
BACKGROUND = "background"
RBC_WBC_ROWS = {"WBC": "missed WBC taken for RBC", "RBC": "missed RBC taken for WBC"}
PERCENT = ["percent", "percent_low", "percent_high"]
# The paper's text, section "Class-wise analysis" (not in its tables).
PUBLISHED_RBC_WBC = pd.DataFrame({"row": list(RBC_WBC_ROWS.values()), "percent": [38.0, 43.0]})


def confusion_matrix(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Boxes by true class (rows) and detected class (columns), summed over folds.

    This is ultralytics' ConfusionMatrix at the fold's best-F1 confidence: in descending confidence
    and whatever its class, a detection takes the true box of highest IoU, above 0.5. Both axes end
    with ``background``: as a row the detections of nothing, as a column the boxes not detected.
    """
    matrix = ConfusionMatrix(names=dict(enumerate(taxonomy.classes)))
    for fold in folds:
        truth_on = ByImage(fold.truth)
        found_on = ByImage(fold.confident)
        for image in fold.fields["image"]:
            true, found = truth_on[image], found_on[image]
            detections = {"conf": torch.tensor(found["conf"].to_numpy(dtype=float))}
            detections |= {"bboxes": corners(found), "cls": classes_of(found)}
            targets = {"bboxes": corners(true), "cls": classes_of(true)}
            matrix.process_batch(detections, targets, fold.confidence, IOU)
    labels = [*spelling(taxonomy).values(), BACKGROUND]
    counts = matrix.matrix.T.astype(int)  # ultralytics has the detected class in the rows
    return pd.DataFrame(counts, index=labels, columns=labels).rename_axis("true")


def covered(truth: pd.DataFrame, detections: pd.DataFrame) -> np.ndarray:
    """Which true boxes (of one image) some detection covers at IoU >= 0.5: (M,) booleans."""
    return (box_iou(corners(truth), corners(detections)) >= IOU).any(1).numpy()


def taken_for(
    folds: Sequence[Scored], taxonomy: Taxonomy, true: str, called: str
) -> dict[str, float]:
    """How many missed boxes of a component were taken for another: boxes, missed, taken, PERCENT.

    ``true`` and ``called`` are clinical components, such as WBC and RBC, of one or more classes. Of
    the true boxes of ``true``, *missed* are those that no detection of ``true`` covers at IoU 0.5
    and at the fold's best-F1 confidence; of the missed, *taken* are those that a detection of
    ``called`` covers in the same sense. A detection may cover several boxes. ``percent`` is taken /
    missed (NaN if none is missed), with its 95 % interval over groups. The paper gives 38 % (missed
    WBC taken for RBC), 43 % (the reverse), and no definition.
    """
    rows = []
    for fold in folds:
        found_on = ByImage(fold.confident)
        group_of = dict(zip(fold.fields["image"], fold.fields["group"], strict=True))
        of_component = fold.truth["cls"].isin(taxonomy.components[true])
        for image, boxes in fold.truth[of_component].groupby("image"):
            found = found_on[image]
            right = found[found["cls"].isin(taxonomy.components[true])]
            wrong = found[found["cls"].isin(taxonomy.components[called])]
            missed = ~covered(boxes, right)  # (M,)
            taken = missed & covered(boxes, wrong)
            rows.append((group_of[image], len(boxes), missed.sum(), taken.sum()))
    counts = pd.DataFrame(rows, columns=["group", "boxes", "missed", "taken"])
    by_group = counts.groupby("group").sum().astype(int)  # the unit of the resamples
    total = by_group.sum().to_dict()
    percent = 100 * total["taken"] / total["missed"] if total["missed"] else np.nan
    ends = percent_interval(by_group["taken"], by_group["missed"])
    return total | dict(zip(PERCENT, [percent, *ends], strict=True))


def rbc_wbc(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """``taken_for`` between RBC and WBC, both ways; a taxonomy without them has no numbers."""
    rows: list[dict[str, Any]] = []
    for true, called in (("WBC", "RBC"), ("RBC", "WBC")):
        known = {true, called} <= set(taxonomy.components)
        numbers = taken_for(folds, taxonomy, true, called) if known else {}
        rows.append({"row": RBC_WBC_ROWS[true], **numbers})
    return pd.DataFrame(rows, columns=["row", "boxes", "missed", "taken", *PERCENT])


def plot_confusion(matrix: pd.DataFrame, banner: str) -> Figure:
    """The confusion matrix as shares of each row in percent; with counts where there is room."""
    total = matrix.sum(axis=1)
    seen = matrix.loc[total > 0]
    # columns: the classes of the rows, and whatever else was detected
    columns = [c for c in matrix if c in seen.index or matrix[c].sum() > 0]
    share = 100 * seen[columns].div(total[total > 0], axis=0)
    small = len(columns) <= 15  # room for a number in each cell
    fig, ax = plt.subplots(figsize=style.size(style.COLUMN if small else style.PAGE, 0.95))
    counts: dict[str, Any] = {
        "annot": seen[columns] if small else False,
        "fmt": "d",
        "annot_kws": {"fontsize": 5},
    }
    bar = {"label": "share of the true class's boxes (%)"}
    colours: dict[str, Any] = {"vmin": 0, "vmax": 100, "cmap": style.SEQUENTIAL, "cbar_kws": bar}
    sns.heatmap(share, ax=ax, xticklabels=True, yticklabels=True, **colours, **counts)
    ax.set(xlabel="detected as", ylabel="true class")
    ax.set_title(banner, fontsize=5)
    return fig
