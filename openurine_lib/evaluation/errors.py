"""Why a detector errs: TIDE's six kinds of error (Bolya et al. 2020).

https://doi.org/10.1007/978-3-030-58580-8_33. A detection is right if the evaluator matches it to a
true box of its class at IoU 0.5 (``metrics.matches``). Every other detection is tested in the order
of TIDE's own code:

- localisation: it overlaps a true box of its class, but only by an IoU of 0.1 to 0.5;
- classification: it overlaps a true box of another class by 0.5 or more;
- duplicate: it overlaps a true box of its class by 0.5 or more, which a surer detection took;
- background: it overlaps no true box by 0.1;
- both: what is left: it overlaps a true box of another class, by 0.1 to 0.5.

A true box is missed if it is neither found nor the best overlap of a localisation or classification
error: to repair that error would find it. What repairing each kind would give (``gains``) is TIDE's
too: wrong names and places are set right (one detection a box, the surest; the others go),
detections of the kinds both, duplicate and background go, and missed boxes are not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from ultralytics.utils.metrics import box_iou

from openurine_lib import style
from openurine_lib.data.box_tensors import corners
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.metrics import ByImage, Scored, matches, surest_first

FOREGROUND, BACKGROUND = 0.5, 0.1  # TIDE's two overlaps
RIGHT, FOUND = "right", "found"
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")


class Errors(NamedTuple):
    """Every detection and every true box with what became of it."""

    # the predictions, surest first, + kind (RIGHT or of KINDS) and box (row of ``boxes``, or -1)
    detections: pd.DataFrame
    # the truth + kind: FOUND, "localisation" or "classification" (what would find it), or "missed"
    boxes: pd.DataFrame


def sort_errors(truth: pd.DataFrame, predictions: pd.DataFrame) -> Errors:
    """Sorts detections and true boxes (columns as in ``metrics.score``) into kinds of error."""
    boxes = truth.reset_index(drop=True).assign(kind="missed")
    found = surest_first(predictions).reset_index(drop=True).assign(kind="background", box=-1)
    right = matches(boxes, found)[:, 0]  # (N,), at IoU 0.5
    found_on = ByImage(found)
    for image, true in ByImage(boxes).items():
        rows = found_on[image]
        hit = right[rows.index]
        iou = box_iou(corners(rows), corners(true)).numpy()  # (N, M)
        same = rows["cls"].to_numpy()[:, None] == true["cls"].to_numpy()  # (N, M)
        own = np.where(same, iou, 0)  # with boxes of the class that the detection names
        other = np.where(same, 0, iou)  # with boxes of the other classes
        tests = {  # the first that holds is the kind
            RIGHT: hit,
            "localisation": (own.max(1) >= BACKGROUND) & (own.max(1) < FOREGROUND),
            "classification": other.max(1) >= FOREGROUND,
            "duplicate": own.max(1) >= FOREGROUND,
            "background": iou.max(1) < BACKGROUND,
        }
        kind = np.select(list(tests.values()), list(tests), "both")
        nearest = np.where(kind == "classification", other.argmax(1), own.argmax(1))
        box = true.index.to_numpy()[nearest]  # the row in ``boxes`` that the detection means
        found.loc[rows.index, "kind"] = kind
        found.loc[rows.index, "box"] = np.where(np.isin(kind, ["both", "background"]), -1, box)
        # the later one prevails: a box that both would find is a classification's
        for name in ("localisation", "classification", RIGHT):
            boxes.loc[box[kind == name], "kind"] = FOUND if name == RIGHT else name
    return Errors(found, boxes)


def at_confidence(fold: Scored) -> Errors:
    """The fold's errors at its best-F1 confidence."""
    return sort_errors(fold.truth, fold.confident)


def counts(folds: Sequence[Errors], taxonomy: Taxonomy) -> pd.DataFrame:
    """Number of errors: a row for each head, then "all"; [head, boxes, found, each of KINDS].

    A detection counts to the head of the class that it names, a missed box to that of its class.
    """
    counted = []
    for detections, boxes in folds:
        counted.append(detections[detections["kind"] != RIGHT])
        counted.append(boxes[boxes["kind"].isin(["missed", FOUND])])
        counted.append(boxes.assign(kind="boxes"))
    every = pd.concat(counted)
    table = pd.crosstab(every["cls"].map(taxonomy.head_of).rename("head"), every["kind"])
    table = table.reindex(index=list(taxonomy.heads), columns=["boxes", FOUND, *KINDS])
    # a kind that never occurs has no column yet
    table = table.fillna(0).astype(int).rename_axis(columns=None)
    table.loc["all"] = table.sum()
    return table.reset_index()


