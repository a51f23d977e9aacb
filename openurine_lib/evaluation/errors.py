"""Why a detector errs: TIDE's six kinds of error (Bolya et al. 2020, https://doi.org/10.1007/978-3-030-58580-8_33).

A detection is right if the evaluator matches it to a true box of its class at IoU 0.5 (``evaluate.matches``). For every
other detection, tested in this order, which is that of TIDE's own code:

- localisation: it overlaps a true box of its class, but only by an IoU of 0.1 to 0.5;
- classification: it overlaps a true box of another class by 0.5 or more;
- duplicate: it overlaps a true box of its class by 0.5 or more, which a surer detection took;
- background: it overlaps no true box by 0.1;
- both: what is left: it overlaps a true box of another class, by 0.1 to 0.5.

missed: a true box that is neither found nor the best overlap of a localisation or classification error, which
repairing that error would find. What repairing each kind would give (``gains``) is TIDE's too: wrong names and places
are set right (one detection a box, the surest; the others go), detections of the kinds both, duplicate and background
go, and missed boxes are no longer asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from ultralytics.utils.metrics import box_iou

from openurine_lib import style
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.bootstrap import (
    Matched,
    about,
    average_precision,
    draws,
    kept,
    mean_over_classes,
)
from openurine_lib.evaluation.metrics import corners, matches
from openurine_lib.evaluation.scored import Scored

FOREGROUND, BACKGROUND = 0.5, 0.1  # TIDE's two overlaps
RIGHT, FOUND = "right", "found"
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")


class Split(NamedTuple):
    """Every detection and every true box with what became of it."""

    detections: (
        pd.DataFrame
    )  # the predictions, surest first, + kind (RIGHT or of KINDS), box (row of ``boxes``, or -1)
    boxes: (
        pd.DataFrame
    )  # the truth + kind: FOUND, "classification", "localisation" (what would find it), or "missed"


def split(truth: pd.DataFrame, predictions: pd.DataFrame) -> Split:
    """Sorts detections [image, cls, conf, x1..y2] and true boxes [image, cls, x1..y2] into kinds of error."""
    boxes = truth.reset_index(drop=True)
    ranked = predictions.sort_values("conf", ascending=False, kind="stable", ignore_index=True)
    right = matches(boxes, ranked)[:, 0]
    kind, box = np.full(len(ranked), "background", dtype=object), np.full(len(ranked), -1)
    state = np.full(len(boxes), "missed", dtype=object)
    true_of = dict(tuple(boxes.groupby("image")))
    for image, rows in ranked.groupby("image"):
        if image not in true_of:
            continue
        here, hit = true_of[image], right[rows.index]
        iou = box_iou(corners(rows), corners(here)).numpy()  # (N, M)
        same = rows["cls"].to_numpy()[:, None] == here["cls"].to_numpy()
        own, other = np.where(same, iou, 0), np.where(same, 0, iou)
        kinds = np.select(
            [
                hit,
                (own.max(1) >= BACKGROUND) & (own.max(1) < FOREGROUND),
                other.max(1) >= FOREGROUND,
                own.max(1) >= FOREGROUND,
                iou.max(1) < BACKGROUND,
            ],
            [RIGHT, "localisation", "classification", "duplicate", "background"],
            "both",
        )
        nearest = np.where(kinds == "classification", other.argmax(1), own.argmax(1))
        meant = here.index.to_numpy()[nearest]
        kind[rows.index] = kinds
        box[rows.index] = np.where(np.isin(kinds, ["both", "background"]), -1, meant)
        for what in (
            "localisation",
            "classification",
        ):  # a box that both would find is a classification's
            state[meant[kinds == what]] = what
        state[meant[hit]] = FOUND
    return Split(ranked.assign(kind=kind, box=box), boxes.assign(kind=state))


def at_confidence(fold: Scored) -> Split:
    """The fold's errors at its best-F1 confidence."""
    return split(fold.truth, fold.predictions[fold.predictions["conf"] >= fold.confidence])


