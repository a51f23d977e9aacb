"""What makes a particle hard to find: recall against its size, its neighbours and its sharpness.

Each true box has three measures that need no detector, and is found or missed at its fold's best-F1
confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from tqdm.auto import tqdm

from openurine_lib import style
from openurine_lib.data.boxes import XYXY, area
from openurine_lib.data.images import read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.errors import FOUND, Errors
from openurine_lib.evaluation.metrics import ByImage, Scored

NEAR = 2.0  # diameters within which a centre is a neighbour's
BINS = 5  # of about equally many particles
FEW = 10  # boxes; a point of fewer is not drawn


class Measure(NamedTuple):
    """A measure of a particle."""

    column: str  # in the frame of ``particles``
    label: str  # of the axis
    edges: tuple[float, ...] = ()  # of given bins; the upper edge belongs to a bin


def particles(
    folds: Sequence[Scored], errors: Sequence[Errors], um_per_px: float | None = None
) -> tuple[pd.DataFrame, tuple[Measure, ...]]:
    """Every true box [image, group, cls, x1..y2, found, size, crowding, focus], and the measures.

    errors: of each fold, at its confidence (``errors.at_confidence``).
    size: square root of the box's area; in um if every field has an ``um_per_px``, or one is given
    for all; else in pixels of the original image. Reads every field once; raises BadField for one
    that cannot be read.
    """
    # NaN if not there
    scales = pd.concat([fold.fields.reindex(columns=["um_per_px"]) for fold in folds])
    all_known = bool(scales["um_per_px"].notna().all())
    measured = []
    for fold, (_, true) in zip(folds, errors, strict=True):
        true_on = ByImage(true)
        # those without boxes need not be read
        fields = fold.fields[fold.fields["image"].isin(true["image"])]
        for field in tqdm(list(fields.itertuples()), "measuring particles", leave=False):
            boxes = true_on[field.image]
            # um in a pixel; 1 keeps pixels
            scale = field.um_per_px if all_known else um_per_px or 1.0
            measures = {"size": diameter(boxes) * scale, "crowding": crowding(boxes)}
            measures["focus"] = focus(read_rgb(field.path), boxes)
            found = boxes["kind"] == FOUND
            measured.append(boxes.assign(group=field.group, found=found, **measures))
    columns = ["image", "group", "cls", *XYXY, "found", "size", "crowding", "focus"]
    table = pd.concat(measured, ignore_index=True) if measured else pd.DataFrame(columns=columns)
    unit = "µm" if all_known or um_per_px else "pixels"
    return table[columns], (
        Measure("size", f"size, square root of the box's area ({unit})"),
        Measure("crowding", f"neighbours within {NEAR:g} diameters", (-1, 0, 1, 2, 4, np.inf)),
        Measure("focus", "sharpness against the field's (log2)"),
    )


def diameter(boxes: pd.DataFrame) -> np.ndarray:
    """Square root of each box's area, pixels: (M,)."""
    return np.sqrt(area(boxes)).to_numpy()


def crowding(boxes: pd.DataFrame) -> np.ndarray:
    """How many neighbours each box of a field has: (M,).

    A neighbour is a box of any class and at least half the size, whose centre lies within NEAR
    times the size of the box's own.
    """
    centres = np.stack([boxes["x1"] + boxes["x2"], boxes["y1"] + boxes["y2"]], axis=1) / 2
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)  # (M, M)
    size = diameter(boxes)
    near = distance <= NEAR * size[:, None]  # (M, M)
    not_much_smaller = size[None] >= size[:, None] / 2
    return (near & not_much_smaller).sum(1) - 1  # the box itself


