"""Table 7 and what stands beside it: scores of each class, what is taken for what, and RBC against WBC.

Everything is computed fold by fold, on fields that the fold's detector has not seen, and then put together.

Intervals are of 95 %, by the bootstrap over groups: the patients or slides of every fold's test fields are drawn again
with replacement, and what is drawn is averaged over the folds. They say how far the choice of patients matters, not how
another training would end; of that the deviation over folds tells something, where there are several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from ultralytics.utils.metrics import ConfusionMatrix, box_iou

from openurine_lib import published, style
from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.metrics import IOUS, PER_CLASS, classes_of, corners
from openurine_lib.evaluation.scored import Scored

if TYPE_CHECKING:
    from openurine_lib.data.taxonomy import Taxonomy

IOU = 0.5
BACKGROUND = "background"
UNWEIGHTED, WEIGHTED = published.SUMMARY_ROWS[7]
METRICS = published.METRICS
STDS = [f"{metric}_std" for metric in METRICS]
LIMITS = [f"{metric}_{end}" for metric in METRICS for end in ("low", "high")]
PANELS = {"precision": "precision", "recall": "recall", "map50": "AP50"}
FEW = 10  # true boxes; of fewer, one box moves the recall by more than ten points


def spelling(taxonomy: Taxonomy) -> dict[int, str]:
    """Class id -> name as Table 7 spells it; the taxonomy's own name for a class that the paper does not have."""
    printed = {taxonomy.id(row): row for row in published.table(7)["row"] if taxonomy.knows(row)}
    return {i: printed.get(i, name) for i, name in enumerate(taxonomy.classes)}


def published_rows(taxonomy: Taxonomy) -> pd.DataFrame:
    """Table 7 for these classes: a row each, sorted by printed name (NaN if the paper lacks it), then the averages."""
    rows = [*sorted(spelling(taxonomy).values(), key=str.casefold), UNWEIGHTED, WEIGHTED]
    return published.table(7).set_index("row").reindex(rows).rename_axis("row").reset_index()