def counts(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Errors at the folds' best-F1 confidences: a row a head, then "all"; [head, boxes, found, each of KINDS].

    A detection counts to the head of the class that it names, a missed box to the head of its own class.
    """
    table = pd.DataFrame(0, index=[*taxonomy.heads, "all"], columns=["boxes", FOUND, *KINDS])
    for fold in folds:
        parts = at_confidence(fold)
        wrong = parts.detections[parts.detections["kind"] != RIGHT]
        lost = parts.boxes[parts.boxes["kind"].isin(["missed", FOUND])]
        for frame in (wrong, lost, parts.boxes.assign(kind="boxes")):
            for (cls, kind), n in frame.groupby(["cls", "kind"]).size().items():
                table.loc[[taxonomy.head_of(int(cls)), "all"], kind] += n
    return table.rename_axis("head").reset_index()


def gains(folds: Sequence[Scored], n_classes: int) -> pd.DataFrame:
    """mAP50 that repairing each kind of error alone would give, over all confidences: [kind, gain and its interval].

    In points, means over the folds. gain_low and gain_high: 95 % bootstrap interval over the groups of each fold's
    fields, of at least ``bootstrap.MIN_GROUPS``, else NaN. The gains do not add up to what is missing: errors hide
    others.
    """
    each = [_gains(fold, n_classes, seed) for seed, fold in enumerate(folds)]
    gain = np.mean([values for values, _ in each], axis=0)
    low, high = about(gain, np.mean([resampled for _, resampled in each], axis=0))
    if min(fold.fields["group"].nunique() for fold in folds) < bootstrap.MIN_GROUPS:
        low, high = np.full((2, len(KINDS)), np.nan)
    return pd.DataFrame({"kind": KINDS, "gain": gain, "gain_low": low, "gain_high": high})


def _gains(fold: Scored, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(6,) gains in points of the fold, and (R, 6) of its resamples."""
    parts = split(fold.truth, fold.predictions)
    groups = sorted(fold.fields["group"].unique())
    place = {
        image: groups.index(g)
        for image, g in zip(fold.fields["image"], fold.fields["group"], strict=True)
    }
    drawn = np.vstack(
        [np.ones((1, len(groups)), dtype=int), draws(len(groups), bootstrap.FOR_LIMITS, seed)]
    )
    was = average_precision(_matched(parts.detections, parts.boxes, place, n_classes), drawn)
    points = []
    for kind in KINDS:
        boxes = parts.boxes[parts.boxes["kind"] != "missed"] if kind == "missed" else parts.boxes
        detections = _repaired(parts, kind)
        now = average_precision(_matched(detections, boxes, place, n_classes), drawn)
        # a class of which nothing was found: nothing is asked for, which only an empty list of detections fulfils
        left = np.isin(range(n_classes), detections["cls"])
        now = np.where(np.isnan(now) & ~np.isnan(was), ~left, now)
        points.append(
            100 * (mean_over_classes(kept(now, now[0])) - mean_over_classes(kept(was, was[0])))
        )
    together = np.stack(points, axis=1)
    return together[0], together[1:]


def _repaired(parts: Split, kind: str) -> pd.DataFrame:
    """The detections without one kind of error."""
    found, of_kind = parts.detections, parts.detections["kind"] == kind
    if kind not in ("classification", "localisation"):
        return found[~of_kind]
    free = found["box"].map(parts.boxes["kind"]).ne(FOUND)
    saved = (
        of_kind
        & free
        & ~found[of_kind & free].duplicated("box").reindex(found.index, fill_value=True)
    )
    cls = found["cls"].mask(saved, found["box"].map(parts.boxes["cls"]))
    return found.assign(cls=cls.astype(int), kind=found["kind"].mask(saved, RIGHT))[
        ~of_kind | saved
    ]


def _matched(
    detections: pd.DataFrame, boxes: pd.DataFrame, place: dict[str, int], n_classes: int
) -> Matched:
    return Matched(
        (detections["kind"] == RIGHT).to_numpy()[:, None],
        detections["conf"].to_numpy(float),
        detections["cls"].to_numpy(int),
        detections["image"].map(place).to_numpy(int),
        boxes["cls"].to_numpy(int),
        boxes["image"].map(place).to_numpy(int),
        tuple(sorted(set(place.values()))),  # type: ignore[arg-type]  # only their number is read
        n_classes,
    )


def plot(table: pd.DataFrame, gained: pd.DataFrame, face: str) -> Figure:
    """Left: errors of each head by kind, as bars in a row. Right: the mAP50 that repairing a kind would give."""
    colours = dict(
        zip(KINDS, colormaps[style.SEQUENTIAL](np.linspace(0.02, 0.98, len(KINDS))), strict=True)
    )
    heads = table[table["head"] != "all"].iloc[::-1]
    fig, (left, right) = plt.subplots(
        1, 2, figsize=style.size(style.PAGE, 0.33), width_ratios=[1.7, 1]
    )
    total = heads[list(KINDS)].sum(axis=1)
    start = np.zeros(len(heads))
    for kind in KINDS:
        share = 100 * heads[kind] / total.clip(lower=1)
        left.barh(
            heads["head"], share, left=start, color=colours[kind], edgecolor="white", label=kind
        )
        start += share
    for y, (n, boxes) in enumerate(zip(total, heads["boxes"], strict=True)):
        left.text(101, y, f"{n} errors, {boxes} boxes", va="center", fontsize=6)
    left.set(xlim=(0, 100), xlabel="share of the head's errors at the best-F1 confidence (%)")
    for label in left.get_yticklabels():
        label.set_color(style.HEAD_COLOURS[label.get_text()])
    left.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=len(KINDS), columnspacing=1, handlelength=1
    )
    rows = gained.iloc[::-1]
    right.barh(
        rows["kind"], rows["gain"], color=[colours[k] for k in rows["kind"]], edgecolor="0.4"
    )
    spread = np.abs(rows[["gain_low", "gain_high"]].sub(rows["gain"], axis=0)).T.to_numpy()
    right.errorbar(
        rows["gain"],
        rows["kind"],
        xerr=spread,
        fmt="none",
        ecolor="black",
        capsize=2,
        linewidth=0.8,
    )
    right.set(xlabel="mAP50 gained if repaired (points)", xlim=(0, None))
    fig.supxlabel(face, fontsize=5)
    return fig
