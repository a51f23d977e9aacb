"""Table 7 and the analysis around it: scores of each class, what is taken for what, and RBC against WBC.

Everything is computed fold by fold, on fields that the fold's detector has not seen, and then put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from ultralytics.utils.metrics import ConfusionMatrix, box_iou

from openurine_lib import published, style
from openurine_lib.evaluate import PER_CLASS, best_confidence, classes_of, corners, evaluate

if TYPE_CHECKING:
    from openurine_lib.run import Run
    from openurine_lib.taxonomy import Taxonomy

IOU = 0.5
BACKGROUND = "background"
UNWEIGHTED, WEIGHTED = published.SUMMARY_ROWS[7]
METRICS = published.METRICS


class Scored(NamedTuple):
    """One fold: what is there, what was detected, and how well."""

    truth: pd.DataFrame  # image, cls, x1..y2
    predictions: pd.DataFrame  # image, cls, conf, x1..y2
    images: list[str]
    metrics: pd.DataFrame  # of ``evaluate``
    confidence: float  # of the highest mean F1: where precision and recall are read


def score_fold(run: Run, fold: int, predictions: pd.DataFrame) -> Scored:
    """The fold's test fields with their predictions, scored by the one evaluator."""
    fields = run.dataset.test_images(fold, run.profile.max_test_fields)
    truth, images, n = run.dataset.boxes_of(fields), list(fields["image"]), run.dataset.taxonomy.n
    metrics = evaluate(truth, predictions, n, images)
    return Scored(truth, predictions, images, metrics, best_confidence(truth, predictions, n, images))


def spelling(taxonomy: Taxonomy) -> dict[int, str]:
    """Class id -> name as Table 7 spells it; the taxonomy's own name for a class that the paper does not have."""
    printed = {taxonomy.id(row): row for row in published.table(7)["row"] if taxonomy.knows(row)}
    return {i: printed.get(i, name) for i, name in enumerate(taxonomy.classes)}


def published_rows(taxonomy: Taxonomy) -> pd.DataFrame:
    """Table 7 for these classes: a row each, sorted by printed name (NaN if the paper lacks it), then the averages."""
    rows = [*sorted(spelling(taxonomy).values(), key=str.casefold), UNWEIGHTED, WEIGHTED]
    return published.table(7).set_index("row").reindex(rows).rename_axis("row").reset_index()