def focus(image: np.ndarray, boxes: pd.DataFrame) -> np.ndarray:
    """Sharpness of each box of a field (H, W, 3) RGB against the field's, in powers of two: (M,).

    Sharpness is the variance of the Laplacian, after a blur of one pixel that takes away the
    camera's noise. It grows with sharp edges, of which a small particle has more for its area.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # (0, 0): the kernel is as large as its sigma of 1 pixel needs
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1), cv2.CV_32F)
    inside = []
    for left, top, right, bottom in boxes[XYXY].to_numpy():
        # whole pixels
        patch = edges[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
        inside.append(patch.var())
    floor = 1e-6  # an even patch has no edge at all
    return np.log2((np.array(inside, dtype=float) + floor) / (float(edges.var()) + floor))


def recall_by(found: pd.DataFrame, measures: Sequence[Measure], taxonomy: Taxonomy) -> pd.DataFrame:
    """Recall (percent) in bins of each measure: a row for a bin, of all heads, then of each head.

    [measure, head, low_edge, high_edge, middle (median), boxes, groups, recall, and its 95 %
    interval over groups]. Bins whose edges are not given hold about equally many boxes.
    """
    head = found["cls"].map(taxonomy.head_of)
    rows = []
    for column, _, given in measures:
        values = found[column].astype(float)
        edges = np.array(given) if given else _even_edges(values)
        # the inner edges only; side="left": an upper edge belongs to its bin
        bins = np.searchsorted(edges[1:-1], values, side="left")
        for name in ("all", *taxonomy.heads):
            for i, (low_edge, high_edge) in enumerate(zip(edges, edges[1:], strict=False)):
                part = found[(bins == i) & ((head == name) | (name == "all"))]
                groups = part.groupby("group")["found"]
                low, high = bootstrap.percent_interval(groups.sum(), groups.size())
                bin_ = {"measure": column, "head": name, "low_edge": low_edge}
                bin_ |= {"high_edge": high_edge, "middle": part[column].median()}
                support = {"boxes": len(part), "groups": len(groups)}
                recall = 100 * part["found"].mean() if len(part) else np.nan
                ends = {"recall_low": low, "recall_high": high}
                rows.append(bin_ | support | {"recall": recall} | ends)
    return pd.DataFrame(rows)


def _even_edges(values: pd.Series) -> np.ndarray:
    shares = np.linspace(0, 1, BINS + 1)
    return np.quantile(values, shares) if len(values) else np.full(len(shares), np.nan)


def plot_recall(table: pd.DataFrame, measures: Sequence[Measure], banner: str) -> Figure:
    """A panel for each measure: recall of all particles in black, of each head in its colour.

    table: of ``recall_by``. Bars are the intervals of all particles.
    """
    fig, axes = plt.subplots(1, len(measures), figsize=style.size(style.PAGE, 0.36), sharey=True)
    handles = {}
    for ax, measure in zip(axes, measures, strict=True):
        enough = table[(table["measure"] == measure.column) & (table["boxes"] >= FEW)]
        for head in style.HEAD_COLOURS:
            rows = enough[enough["head"] == head]
            line: dict[str, Any] = {
                "color": style.HEAD_COLOURS[head],
                "linewidth": 0.7,
                "markersize": 2,
            }
            if len(rows):
                (handles[head],) = ax.plot(rows["middle"], rows["recall"], marker="o", **line)
        rows = enough[enough["head"] == "all"]
        # the lengths of both whiskers, (2, bins)
        to_ends = rows[["recall_low", "recall_high"]].sub(rows["recall"], axis=0).abs()
        line = {"color": "black", "marker": "s", "capsize": 2}
        every = ax.errorbar(rows["middle"], rows["recall"], to_ends.T.to_numpy(), **line)
        ax.set(xlabel=measure.label, ylim=(-3, 103))
        if measure.column == "size" and len(rows):
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("recall at IoU 0.5 (%)")
    handles["all"] = every
    order = [name for name in (*style.HEAD_COLOURS, "all") if name in handles]
    place: dict[str, Any] = {"loc": "outside upper center", "ncols": len(order)}
    fig.legend([handles[name] for name in order], order, **place)
    fig.supxlabel(banner, fontsize=5)
    return fig
