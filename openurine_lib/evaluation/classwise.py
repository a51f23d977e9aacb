"""Table 7: scores of each class, with intervals.

Everything is computed fold by fold, on fields that the fold's detector has not seen, and is then
put together. The intervals are 95 % bootstrap intervals: the groups (patients or slides) of every
fold's test fields are resampled, and the resamples are averaged over the folds. They tell how much
the choice of patients matters, not how another training would end; of that the deviation over folds
tells something, where there are several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from openurine_lib import published, style
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.metrics import CONVENTION, IOUS, PER_CLASS, Scored
from openurine_lib.published import METRICS

UNWEIGHTED, WEIGHTED = published.SUMMARY_ROWS[7]
STDS = [f"{metric}_std" for metric in METRICS]
LIMITS = [f"{metric}_{end}" for metric in METRICS for end in ("low", "high")]
FEW = 10  # true boxes; of fewer, one box moves the recall by more than ten points


def spelling(taxonomy: Taxonomy) -> dict[int, str]:
    """Class id -> name as Table 7 spells it, or the taxonomy's own if the paper lacks the class."""
    printed = {taxonomy.id(row): row for row in published.table(7)["row"] if taxonomy.knows(row)}
    return {i: printed.get(i, name) for i, name in enumerate(taxonomy.classes)}


def published_rows(taxonomy: Taxonomy) -> pd.DataFrame:
    """Table 7 as printed (NaN for a class that it lacks): these classes by name, then averages."""
    rows = [*sorted(spelling(taxonomy).values(), key=str.casefold), UNWEIGHTED, WEIGHTED]
    return published.table(7).set_index("row").reindex(rows).rename_axis("row").reset_index()


