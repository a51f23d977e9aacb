"""The failures that the paper describes ("Class-wise analysis", Fig. 5), as pictures chosen by a rule, not by hand.

- dense: a true box that nothing finds, with the most neighbours (``conditions.crowding``), at least two;
- merged: a detection that is wrong and holds at least half of each of two or more true boxes: the most boxes first;
- RBC/WBC: a true RBC or WBC that no detection of its component covers, and one of the other does: the surest first.

All at the fold's best-F1 confidence; of equal rank the order is of the fields' names. Each field is shown once in a
row if there are enough of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from ultralytics.utils.metrics import box_iou

from openurine_lib import style
from openurine_lib.data.images import read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.conditions import crowding
from openurine_lib.evaluation.errors import RIGHT, at_confidence
from openurine_lib.evaluation.metrics import XYXY, corners
from openurine_lib.evaluation.scored import Scored

ROWS = {
    "dense": "missed in a dense cluster",
    "merged": "several in one box",
    "RBC/WBC": "RBC and WBC confused",
}
COLUMNS = [
    "failure",
    "fold",
    "image",
    "rank",
    *XYXY,
]  # the box in question; rank: what the rule sorts by
HALF = 0.5
MOST = 30  # boxes drawn in a picture
DASHED = (0, (2.5, 1.5))
HALO = [withStroke(linewidth=1.2, foreground="white")]


def failures(folds: Sequence[Scored], taxonomy: Taxonomy) -> pd.DataFrame:
    """Every case of the three failures, those to show first at the top: [failure, fold, image, rank, x1..y2]."""
    found = [case for i, fold in enumerate(folds) for case in _cases(i, fold, taxonomy)]
    cases = pd.DataFrame(found, columns=COLUMNS)
    cases["failure"] = pd.Categorical(cases["failure"], ROWS)
    return cases.sort_values(
        ["failure", "rank", "image"],
        ascending=[True, False, True],
        kind="stable",
        ignore_index=True,
    )


def _cases(i: int, fold: Scored, taxonomy: Taxonomy) -> list[tuple]:
    parts, cases = at_confidence(fold), []
    detected = dict(tuple(parts.detections.groupby("image")))
    for image, true in parts.boxes.groupby("image"):
        there = detected.get(image, parts.detections.iloc[:0])
        boxes, found = true[XYXY].to_numpy(), there[XYXY].to_numpy()
        for lost, near, box in zip(true["kind"] == "missed", crowding(true), boxes, strict=True):
            if lost and near >= 2:
                cases.append(("dense", i, image, near, *box))
        for wrong, n, box in zip(
            there["kind"] != RIGHT, (inside(boxes, found) >= HALF).sum(0), found, strict=True
        ):
            if wrong and n >= 2:
                cases.append(("merged", i, image, n, *box))
        for conf, box in zip(_confused(true, there, taxonomy), boxes, strict=True):
            if conf > 0:
                cases.append(("RBC/WBC", i, image, conf, *box))
    return cases


def inside(boxes: np.ndarray, detections: np.ndarray) -> np.ndarray:
    """The share of each box (M, 4) that lies in each detection (N, 4): (M, N)."""
    a, b = boxes[:, None], detections[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return sides.clip(min=0).prod(2) / (a[..., 2:] - a[..., :2]).prod(2)


def _confused(true: pd.DataFrame, there: pd.DataFrame, taxonomy: Taxonomy) -> np.ndarray:
    """For each true box of a field: the confidence of an RBC on a WBC that no WBC covers, or the reverse; else 0."""
    over, conf = box_iou(corners(true), corners(there)).numpy() >= HALF, np.zeros(len(true))
    for own, other in (("RBC", "WBC"), ("WBC", "RBC")):
        ids = [taxonomy.components.get(name, ()) for name in (own, other)]
        right, wrong = (there["cls"].isin(i).to_numpy() for i in ids)
        lost = true["cls"].isin(ids[0]).to_numpy() & ~over[:, right].any(1)
        named = np.where(over[:, wrong], there["conf"].to_numpy()[wrong], 0).max(axis=1, initial=0)
        conf = np.where(lost, named, conf)
    return conf


def chosen(cases: pd.DataFrame, n: int) -> pd.DataFrame:
    """The first ``n`` of each failure, one a field as far as there are other fields."""
    again = cases.groupby(["failure", "image"], observed=True).cumcount()
    ordered = cases.assign(again=again).sort_values(["failure", "again"], kind="stable")
    return (
        ordered.groupby("failure", observed=True)
        .head(n)
        .drop(columns="again")
        .reset_index(drop=True)
    )


def plot(folds: Sequence[Scored], taxonomy: Taxonomy, face: str, n: int = 4) -> Figure:
    """A row a failure, its first ``n`` cases: true boxes dashed, detections solid, both in the colour of their head."""
    cases = failures(folds, taxonomy)
    shown = chosen(cases, n)
    heights = [1 if (shown["failure"] == failure).any() else 0.15 for failure in ROWS]
    wide = style.size(style.PAGE, 0.1 + sum(heights) / n)
    fig, axes = plt.subplots(len(ROWS), n, figsize=wide, squeeze=False, height_ratios=heights)
    for line, (failure, title) in zip(axes, ROWS.items(), strict=True):
        rows = shown[shown["failure"] == failure]
        for ax in line:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_facecolor("none")  # else it covers the words of an empty row
        for ax, case in zip(line, rows.itertuples(), strict=False):
            _picture(ax, folds[case.fold], case, taxonomy)
        total = int((cases["failure"] == failure).sum())
        if rows.empty:
            line[0].text(0, 0.5, f"{title}: no case on these fields", va="center").set_in_layout(
                False
            )
        else:
            line[0].set_ylabel(f"{title}\n({total} cases)")
    lines = [Line2D([], [], color="black", linestyle=s, linewidth=1) for s in ("--", "-")]
    heads = [Line2D([], [], color=style.HEAD_COLOURS[head], linewidth=3) for head in taxonomy.heads]
    fig.legend(
        [*lines, *heads],
        ["true box", "detection", *taxonomy.heads],
        loc="outside upper center",
        ncols=8,
    )
    fig.supxlabel(face, fontsize=5)
    return fig


def _picture(ax: Axes, fold: Scored, case: Any, taxonomy: Taxonomy) -> None:
    """The surroundings of the case's box, which is thick, with the other boxes there (at most the MOST surest)."""
    image = read_rgb(fold.fields.loc[fold.fields["image"] == case.image, "path"].iloc[0])
    true, found = (f[f["image"] == case.image] for f in (fold.truth, fold.predictions))
    found = found[found["conf"] >= fold.confidence].sort_values(
        "conf", ascending=False, kind="stable"
    )
    h, w = image.shape[:2]
    box = np.array([case.x1, case.y1, case.x2, case.y2])
    centre, half = (box[:2] + box[2:]) / 2, max(1.6 * (box[2:] - box[:2]).max(), 0.06 * max(h, w))
    half = min(half, h / 2, w / 2)
    x, y = np.clip(centre, half, [w - half, h - half])
    ax.imshow(image)
    for frame, dash in ((true, DASHED), (found, "-")):
        across = frame["x2"].gt(x - half) & frame["x1"].lt(x + half)
        for row in (
            frame[across & frame["y2"].gt(y - half) & frame["y1"].lt(y + half)]
            .head(MOST)
            .itertuples()
        ):
            _outline(ax, row, dash, 0.8, taxonomy)
    among, dash = (found, "-") if case.failure == "merged" else (true, DASHED)
    own = among[np.isclose(among[XYXY].to_numpy(), box).all(1)].iloc[0]
    _outline(ax, own, dash, 1.6, taxonomy)
    ax.set(xlim=(x - half, x + half), ylim=(y + half, y - half))
    ax.set_title(fill(_words(case, own, found, taxonomy), 36), fontsize=5.5, pad=2)


def _outline(ax: Axes, row: Any, dash: Any, width: float, taxonomy: Taxonomy) -> None:
    colour = style.HEAD_COLOURS[taxonomy.head_of(row.cls)]
    line = {"color": colour, "linewidth": width, "linestyle": dash, "path_effects": HALO}
    ax.add_patch(Rectangle((row.x1, row.y1), row.x2 - row.x1, row.y2 - row.y1, fill=False, **line))


def _words(case: Any, own: pd.Series, found: pd.DataFrame, taxonomy: Taxonomy) -> str:
    """What the picture shows, in a line."""
    name = taxonomy.classes
    if case.failure == "merged":
        return f"{name[own.cls]} {own.conf:.2f} holds {case.rank:.0f} boxes"
    if case.failure == "dense":
        return f"{name[own.cls]}, {case.rank:.0f} neighbours"
    over = box_iou(corners(own.to_frame().T), corners(found))[0].numpy() >= HALF
    other = found[over & np.isclose(found["conf"], case.rank)].iloc[0]
    return f"{name[own.cls]} called {name[other.cls]} {case.rank:.2f}"