def table7(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Table 7: [row, head, boxes, precision, recall, map50, map50_95] in percent, and two rows of averages.

    A class's metrics are means over the folds whose test fields have true boxes of it, ``boxes`` the sum over folds;
    a class without any has 0 boxes, NaN metrics and the reason, and no part in the averages. The unweighted average is
    over classes, the weighted one over true boxes (each class with its number of them), as in the paper.
    """
    names, pooled = spelling(taxonomy), pd.concat([f.metrics for f in folds]).groupby("cls")
    table = 100 * pooled[list(PER_CLASS.values())].mean()
    table = table.rename(columns={column: metric for metric, column in PER_CLASS.items()})
    table.insert(0, "boxes", pooled["boxes"].sum())
    table.insert(0, "head", [taxonomy.head_of(c) for c in table.index])
    table.insert(0, "row", [names[c] for c in table.index])
    table["reason"] = np.where(table["boxes"] > 0, "", "no true box in the scored fields")
    return pd.concat([table.sort_values("row"), averages(table)], ignore_index=True)


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """The two last rows of Table 7 from its rows of classes; NaN if no class is present."""
    there = table[table["boxes"] > 0]
    total = int(there["boxes"].sum())
    plain, weighted = there[METRICS].mean(), there[METRICS].mul(there["boxes"], axis=0).sum(min_count=1) / max(total, 1)
    rows = [{"row": UNWEIGHTED, "boxes": total, **plain}, {"row": WEIGHTED, "boxes": total, **weighted}]
    return pd.DataFrame(rows).assign(head="", reason="")


def confusion(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Boxes by true class (rows) and detected class (columns), both with ``background`` last, summed over folds.

    Ultralytics' ConfusionMatrix: detections above the fold's best-F1 confidence take, in descending confidence and
    whatever their class, the true box of highest IoU above 0.5. Row background: detections of nothing; column
    background: true boxes without a detection.
    """
    matrix = ConfusionMatrix(names=dict(enumerate(taxonomy.classes)))
    for fold in folds:
        for image in fold.images:
            t, p = fold.truth[fold.truth["image"] == image], fold.predictions[fold.predictions["image"] == image]
            found = {"bboxes": corners(p), "cls": classes_of(p), "conf": torch.tensor(p["conf"].to_numpy(dtype=float))}
            matrix.process_batch(found, {"bboxes": corners(t), "cls": classes_of(t)}, fold.confidence, IOU)
    labels = [*spelling(taxonomy).values(), BACKGROUND]
    return pd.DataFrame(matrix.matrix.T.astype(int), index=labels, columns=labels).rename_axis("true")


def taken_for(folds: Sequence[Scored], taxonomy: Taxonomy, true: str, called: str) -> dict[str, float]:
    """How many of the missed boxes of a component were taken for another: [boxes, missed, taken, percent].

    ``true`` and ``called`` are clinical components of the taxonomy (e.g. WBC and RBC: a component may be several
    classes). Of the true boxes of ``true``, *missed* are those that no detection of ``true`` covers at IoU >= 0.5 and
    at the fold's best-F1 confidence or more; of the missed, *taken* are those that a detection of ``called`` covers in
    the same sense. ``percent`` is taken / missed; NaN if none is missed. A detection may cover several boxes.
    The paper gives 38% (missed WBC taken for RBC) and 43% (missed RBC taken for WBC) and no definition.
    """
    boxes = missed = taken = 0
    for fold in folds:
        sure = fold.predictions[fold.predictions["conf"] >= fold.confidence]
        for image, rows in fold.truth[fold.truth["cls"].isin(taxonomy.components[true])].groupby("image"):
            here = sure[sure["image"] == image]
            lost = ~covered(rows, here[here["cls"].isin(taxonomy.components[true])])
            wrong = lost & covered(rows, here[here["cls"].isin(taxonomy.components[called])])
            boxes, missed, taken = boxes + len(rows), missed + int(lost.sum()), taken + int(wrong.sum())
    return {"boxes": boxes, "missed": missed, "taken": taken, "percent": 100 * taken / missed if missed else np.nan}


def covered(truth: pd.DataFrame, detections: pd.DataFrame) -> np.ndarray:
    """Which true boxes (of one image) some detection covers at IoU >= 0.5: (M,) booleans."""
    return (box_iou(corners(truth), corners(detections)) >= IOU).any(1).numpy()


def rbc_wbc(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Both directions of ``taken_for`` between RBC and WBC; a row of a taxonomy without them has no numbers."""
    rows = []
    for true, called in (("WBC", "RBC"), ("RBC", "WBC")):
        known = true in taxonomy.components and called in taxonomy.components
        rows.append({"row": RBC_WBC_ROWS[true], **(taken_for(folds, taxonomy, true, called) if known else {})})
    return pd.DataFrame(rows, columns=["row", "boxes", "missed", "taken", "percent"])


RBC_WBC_ROWS = {"WBC": "missed WBC taken for RBC", "RBC": "missed RBC taken for WBC"}
# The paper's text, section "Class-wise analysis" (not in its tables).
PUBLISHED_RBC_WBC = pd.DataFrame({"row": list(RBC_WBC_ROWS.values()), "percent": [38.0, 43.0]})


def plot_classes(table: pd.DataFrame, face: str, metric: str = "map50") -> Figure:
    """AP50 of each class present (percent), sorted, coloured by head; the number of true boxes at each name."""
    there = table[(table["boxes"] > 0) & (table["head"] != "")].sort_values(metric, kind="stable")
    fig, ax = plt.subplots(figsize=(style.COLUMN, 0.5 + 0.13 * max(len(there), 6)))
    names = [f"{name} ({boxes})" for name, boxes in zip(there["row"], there["boxes"], strict=True)]
    ax.barh(names, there[metric], color=there["head"].map(style.HEAD_COLOURS))
    heads = [head for head in style.HEAD_COLOURS if head in set(there["head"])]
    ax.legend(handles=[Patch(color=style.HEAD_COLOURS[head], label=head) for head in heads], loc="lower right")
    ax.set(xlim=(0, 100), xlabel="AP50 (%); true boxes in brackets")
    ax.set_title(face, fontsize=5)
    return fig


def plot_confusion(matrix: pd.DataFrame, face: str) -> Figure:
    """The confusion matrix as shares of each row in percent, with the counts written where there is room."""
    total = matrix.sum(axis=1)
    seen = matrix.loc[total > 0]
    columns = [c for c in matrix if c in seen.index or matrix[c].sum() > 0]
    share = 100 * seen[columns].div(total[total > 0], axis=0)
    few = len(columns) <= 15
    fig, ax = plt.subplots(figsize=style.size(style.COLUMN if few else style.PAGE, 0.95))
    sns.heatmap(share, ax=ax, vmin=0, vmax=100, cmap=style.SEQUENTIAL, annot=seen[columns] if few else False, fmt="d",
                annot_kws={"fontsize": 5}, xticklabels=True, yticklabels=True,
                cbar_kws={"label": "share of the true class's boxes (%)"})  # fmt: skip
    ax.set(xlabel="detected as", ylabel="true class")
    ax.set_title(face, fontsize=5)
    return fig