def table7(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Table 7: a row for each class, and two of averages, in percent.

    Columns: row, head, boxes, fields, groups and folds (``support``), METRICS, STDS (over folds,
    n - 1), LIMITS (95 % intervals), note (a support too small for a conclusion or an interval) and
    reason (why there is no number).

    A class's metrics are means over the folds whose test fields have true boxes of it. A class
    without any box has NaN metrics and the reason, and no part in the averages. A class without a
    detection has no precision. The unweighted average is over classes, the weighted one over true
    boxes, as in the paper; their notes have the precision as ultralytics computes it.
    """
    names = spelling(taxonomy)
    scores = [_in_percent(fold.metrics) for fold in folds]
    over_folds = pd.concat(scores).groupby("cls")[METRICS]
    resamples = 100 * resampled(folds, taxonomy.n)  # (R, C, 4)

    table = support(folds, taxonomy.n)
    table.insert(0, "row", [names[c] for c in table.index])
    table.insert(1, "head", [taxonomy.head_of(c) for c in table.index])
    table[METRICS] = over_folds.mean()
    table[STDS] = over_folds.std()
    ends = limits(table[METRICS].to_numpy(), resamples, table["groups"].to_numpy())
    table[LIMITS] = ends.clip(0, 100)  # percent, which end there
    table["note"] = [_note(row) for row in table.itertuples()]
    table["reason"] = np.where(table["boxes"] > 0, "", "no true box in the scored fields")

    groups = sum(fold.fields["group"].nunique() for fold in folds)
    means = _average_rows(table, scores, resamples, groups)
    whole = pd.concat([table.sort_values("row"), means], ignore_index=True)
    # Int64 has room for "missing"
    return whole.astype(dict.fromkeys(["fields", "groups", "folds"], "Int64"))


def _in_percent(metrics: pd.DataFrame) -> pd.DataFrame:
    """A fold's metrics under the names of Table 7, in percent."""
    renamed = metrics.rename(columns={column: metric for metric, column in PER_CLASS.items()})
    columns = [*METRICS, CONVENTION]
    return renamed.assign(**{column: 100 * renamed[column] for column in columns})


def support(folds: Sequence[Scored], n_classes: int) -> pd.DataFrame:
    """What a class's number rests on: its [boxes, fields, groups, folds], summed over folds."""
    truths = [
        fold.truth.merge(fold.fields[["image", "group"]], on="image").assign(fold=i)
        for i, fold in enumerate(folds)
    ]
    by_class = pd.concat(truths).groupby("cls")
    counts = by_class[["image", "group", "fold"]].nunique()
    counts.insert(0, "boxes", by_class.size())
    counts.columns = pd.Index(["boxes", "fields", "groups", "folds"])
    return counts.reindex(range(n_classes), fill_value=0).astype(int)


def _note(row: Any) -> str:
    notes = []
    if 0 < row.boxes < FEW:
        notes.append(f"{row.boxes} box{'es' if row.boxes > 1 else ''}: no conclusion")
    elif 0 < row.groups < bootstrap.MIN_GROUPS:
        notes.append(f"{row.groups} group{'s' if row.groups > 1 else ''}: no interval")
    if row.boxes > 0 and np.isnan(row.precision):
        notes.append("no detection, so no precision")
    return "; ".join(notes)


def limits(values: np.ndarray, drawn: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Intervals (C, 8), columns LIMITS, of METRICS (C, 4) with resamples (R, C, 4).

    NaN where ``groups`` (C,) has fewer than ``bootstrap.MIN_GROUPS``, and where all resamples are
    equal: if nothing or all of a class is found, resampling cannot tell how sure that is.
    """
    low, high = bootstrap.symmetric_interval(values, drawn)  # (C, 4) each
    ends = np.stack([low, high], axis=2)  # (C, 4, 2)
    ends[(groups < bootstrap.MIN_GROUPS)[:, None] | (low == high)] = np.nan
    return ends.reshape(len(groups), -1)  # (C, 8)


def resampled(folds: Sequence[Scored], n_classes: int, seed: int = 0) -> np.ndarray:
    """METRICS of each class in resamples of the folds' groups: (R, C, 4) in 0..1, folds averaged.

    NaN where a resample lacks the class. Precision and recall are read at each fold's confidence.
    """
    total = np.zeros((bootstrap.FOR_LIMITS, n_classes, len(METRICS)))
    folds_with_class = np.zeros(total.shape)  # how many folds a mean is over
    for i, fold in enumerate(folds):
        m = bootstrap.match_groups(fold.truth, fold.predictions, n_classes, fold.fields, fold.right)
        drawn = bootstrap.draws(m.n_groups, bootstrap.FOR_LIMITS, seed + i)
        precision, recall = bootstrap.precision_recall(m, drawn, fold.confidence)
        # (10, R, C): at each IoU threshold
        ap = np.stack([bootstrap.average_precision(m, drawn, iou) for iou in range(len(IOUS))])
        values = np.stack([precision, recall, ap[0], ap.mean(0)], axis=2)
        total += np.nan_to_num(values)
        folds_with_class += ~np.isnan(values)
    return np.where(folds_with_class > 0, total / np.maximum(folds_with_class, 1), np.nan)


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """The two last rows of Table 7 from its rows of classes; NaN if no class is present."""
    present = table[table["boxes"] > 0]
    total = int(present["boxes"].sum())
    unweighted = present[METRICS].mean()
    in_boxes = present[METRICS].mul(present["boxes"], axis=0)
    # the boxes of the classes that have this number
    counted = present[METRICS].notna().mul(present["boxes"], axis=0).sum()
    # min_count: NaN, not 0, where no class has one
    weighted = in_boxes.sum(min_count=1) / counted
    means = pd.DataFrame([unweighted, weighted]).assign(row=[UNWEIGHTED, WEIGHTED], boxes=total)
    return means.assign(head="", note="", reason="")


def _average_rows(
    table: pd.DataFrame, scores: Sequence[pd.DataFrame], resamples: np.ndarray, groups: int
) -> pd.DataFrame:
    """``averages`` with their deviations over folds and their intervals."""
    means = averages(table)
    of_folds = pd.concat([averages(fold) for fold in scores]).groupby("row")[METRICS]
    means[STDS] = of_folds.std().loc[means["row"]].to_numpy()
    # of each class counts 1 (unweighted), or its number of boxes (weighted)
    weights = (np.ones(len(table)), table["boxes"].to_numpy())
    values = table[METRICS].to_numpy()
    drawn = [resampled_average(resamples, values, weight) for weight in weights]  # each (R, 4)
    # (2, 8)
    ends = limits(means[METRICS].to_numpy(), np.stack(drawn, axis=1), np.full(2, groups))
    means[LIMITS] = ends.clip(0, 100)
    means["note"] = _as_ultralytics(table, scores)
    return means


def resampled_average(resamples: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The average over classes in resamples (R, C, 4): (R, 4), NaN where no class has the number.

    values: (C, 4), of all groups; a class that a resample lacks counts with it. weight: (C,).
    """
    filled = bootstrap.fill_missing(resamples, values)  # (R, C, 4)
    of_class = weight[:, None]  # (C, 1)
    total = (~np.isnan(filled) * of_class).sum(1)
    return np.divide(
        np.nansum(filled * of_class, axis=1),
        total,
        out=np.full(total.shape, np.nan),
        where=total > 0,
    )


def _as_ultralytics(table: pd.DataFrame, scores: Sequence[pd.DataFrame]) -> list[str]:
    """For both averages: the precision as ultralytics has it, where a class has no detection."""
    present = table["boxes"] > 0
    undetected = int((present & table["precision"].isna()).sum())
    if not undetected:
        return ["", ""]
    precision = pd.concat(scores).groupby("cls")[CONVENTION].mean()[present]
    boxes = table.loc[present, "boxes"]
    return [
        f"{undetected} of {present.sum()} classes have no detection and no part in the precision; "
        f"as ultralytics counts them, it is {np.average(precision, weights=weight):.1f} %"
        for weight in (None, boxes)
    ]


def plot_classes(both: pd.DataFrame, banner: str) -> Figure:
    """Table 7 beside the paper's, as dots with intervals: precision, recall, AP50 in percent.

    both: of ``against_paper.beside``. A row is a class that is present, with its number of true
    boxes; rows are grouped by head, in its colour, by descending AP50. A hollow dot has fewer than
    FEW boxes. A black bar is the paper's value. A class without a detection has no precision.
    """
    present = both[(both["boxes"] > 0) & both["head"].isin(style.HEAD_COLOURS)]
    present = present.assign(order=present["head"].map(list(style.HEAD_COLOURS).index))
    present = present.sort_values(
        ["order", "map50_here"], ascending=[True, False], kind="stable", ignore_index=True
    )
    y = present.index + 0.6 * present["order"].rank(method="dense")  # a gap between heads
    colours = present["head"].map(style.HEAD_COLOURS)
    fill = colours.mask(present["boxes"] < FEW, "white")
    drawn = {metric: present[f"{metric}_here"] for metric in ("precision", "recall", "map50")}

    height = 1 + 0.13 * max(len(present), 6)
    fig, axes = plt.subplots(1, 3, figsize=(style.PAGE, height), sharey=True)
    for ax, (metric, values) in zip(axes, drawn.items(), strict=True):
        low, high = present[f"{metric}_here_low"], present[f"{metric}_here_high"]
        ax.hlines(y, low, high, color=colours, linewidth=1)
        paper: dict[str, Any] = {"marker": "|", "color": style.PAPER_COLOUR}
        ax.scatter(present[f"{metric}_paper"], y, s=26, linewidth=1.2, zorder=1, **paper)
        ax.scatter(values, y, s=11, facecolor=fill, edgecolor=colours, linewidth=0.8, zorder=3)
        ax.set(xlim=(-3, 103), xlabel=f"{metric.replace('map50', 'AP50')} (%)")
        ax.grid(axis="x")
        ax.set_axisbelow(True)
    names = present["row"] + present["boxes"].map(" ({:.0f})".format)
    axes[0].set_yticks(y, names)
    axes[0].set_ylim(y.max() + 0.8 if len(y) else 0.8, -0.8)  # from the top down

    # a line for each head, then what a hollow dot and a bar mean
    looks: dict[str, Any] = {
        h: {"color": style.HEAD_COLOURS[h], "marker": "o"} for h in present["head"].unique()
    }
    hollow = {"marker": "o", "markerfacecolor": "white", "color": "0.3", "linestyle": ""}
    looks[f"fewer than {FEW} boxes"] = hollow
    if present["map50_paper"].notna().any():
        looks["paper"] = {**paper, "linestyle": ""}
    handles = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    place: dict[str, Any] = {
        "loc": "outside upper center",
        "ncols": 8,
        "columnspacing": 1,
        "handlelength": 1.2,
    }
    fig.legend(handles=handles, **place)
    fig.supxlabel(banner, fontsize=5)
    return fig
