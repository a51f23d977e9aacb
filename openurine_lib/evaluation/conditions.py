"""What makes a particle hard to find: recall against its size, how crowded it lies, and how sharp it is.

Each true box has three measures that need no detector, and is found or missed at its fold's best-F1 confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from tqdm.auto import tqdm

from openurine_lib import style
from openurine_lib.data.images import read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.errors import FOUND, at_confidence
from openurine_lib.evaluation.metrics import XYXY
from openurine_lib.evaluation.scored import Scored

NEAR = 2.0  # diameters within which a centre is a neighbour's
BINS = 5  # of about equally many particles
FEW = 10  # boxes; a point of fewer is not drawn


class Measure(NamedTuple):
    """A measure of a particle: its column in ``particles``, what stands on the axis, and perhaps bins of its own."""

    column: str
    label: str
    edges: tuple[float, ...] = ()  # ends of the bins; the upper end belongs to a bin


def particles(
    folds: Sequence[Scored], um_per_px: float | None = None
) -> tuple[pd.DataFrame, tuple[Measure, ...]]:
    """Every true box [image, group, cls, x1..y2, found, size, crowding, focus], and its three measures.

    size: square root of the box's area; in um if every field has an ``um_per_px`` of its own, or one is given for all;
    else in pixels of the original image.
    crowding: number of other true boxes, of any class and at least half its size, whose centre lies within NEAR times
    its size of its own.
    focus: log2 of the variance of the Laplacian inside the box over that of the whole field, after a blur of one pixel
    that takes away the camera's noise; it grows with sharp edges, of which a small particle has more for its area.
    Reads every field once. Raises BadField for one that cannot be read.
    """
    own = all(
        "um_per_px" in fold.fields and fold.fields["um_per_px"].notna().all() for fold in folds
    )
    parts = []
    for fold in folds:
        boxes = at_confidence(fold).boxes
        boxes = boxes.assign(found=boxes["kind"] == FOUND).drop(columns="kind")
        of = dict(tuple(boxes.groupby("image")))
        for field in tqdm(
            list(fold.fields.itertuples()), desc="measuring particles", unit="field", leave=False
        ):
            if field.image in of:
                here = of[field.image]
                scale = field.um_per_px if own else um_per_px or 1.0
                measured = {"crowding": crowding(here), "focus": focus(read_rgb(field.path), here)}
                parts.append(
                    here.assign(group=field.group, size=diameter(here) * scale, **measured)
                )
    columns = ["image", "group", "cls", *XYXY, "found", "size", "crowding", "focus"]
    found = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    unit = "µm" if own or um_per_px else "pixels"
    return found, (
        Measure("size", f"size, square root of the box's area ({unit})"),
        Measure("crowding", f"neighbours within {NEAR:g} diameters", (-1, 0, 1, 2, 4, np.inf)),
        Measure("focus", "sharpness against the field's (log2)"),
    )


def diameter(boxes: pd.DataFrame) -> np.ndarray:
    """Square root of each box's area, pixels: (M,)."""
    return np.sqrt((boxes["x2"] - boxes["x1"]) * (boxes["y2"] - boxes["y1"])).to_numpy()


def crowding(boxes: pd.DataFrame) -> np.ndarray:
    """How many other boxes of the field, not much smaller, have their centre within NEAR diameters of each: (M,)."""
    centres, size = (
        np.stack([boxes["x1"] + boxes["x2"], boxes["y1"] + boxes["y2"]], axis=1) / 2,
        diameter(boxes),
    )
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    return ((apart <= NEAR * size[:, None]) & (size[None] >= size[:, None] / 2)).sum(1) - 1


def focus(image: np.ndarray, boxes: pd.DataFrame) -> np.ndarray:
    """Sharpness of each box of a field (H, W, 3) RGB against the field's, in powers of two: (M,). See ``particles``."""
    edges = cv2.Laplacian(
        cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1), cv2.CV_32F
    )
    corners = boxes[XYXY].to_numpy()
    inside = [
        edges[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))].var()
        for x1, y1, x2, y2 in corners
    ]
    floor = 1e-6  # an even patch has no edge at all
    return np.log2((np.array(inside, dtype=float) + floor) / (float(edges.var()) + floor))


def recall_by(found: pd.DataFrame, measures: Sequence[Measure], taxonomy: Taxonomy) -> pd.DataFrame:
    """Recall (percent) in bins of each measure: [measure, head, low_edge, high_edge, middle, boxes, groups, recall].

    A row a bin for all heads together, then for each head; recall_low and recall_high are its 95 % bootstrap interval
    over groups (``bootstrap.of_ratio``). Bins without edges of the measure's own hold about equally many boxes;
    ``middle`` is the median inside.
    """
    head = found["cls"].map(taxonomy.head_of)
    rows = []
    for column, _, own in measures:
        values = found[column].astype(float)
        edges = np.array(own)
        if not own:
            edges = (
                np.quantile(values, np.linspace(0, 1, BINS + 1))
                if len(values)
                else np.full(BINS + 1, np.nan)
            )
        bins = np.searchsorted(edges[1:-1], values, side="left")
        for name in ("all", *taxonomy.heads):
            for i in range(len(edges) - 1):
                part = found[(bins == i) & ((head == name) | (name == "all"))]
                of = part.groupby("group")["found"]
                low, high = bootstrap.of_ratio(of.sum(), of.size())
                rows.append({
                    "measure": column, "head": name, "low_edge": edges[i], "high_edge": edges[i + 1],
                    "middle": part[column].median(), "boxes": len(part), "groups": part["group"].nunique(),
                    "recall": 100 * part["found"].mean() if len(part) else np.nan,
                    "recall_low": 100 * low, "recall_high": 100 * high,
                })  # fmt: skip
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame, measures: Sequence[Measure], face: str) -> Figure:
    """A panel a measure: recall of all particles in black with intervals, of each head as a thin line in its colour."""
    fig, axes = plt.subplots(1, len(measures), figsize=style.size(style.PAGE, 0.36), sharey=True)
    for ax, measure in zip(axes, measures, strict=True):
        enough = table[(table["measure"] == measure.column) & (table["boxes"] >= FEW)]
        for head, rows in enough[enough["head"] != "all"].groupby("head"):
            ax.plot(rows["middle"], rows["recall"], color=style.HEAD_COLOURS[head], marker="o", markersize=2,
                    linewidth=0.7, label=head)  # fmt: skip
        every = enough[enough["head"] == "all"]
        spread = np.abs(
            every[["recall_low", "recall_high"]].sub(every["recall"], axis=0)
        ).T.to_numpy()
        ax.errorbar(
            every["middle"],
            every["recall"],
            yerr=spread,
            color="black",
            marker="s",
            capsize=2,
            label="all",
        )
        ax.set(xlabel=measure.label, ylim=(-3, 103))
        if measure.column == "size" and len(every):
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("recall at IoU 0.5 (%)")
    handles = {
        label: h for ax in axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    order = [name for name in (*style.HEAD_COLOURS, "all") if name in handles]
    fig.legend([handles[n] for n in order], order, loc="outside upper center", ncols=len(order))
    fig.supxlabel(face, fontsize=5)
    return fig
