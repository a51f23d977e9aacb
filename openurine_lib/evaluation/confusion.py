"""What is taken for what: the confusion matrix of Table 7's classes, and RBC against WBC.

Everything is at the fold's best-F1 confidence, on fields that its detector has not seen.

Every share of boxes that were taken for something else has one definition, *missed and covered*
(``taken_for``): a box is missed if no detection of its own component covers it at IoU 0.5, and
taken for another if a detection of that one covers it. The table of RBC and WBC, the claims and the
pictures of failures use it. The confusion matrix is another thing: it pairs each box with one
detection, so that a white cell with both names counts by the better overlap.
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
from openurine_lib.data.box_tensors import classes_of, corners
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.bootstrap import (
    FOR_LIMITS,
    MIN_GROUPS,
    draws,
    interval,
    percent_interval,
)
from openurine_lib.evaluation.classwise import spelling
from openurine_lib.evaluation.metrics import ByImage, Scored

IOU = 0.5
BACKGROUND = "background"
OVERLOOKED = "nothing"  # what a missed box is taken for that no detection covers
PERCENT = ["percent", "percent_low", "percent_high"]
LEAD = ["lead", "lead_low", "lead_high"]
COLUMNS = ["boxes", "missed", "taken", *PERCENT, "rival", "rival_taken", *LEAD]


def confused(true: str, called: str) -> str:
    """The label of a row of ``rbc_wbc``."""
    return f"missed {true} taken for {called}"


# What the paper's text says of single classes (section "Class-wise analysis", not in its tables)
NAMED = (
    ("WBC", "RBC"),
    ("RBC", "WBC"),
    ("Bacteria", OVERLOOKED),
    ("Epithelial cell (renal)", OVERLOOKED),
)
PUBLISHED_RBC_WBC = pd.DataFrame(
    {"row": [confused(*pair) for pair in NAMED[:2]], "percent": [38.0, 43.0]}
)


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


def _counts(
    folds: Sequence[Scored], taxonomy: Taxonomy, true: str, called: str
) -> tuple[np.ndarray, np.ndarray]:
    """``taken_for`` by group (patient or slide): [boxes, missed, taken] (G, 3), and others (G, C).

    The others are how many of the missed boxes the detections of every other class cover.
    """
    own, other = _classes_of(taxonomy, true), _classes_of(taxonomy, called)
    rows, covers = [], []
    for fold in folds:
        found_on = ByImage(fold.confident)
        group_of = dict(zip(fold.fields["image"], fold.fields["group"], strict=True))
        for image, boxes in fold.truth[fold.truth["cls"].isin(own)].groupby("image"):
            found = found_on[image]
            classes = found["cls"].to_numpy()
            over = box_iou(corners(boxes), corners(found)).numpy() >= IOU  # (M, N)
            missed = ~over[:, np.isin(classes, own)].any(1)  # (M,)
            hit = ~over.any(1) if called == OVERLOOKED else over[:, np.isin(classes, other)].any(1)
            taken = missed & hit
            by_class = np.zeros(taxonomy.n, dtype=int)
            for c in set(classes[over[missed].any(0)]) - {*own, *other}:
                by_class[c] = over[missed][:, classes == c].any(1).sum()
            rows.append((group_of[image], len(boxes), missed.sum(), taken.sum()))
            covers.append(by_class)
    counts = pd.DataFrame(rows, columns=["group", "boxes", "missed", "taken"])
    counts = counts.join(pd.DataFrame(covers, columns=range(taxonomy.n)))
    by_group = counts.groupby("group").sum().to_numpy(dtype=int)  # the unit of the resamples
    return by_group[:, :3], by_group[:, 3:]


def taken_for(
    folds: Sequence[Scored], taxonomy: Taxonomy, true: str, called: str
) -> dict[str, Any]:
    """How many missed boxes of a component were taken for another: COLUMNS.

    ``true`` and ``called`` are clinical components, such as WBC and RBC, of one or more classes, or
    single classes. Of the true boxes of ``true``, *missed* are those that no detection of ``true``
    covers at IoU 0.5 and at the fold's best-F1 confidence; of the missed, *taken* are those that a
    detection of ``called`` covers in the same sense, or, for OVERLOOKED, that no detection covers.
    A detection may cover several boxes. ``percent`` is taken / missed (NaN if none is missed). The
    paper gives 38 % (missed WBC taken for RBC), 43 % (the reverse), and no definition.

    ``rival`` is the class, other than these, that most of the missed boxes were taken for, and
    ``lead`` is (taken - rival_taken) / missed in percent. Both have 95 % intervals over groups.
    """
    by_group, others = _counts(folds, taxonomy, true, called)
    _, missed, taken = by_group.T  # (G,) each
    total = dict(zip(("boxes", "missed", "taken"), map(int, by_group.sum(0)), strict=True))
    rival = int(others.sum(0).argmax())
    rival_taken = int(others[:, rival].sum())
    numbers: dict[str, Any] = total | dict.fromkeys([*PERCENT, *LEAD], np.nan)
    numbers["rival"] = taxonomy.classes[rival] if rival_taken else "anything else"
    numbers["rival_taken"] = rival_taken
    if total["missed"]:
        numbers["percent"] = 100 * total["taken"] / total["missed"]
        numbers["lead"] = numbers["percent"] - 100 * rival_taken / total["missed"]
    numbers |= dict(zip(PERCENT[1:], percent_interval(taken, missed), strict=True))
    return numbers | dict(zip(LEAD[1:], _lead_interval(taken, others, missed), strict=True))


def _lead_interval(
    taken: np.ndarray, others: np.ndarray, missed: np.ndarray
) -> tuple[float, float]:
    """95 % interval (percent) of the lead over the largest of the others (G, C), over groups.

    NaN where fewer than MIN_GROUPS groups miss a box, and where all resamples are equal.
    """
    with_missed = missed > 0
    if with_missed.sum() < MIN_GROUPS:
        return np.nan, np.nan
    drawn = draws(int(with_missed.sum()), FOR_LIMITS)  # (R, G)
    rivals = (drawn @ others[with_missed]).max(1)
    lead = 100 * (drawn @ taken[with_missed] - rivals) / (drawn @ missed[with_missed])  # (R,)
    low, high = interval(lead)
    return (float(low), float(high)) if low < high else (np.nan, np.nan)


def _classes_of(taxonomy: Taxonomy, name: str) -> list[int]:
    """The class ids of a component, or of a class; none if the taxonomy has neither."""
    if name in taxonomy.components:
        return list(taxonomy.components[name])
    return [taxonomy.id(name)] if taxonomy.knows(name) else []


def rbc_wbc(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """``taken_for`` of what the paper names; a taxonomy without the classes has no numbers."""
    rows: list[dict[str, Any]] = []
    for true, called in NAMED:
        asked = [true] if called == OVERLOOKED else [true, called]
        known = all(_classes_of(taxonomy, name) for name in asked)
        numbers = taken_for(folds, taxonomy, true, called) if known else {}
        rows.append({"row": confused(true, called), **numbers})
    return pd.DataFrame(rows, columns=["row", *COLUMNS])


def plot_confusion(matrix: pd.DataFrame, taxonomy: Taxonomy, banner: str) -> Figure:
    """The confusion matrix as shares of each row in percent; with counts where there is room.

    A class's name has the colour of its head. What never happened is white.
    """
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
    colours: dict[str, Any] = {"vmin": 0, "vmax": 100, "cmap": style.SHARES, "cbar_kws": bar}
    lines: dict[str, Any] = {"linewidths": 0.3, "linecolor": "0.92", "mask": share == 0}
    sns.heatmap(share, ax=ax, xticklabels=True, yticklabels=True, **lines, **colours, **counts)
    ax.set(xlabel="detected as", ylabel="true class")
    heads = {name: taxonomy.head_of(cls) for cls, name in spelling(taxonomy).items()}
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        label.set_color(style.HEAD_COLOURS.get(heads.get(label.get_text(), ""), "black"))
    ax.set_title(banner, fontsize=5)
    return fig