def table7(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Table 7: a row for each class, and two of averages, in percent.

    Columns: row, head, support (true boxes, and the fields and groups that they lie on: sums over folds), folds (that
    have the class), the four metrics with ``_std`` (over folds, n - 1), ``_low`` and ``_high`` (95 % interval), note (a
    support too small for a conclusion or an interval) and reason (why there is no number).

    A class's metrics are means over the folds whose test fields have true boxes of it; a class without any has 0 boxes,
    NaN metrics and the reason, and no part in the averages. The unweighted average is over classes, the weighted one
    over true boxes (each class with its number of them), as in the paper.
    """
    names, scores = spelling(taxonomy), [_percent(fold.metrics) for fold in folds]
    pooled = pd.concat(scores).groupby("cls")[METRICS]
    mean, spread = pooled.mean(), pooled.std()
    table = support(folds, taxonomy.n)
    table.insert(0, "head", [taxonomy.head_of(c) for c in table.index])
    table.insert(0, "row", [names[c] for c in table.index])
    for metric in METRICS:
        table[metric], table[f"{metric}_std"] = mean[metric], spread[metric]
    table["note"] = [_note(row) for row in table.itertuples()]
    table["reason"] = np.where(table["boxes"] > 0, "", "no true box in the scored fields")
    drawn = 100 * resampled(folds, taxonomy.n)
    table[LIMITS] = limits(table[METRICS].to_numpy(), drawn, table["groups"].to_numpy()).clip(
        0, 100
    )
    means, groups = averages(table), sum(f.fields["group"].nunique() for f in folds)
    deviation = pd.concat([averages(each) for each in scores]).groupby("row")[METRICS].std()
    means[STDS] = deviation.loc[means["row"]].to_numpy()
    boxes = np.stack([np.ones(taxonomy.n), table["boxes"]])[
        :, None, :, None
    ]  # unweighted, weighted
    filled = bootstrap.kept(drawn, table[METRICS].to_numpy())
    of_mean = np.nansum(filled * boxes, axis=2) / (~np.isnan(filled) * boxes).sum(2).clip(
        min=1
    )  # (2, R, 4)
    means[LIMITS] = limits(
        means[METRICS].to_numpy(), of_mean.swapaxes(0, 1), np.full(2, groups)
    ).clip(0, 100)
    return pd.concat([table.sort_values("row"), means], ignore_index=True)[[*table.columns]].astype(
        dict.fromkeys(["fields", "groups", "folds"], "Int64")
    )


def _percent(metrics: pd.DataFrame) -> pd.DataFrame:
    """A fold's metrics under the names of Table 7, in percent."""
    renamed = metrics.rename(columns={column: metric for metric, column in PER_CLASS.items()})
    return renamed.assign(**{metric: 100 * renamed[metric] for metric in METRICS})


def support(folds: Sequence[Scored], n_classes: int) -> pd.DataFrame:
    """What a class's number stands on: [boxes, fields, groups, folds] of each class, 0 where there is none."""
    truths = [
        f.truth.merge(f.fields[["image", "group"]], on="image").assign(fold=i)
        for i, f in enumerate(folds)
    ]
    of = pd.concat(truths).groupby("cls")
    counted = {"boxes": of.size(), "fields": of["image"].nunique(), "groups": of["group"].nunique()}
    return (
        pd.DataFrame(counted | {"folds": of["fold"].nunique()})
        .reindex(range(n_classes))
        .fillna(0)
        .astype(int)
    )


def _note(row: Any) -> str:
    said = []
    if 0 < row.boxes < FEW:
        said.append(f"{row.boxes} box{'es' * (row.boxes > 1)}: no conclusion")
    elif 0 < row.groups < bootstrap.MIN_GROUPS:
        said.append(f"{row.groups} group{'s' * (row.groups > 1)}: no interval")
    if row.recall == 0 and row.precision > 0:
        said.append(
            "none found: the precision is a convention"
        )  # ultralytics': 100 if only unsure ones are there
    return "; ".join(said)


def limits(values: np.ndarray, drawn: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Intervals as the columns LIMITS (C, 8), of METRICS (C, 4) whose resamples (R, C, 4) rest on so many groups (C,).

    NaN for fewer than ``bootstrap.MIN_GROUPS`` groups, and where all resamples are alike: if nothing or all of a class
    is found, drawing again cannot tell how sure that is.
    """
    low, high = bootstrap.about(values, drawn)
    none = (groups < bootstrap.MIN_GROUPS)[:, None] | (low == high)
    return np.where(none[..., None], np.nan, np.stack([low, high], axis=2)).reshape(len(groups), -1)


def resampled(folds: Sequence[Scored], n_classes: int, seed: int = 0) -> np.ndarray:
    """METRICS of each class in resamples of the folds' groups: (R, C, 4) in 0..1, means over the folds.

    NaN where a resample lacks the class. Precision and recall are read at each fold's own confidence.
    """
    total, times = (
        np.zeros((bootstrap.FOR_LIMITS, n_classes, 4)),
        np.zeros((bootstrap.FOR_LIMITS, n_classes, 4)),
    )
    for i, fold in enumerate(folds):
        m = bootstrap.matched(fold.truth, fold.predictions, n_classes, fold.fields)
        drawn = bootstrap.draws(len(m.groups), bootstrap.FOR_LIMITS, seed + i)
        ap = np.stack([bootstrap.average_precision(m, drawn, iou) for iou in range(len(IOUS))])
        values = np.stack(
            [*bootstrap.precision_recall(m, drawn, fold.confidence), ap[0], ap.mean(0)], axis=2
        )
        total, times = total + np.nan_to_num(values), times + ~np.isnan(values)
    return np.where(times > 0, total / np.maximum(times, 1), np.nan)


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """The two last rows of Table 7 from its rows of classes; NaN if no class is present."""
    there = table[table["boxes"] > 0]
    total = int(there["boxes"].sum())
    plain, weighted = (
        there[METRICS].mean(),
        there[METRICS].mul(there["boxes"], axis=0).sum(min_count=1) / max(total, 1),
    )
    rows = [
        {"row": UNWEIGHTED, "boxes": total, **plain},
        {"row": WEIGHTED, "boxes": total, **weighted},
    ]
    return pd.DataFrame(rows).assign(head="", note="", reason="")


def confusion(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Boxes by true class (rows) and detected class (columns), both with ``background`` last, summed over folds.

    Ultralytics' ConfusionMatrix: detections above the fold's best-F1 confidence take, in descending confidence and
    whatever their class, the true box of highest IoU above 0.5. Row background: detections of nothing; column
    background: true boxes without a detection.
    """
    matrix = ConfusionMatrix(names=dict(enumerate(taxonomy.classes)))
    for fold in folds:
        sure = fold.predictions[fold.predictions["conf"] >= fold.confidence]
        true_of, found_in = (dict(tuple(frame.groupby("image"))) for frame in (fold.truth, sure))
        for image in fold.fields["image"]:
            t, p = true_of.get(image, fold.truth.iloc[:0]), found_in.get(image, sure.iloc[:0])
            found = {
                "bboxes": corners(p),
                "cls": classes_of(p),
                "conf": torch.tensor(p["conf"].to_numpy(dtype=float)),
            }
            matrix.process_batch(
                found, {"bboxes": corners(t), "cls": classes_of(t)}, fold.confidence, IOU
            )
    labels = [*spelling(taxonomy).values(), BACKGROUND]
    return pd.DataFrame(matrix.matrix.T.astype(int), index=labels, columns=labels).rename_axis(
        "true"
    )


def taken_for(
    folds: Sequence[Scored], taxonomy: Taxonomy, true: str, called: str
) -> dict[str, float]:
    """How many of the missed boxes of a component were taken for another: [boxes, missed, taken, PERCENT].

    ``true`` and ``called`` are clinical components of the taxonomy (e.g. WBC and RBC: a component may be several
    classes). Of the true boxes of ``true``, *missed* are those that no detection of ``true`` covers at IoU >= 0.5 and
    at the fold's best-F1 confidence or more; of the missed, *taken* are those that a detection of ``called`` covers in
    the same sense. ``percent`` is taken / missed; NaN if none is missed. A detection may cover several boxes.
    ``percent_low`` and ``percent_high``: 95 % bootstrap interval over groups (``bootstrap.of_ratio``).
    The paper gives 38% (missed WBC taken for RBC) and 43% (missed RBC taken for WBC) and no definition.
    """
    parts = []
    for fold in folds:
        sure = fold.predictions[fold.predictions["conf"] >= fold.confidence]
        group = dict(zip(fold.fields["image"], fold.fields["group"], strict=True))
        found_in = dict(tuple(sure.groupby("image")))
        for image, rows in fold.truth[fold.truth["cls"].isin(taxonomy.components[true])].groupby(
            "image"
        ):
            here = found_in.get(image, sure.iloc[:0])
            lost = ~covered(rows, here[here["cls"].isin(taxonomy.components[true])])
            wrong = lost & covered(rows, here[here["cls"].isin(taxonomy.components[called])])
            parts.append(
                {
                    "group": group[image],
                    "boxes": len(rows),
                    "missed": lost.sum(),
                    "taken": wrong.sum(),
                }
            )
    each = (
        pd.DataFrame(parts, columns=["group", "boxes", "missed", "taken"])
        .groupby("group")
        .sum()
        .astype(int)
    )
    total = {name: int(n) for name, n in each.sum().items()}
    percent = 100 * total["taken"] / total["missed"] if total["missed"] else np.nan
    low, high = bootstrap.of_ratio(each["taken"], each["missed"])
    return total | {"percent": percent, "percent_low": 100 * low, "percent_high": 100 * high}


def covered(truth: pd.DataFrame, detections: pd.DataFrame) -> np.ndarray:
    """Which true boxes (of one image) some detection covers at IoU >= 0.5: (M,) booleans."""
    return (box_iou(corners(truth), corners(detections)) >= IOU).any(1).numpy()


def rbc_wbc(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Both directions of ``taken_for`` between RBC and WBC; a row of a taxonomy without them has no numbers."""
    rows = []
    for true, called in (("WBC", "RBC"), ("RBC", "WBC")):
        known = true in taxonomy.components and called in taxonomy.components
        rows.append(
            {
                "row": RBC_WBC_ROWS[true],
                **(taken_for(folds, taxonomy, true, called) if known else {}),
            }
        )
    return pd.DataFrame(rows, columns=["row", "boxes", "missed", "taken", *PERCENT])


RBC_WBC_ROWS = {"WBC": "missed WBC taken for RBC", "RBC": "missed RBC taken for WBC"}
PERCENT = ["percent", "percent_low", "percent_high"]
# The paper's text, section "Class-wise analysis" (not in its tables).
PUBLISHED_RBC_WBC = pd.DataFrame({"row": list(RBC_WBC_ROWS.values()), "percent": [38.0, 43.0]})


def plot_classes(both: pd.DataFrame, face: str) -> Figure:
    """Table 7 (``compare.beside``) as dots with intervals: precision, recall, AP50 in percent, a row a class present.

    Grouped by head, in its colour, by descending AP50 within; the number of true boxes at each name. Hollow: fewer than
    FEW boxes. A grey bar is the paper's value. No dot for the precision of a class of which nothing is found.
    """
    there = both[(both["boxes"] > 0) & both["head"].isin(style.HEAD_COLOURS)]
    order = there["head"].map(list(style.HEAD_COLOURS).index)
    there = there.assign(order=order).sort_values(
        ["order", "map50_here"], ascending=[True, False], kind="stable"
    )
    y = (
        np.arange(len(there)) + 0.6 * there["order"].rank(method="dense").to_numpy()
    )  # a gap between heads
    colours = there["head"].map(style.HEAD_COLOURS).to_numpy()
    few = there["boxes"].to_numpy() < FEW
    fig, axes = plt.subplots(1, 3, figsize=(style.PAGE, 1 + 0.13 * max(len(there), 6)), sharey=True)
    for ax, (metric, title) in zip(axes, PANELS.items(), strict=True):
        here, ends = (
            there[f"{metric}_here"].to_numpy(),
            there[[f"{metric}_here_low", f"{metric}_here_high"]].to_numpy(),
        )
        ax.hlines(y, *ends.T, color=colours, linewidth=1)
        ax.scatter(
            there[f"{metric}_paper"],
            y,
            marker="|",
            s=22,
            color=style.PAPER_COLOUR,
            linewidth=1,
            zorder=1,
        )
        here = np.where(there["recall_here"] > 0, here, np.nan) if metric == "precision" else here
        ax.scatter(
            here,
            y,
            s=11,
            facecolor=np.where(few, "white", colours),
            edgecolor=colours,
            linewidth=0.8,
            zorder=3,
        )
        ax.set(xlim=(-3, 103), xlabel=f"{title} (%)")
        ax.grid(axis="x")
        ax.set_axisbelow(True)
    names = [
        f"{name} ({boxes:.0f})" for name, boxes in zip(there["row"], there["boxes"], strict=True)
    ]
    axes[0].set_yticks(y, names)
    axes[0].set_ylim(y.max(initial=0) + 0.8, -0.8)
    heads = [
        Line2D([], [], color=c, marker="o", label=h)
        for h, c in style.HEAD_COLOURS.items()
        if h in set(there["head"])
    ]
    hollow = Line2D(
        [],
        [],
        color="0.3",
        marker="o",
        markerfacecolor="white",
        linestyle="",
        label=f"fewer than {FEW} boxes",
    )
    paper = Line2D([], [], color=style.PAPER_COLOUR, marker="|", linestyle="", label="paper")
    printed = [paper] if there["map50_paper"].notna().any() else []
    fig.legend(
        handles=[*heads, hollow, *printed],
        loc="outside upper center",
        ncols=8,
        columnspacing=1,
        handlelength=1.2,
    )
    fig.supxlabel(face, fontsize=5)
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
