"""The failures that the paper describes ("Class-wise analysis", Fig. 5), as pictures.

A rule chooses them, not a hand:

- dense: a missed box with the most neighbours (``conditions.crowding``), at least two;
- merged: a wrong detection that holds at least half of each of the most true boxes, at least two;
- RBC/WBC: an RBC or WBC that no detection of its component covers but one of the other does, the
  surest first.

All are at the fold's best-F1 confidence. Of equal rank, the order is that of the fields' names. A
row shows each field once, if there are enough of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from ultralytics.utils.metrics import box_iou

from openurine_lib import style
from openurine_lib.data.box_tensors import corners
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.images import read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.conditions import crowding
from openurine_lib.evaluation.confusion import IOU, covered
from openurine_lib.evaluation.errors import RIGHT, Errors
from openurine_lib.evaluation.metrics import ByImage, Scored, surest_first

ROWS = {
    "dense": "missed in a dense cluster",
    "merged": "several in one box",
    "RBC/WBC": "RBC and WBC confused",
}
# rank: what the rule sorts by; the box in question, a true one or (merged) a detection
COLUMNS = ["failure", "fold", "image", "rank", "caption", "cls", *XYXY]
HALF = 0.5  # of a true box, inside a merged detection
MOST = 30  # boxes drawn in a picture


def failure_cases(errors: Sequence[Errors], taxonomy: Taxonomy) -> pd.DataFrame:
    """Every case of the three failures, those to show first at the top: COLUMNS.

    errors: of each fold, at its confidence (``errors.at_confidence``).
    """
    rows = []
    for fold, (detections, boxes) in enumerate(errors):
        found_on = ByImage(detections)
        for image, true in boxes.groupby("image"):
            for failure, box, rank, caption in _cases_on(true, found_on[image], taxonomy):
                xyxy = (getattr(box, side) for side in XYXY)
                rows.append((failure, fold, image, rank, caption, box.cls, *xyxy))
    cases = pd.DataFrame(rows, columns=COLUMNS)
    # sorts in this order, not by name
    cases["failure"] = pd.Categorical(cases["failure"], list(ROWS))
    order: dict[str, Any] = {"by": ["failure", "rank", "image"], "ascending": [True, False, True]}
    return cases.sort_values(kind="stable", ignore_index=True, **order)


def _cases_on(
    true: pd.DataFrame, found: pd.DataFrame, taxonomy: Taxonomy
) -> Iterator[tuple[str, Any, float, str]]:
    """The cases on a field: failure, box, rank and caption. ``found`` are surest first."""
    name = taxonomy.classes
    for box, near in zip(true.itertuples(), crowding(true), strict=True):
        if box.kind == "missed" and near >= 2:
            yield "dense", box, near, f"{name[box.cls]}, {near} neighbours"
    # (N,): how many boxes each detection holds
    held = (share_inside(true[XYXY].to_numpy(), found[XYXY].to_numpy()) >= HALF).sum(0)
    for box, n in zip(found.itertuples(), held, strict=True):
        if box.kind != RIGHT and n >= 2:
            yield "merged", box, n, f"{name[box.cls]} {box.conf:.2f} holds {n} boxes"
    for own, other in (("RBC", "WBC"), ("WBC", "RBC")):
        of_own = true[true["cls"].isin(taxonomy.components.get(own, ()))]
        right = found[found["cls"].isin(taxonomy.components.get(own, ()))]
        wrong = found[found["cls"].isin(taxonomy.components.get(other, ()))]
        missed = of_own[~covered(of_own, right)]
        over = box_iou(corners(missed), corners(wrong)).numpy() >= IOU  # (M, N)
        for box, hits in zip(missed.itertuples(), over, strict=True):
            for surest in wrong[hits].head(1).itertuples():
                called = f"{name[box.cls]} called {name[surest.cls]} {surest.conf:.2f}"
                yield "RBC/WBC", box, surest.conf, called


def share_inside(boxes: np.ndarray, detections: np.ndarray) -> np.ndarray:
    """The share of each box (M, 4) that lies in each detection (N, 4), xyxy: (M, N)."""
    box = boxes[:, None]  # (M, 1, 4)
    left_top = np.maximum(box[..., :2], detections[:, :2])
    right_bottom = np.minimum(box[..., 2:], detections[:, 2:])  # (M, N, 2)
    common = (right_bottom - left_top).clip(min=0).prod(2)  # 0 where they do not touch
    return common / (box[..., 2:] - box[..., :2]).prod(2)


def first_cases(cases: pd.DataFrame, n: int) -> pd.DataFrame:
    """The first ``n`` of each failure, one a field as far as there are other fields."""
    # 0 for the first on its field
    repeats = cases.groupby(["failure", "image"], observed=True).cumcount()
    ordered = cases.assign(repeats=repeats).sort_values(["failure", "repeats"], kind="stable")
    shown = ordered.groupby("failure", observed=True).head(n)
    return shown.drop(columns="repeats").reset_index(drop=True)


def plot_failures(
    folds: Sequence[Scored], cases: pd.DataFrame, taxonomy: Taxonomy, banner: str, n: int = 4
) -> Figure:
    """A row for each failure with its first ``n`` cases (of ``failure_cases``).

    True boxes are dashed, detections solid, both in the colour of their head.
    """
    shown = first_cases(cases, n)
    # a row without a case holds one line of text
    heights = [1 if (shown["failure"] == failure).any() else 0.15 for failure in ROWS]
    size = style.size(style.PAGE, 0.1 + sum(heights) / n)
    fig, axes = plt.subplots(len(ROWS), n, figsize=size, squeeze=False, height_ratios=heights)
    for row, (failure, title) in zip(axes, ROWS.items(), strict=True):
        for ax in row:
            ax.set(xticks=[], yticks=[], facecolor="none")  # a face covers words of an empty row
            ax.spines[:].set_visible(False)
        of_failure = shown[shown["failure"] == failure]
        for ax, case in zip(row, of_failure.itertuples(), strict=False):
            _draw_case(ax, folds[case.fold], case, taxonomy)
        if of_failure.empty:
            text = row[0].text(0, 0.5, f"{title}: no case on these fields", va="center")
            text.set_in_layout(False)  # the panels shall not make room for it
        else:
            row[0].set_ylabel(f"{title}\n({(cases['failure'] == failure).sum()} cases)")
    black: dict[str, Any] = {"color": "black", "linewidth": 1}
    handles = [Line2D([], [], linestyle="--", label="true box", **black)]
    handles.append(Line2D([], [], label="detection", **black))
    for head in taxonomy.heads:
        handles.append(Line2D([], [], color=style.HEAD_COLOURS[head], linewidth=3, label=head))
    fig.legend(handles=handles, loc="outside upper center", ncols=8)
    fig.supxlabel(banner, fontsize=5)
    return fig


def _draw_case(ax: Axes, fold: Scored, case: Any, taxonomy: Taxonomy) -> None:
    """The surroundings of the case's box, which is thick, with the other boxes there."""
    image = read_rgb(fold.fields.set_index("image").loc[case.image, "path"])
    height, width = image.shape[:2]
    box = np.array([case.x1, case.y1, case.x2, case.y2])
    # half the side of the square to show: some of the surroundings, at least 6 % of the field
    half = max(1.6 * (box[2:] - box[:2]).max(), 0.06 * max(height, width))
    half = min(half, height / 2, width / 2)  # no larger than the field
    # the middle of the square, moved so that the square lies in the field
    x, y = np.clip((box[:2] + box[2:]) / 2, half, [width - half, height - half])

    def outline(xyxy: np.ndarray, classes: Sequence[int], line: Any, thickness: float) -> None:
        colours = [style.HEAD_COLOURS[taxonomy.head_of(c)] for c in classes]
        look: dict[str, Any] = {
            "linestyle": line,
            "linewidth": thickness,
            "path_effects": style.HALO,
        }
        style.outline(ax, xyxy, colours, **look)

    ax.imshow(image)
    for boxes, line in (
        (fold.truth, style.TRUE_LINE),
        (surest_first(fold.confident), style.FOUND_LINE),
    ):
        on_field = boxes[boxes["image"] == case.image]
        across = on_field["x2"].gt(x - half) & on_field["x1"].lt(x + half)
        along = on_field["y2"].gt(y - half) & on_field["y1"].lt(y + half)
        near = on_field[across & along].head(MOST)
        outline(near[XYXY].to_numpy(), near["cls"], line, 0.8)
    outline(
        box[None],
        [case.cls],
        style.FOUND_LINE if case.failure == "merged" else style.TRUE_LINE,
        1.6,
    )
    ax.set(xlim=(x - half, x + half), ylim=(y + half, y - half))  # y runs down
    ax.set_title(fill(case.caption, 36), fontsize=5.5, pad=2)
