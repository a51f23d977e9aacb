"""Tables 4 and 7 as pictures, from the published numbers alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from openurine_lib.paper.audit_tables import OURS
from openurine_lib.published import by_class, table
from openurine_lib.style import HEAD_COLOURS, HERE_COLOUR, PAGE, PAPER_COLOUR


def table4() -> Figure:
    """Precision and mAP50 of each row, mean and standard deviation over five folds; the paper's method in colour."""
    four = table(4).iloc[::-1]
    colours = [HERE_COLOUR if row == OURS else PAPER_COLOUR for row in four["row"]]
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(PAGE, 0.75 * PAGE))
    for ax, m, title in zip(axes, ("precision", "map50"), ("Precision", "mAP50"), strict=True):
        ax.errorbar(
            four[m],
            four["row"],
            xerr=four[f"{m}_std"],
            fmt="none",
            ecolor=colours,
            elinewidth=1,
            zorder=1,
        )
        ax.scatter(four[m], four["row"], c=colours, s=12, zorder=2)
        ax.set(xlabel=f"{title} (%), mean ± std over five folds", title=title)
        ax.set_axisbelow(True)
        ax.grid(axis="x")
    return fig


def table7() -> Figure:
    """AP50 of each class in the order of its boxes, beside how many boxes and images there are of it."""
    classes = by_class().sort_values("boxes")
    average = table(7).set_index("row").loc["Unweighted average", "map50"]
    colours = classes["category"].map(HEAD_COLOURS)
    place = np.arange(len(classes))
    fig, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(PAGE, PAGE))
    left.barh(place, classes["map50"], color=colours)
    left.axvline(average, color="black", linestyle="--", linewidth=0.8)
    left.set(
        xlabel="AP50 (%); dashed: the unweighted average",
        yticks=place,
        yticklabels=classes["row"],
        ylim=(-1, len(place)),
    )
    right.barh(place, classes["boxes"], color=colours)
    right.plot(classes["images"], place, "k|", label="images")
    right.set(xscale="log", xlabel="boxes (bars) and images (strokes) of Table 2")
    right.legend(
        handles=[Patch(color=c, label=head) for head, c in HEAD_COLOURS.items()], loc="lower right"
    )
    return fig