def gains(folds: Sequence[Scored], n_classes: int) -> pd.DataFrame:
    """mAP50 that repairing each kind of error alone would give: [kind, gain, gain_low, gain_high].

    In points, over all confidences, means over the folds. The interval is a 95 % bootstrap interval
    over the groups of each fold's fields, NaN for fewer than ``bootstrap.MIN_GROUPS``. The gains do
    not add up to what is missing: errors hide others.
    """
    of_folds = [_gains_of_fold(fold, n_classes, seed) for seed, fold in enumerate(folds)]
    gain, *resampled = np.mean(of_folds, axis=0)  # gain (6,), and R of them
    low, high = bootstrap.symmetric_interval(gain, np.stack(resampled))
    if min(fold.fields["group"].nunique() for fold in folds) < bootstrap.MIN_GROUPS:
        low = high = np.full(len(KINDS), np.nan)
    return pd.DataFrame({"kind": KINDS, "gain": gain, "gain_low": low, "gain_high": high})


def _gains_of_fold(fold: Scored, n_classes: int, seed: int) -> np.ndarray:
    """Gains in points (1 + R, 6): of the fold itself, then of its resamples."""
    errors = sort_errors(fold.truth, fold.predictions)
    groups = fold.fields["group"].nunique()
    drawn = bootstrap.draws(groups, bootstrap.FOR_LIMITS, seed)
    # first the fold as it is: each group once
    drawn = np.vstack([np.ones((1, groups), dtype=int), drawn])

    def average_precision(detections: pd.DataFrame, boxes: pd.DataFrame) -> np.ndarray:
        right = (detections["kind"] == RIGHT).to_numpy()[:, None]
        matched = bootstrap.match_groups(boxes, detections, n_classes, fold.fields, right)
        return bootstrap.average_precision(matched, drawn)  # (1 + R, C)

    def map50(ap: np.ndarray) -> np.ndarray:
        # Eq. 10; a class that a resample lacks has the value of all groups
        return bootstrap.mean_over_classes(bootstrap.fill_missing(ap, ap[0]))

    before = average_precision(*errors)  # (1 + R, C)
    points = []
    for kind in KINDS:
        detections = _repaired(errors, kind)
        boxes = errors.boxes
        if kind == "missed":
            boxes = boxes[boxes["kind"] != "missed"]  # a box that is not asked for cannot be missed
        after = average_precision(detections, boxes)
        # Where all boxes of a class were missed, nothing is asked for any more. Only an empty list
        # of detections fulfils that.
        undetected = ~np.isin(range(n_classes), detections["cls"])
        after = np.where(np.isnan(after) & ~np.isnan(before), undetected, after)
        points.append(100 * (map50(after) - map50(before)))
    return np.stack(points, axis=1)


def _repaired(errors: Errors, kind: str) -> pd.DataFrame:
    """The detections without one kind of error."""
    found, boxes = errors
    wrong = found["kind"] == kind
    if kind not in ("classification", "localisation"):
        return found[~wrong]  # such detections go
    # of several detections that mean one box which is not found, the surest becomes right
    means_unfound = wrong & found["box"].map(boxes["kind"]).ne(FOUND)
    repaired = found[means_unfound].drop_duplicates("box")
    repaired = repaired.assign(kind=RIGHT, cls=repaired["box"].map(boxes["cls"]))
    return pd.concat([found[~wrong], repaired]).sort_index()  # surest first again


def plot_errors(table: pd.DataFrame, gained: pd.DataFrame, banner: str) -> Figure:
    """Left: each head's errors by kind, as bars in a row. Right: the mAP50 that each kind costs.

    table: of ``counts``; gained: of ``gains``.
    """
    colours = dict(zip(KINDS, style.SERIES.values(), strict=True))
    fig, (left, right) = plt.subplots(
        1, 2, figsize=style.size(style.PAGE, 0.33), width_ratios=[1.7, 1]
    )
    heads = table[table["head"] != "all"].set_index("head").iloc[::-1]  # barh begins at the bottom
    total = heads[list(KINDS)].sum(axis=1)
    # a head without errors has no bar, and no division by zero
    share = 100 * heads[list(KINDS)].div(total.clip(lower=1), axis=0)
    bars: dict[str, Any] = {"color": colours, "edgecolor": "white", "width": 0.8}
    share.plot.barh(stacked=True, ax=left, legend=False, ylabel="", **bars)
    for y, (n, boxes) in enumerate(zip(total, heads["boxes"], strict=True)):
        left.text(101, y, f"{n} errors, {boxes} boxes", va="center", fontsize=6)
    left.set(xlim=(0, 100), xlabel="share of the head's errors at the best-F1 confidence (%)")
    for label in left.get_yticklabels():
        label.set_color(style.HEAD_COLOURS[label.get_text()])
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(KINDS)}
    left.legend(columnspacing=1, handlelength=1, **place)

    rows = gained.set_index("kind").iloc[::-1]
    # the lengths of both whiskers, (2, kinds)
    to_ends = rows[["gain_low", "gain_high"]].sub(rows["gain"], axis=0).abs().T.to_numpy()
    whiskers: dict[str, Any] = {"xerr": to_ends, "capsize": 2, "error_kw": {"linewidth": 0.8}}
    shade = [colours[kind] for kind in rows.index]
    right.barh(rows.index, rows["gain"], color=shade, edgecolor="white", **whiskers)
    right.set(xlabel="mAP50 gained if repaired (points)", xlim=(0, None))
    fig.supxlabel(banner, fontsize=5)
    return fig
