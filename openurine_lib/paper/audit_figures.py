"""Tables 4 and 7 as pictures, from the published numbers alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from openurine_lib.paper.audit import OURS
from openurine_lib.published import by_class, table
from openurine_lib.style import HEAD_COLOURS, HERE_COLOUR, PAGE, SERIES


def audit_table4() -> Figure:
    """Precision and mAP50 of each row, mean and deviation over five folds; our method is marked."""
    rows = table(4).iloc[::-1]  # the first row at the top
    colours = [HERE_COLOUR if row == OURS else SERIES["indigo"] for row in rows["row"]]
    sizes = [32 if row == OURS else 12 for row in rows["row"]]
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(PAGE, 0.75 * PAGE))
    for ax, m, title in zip(axes, ("precision", "map50"), ("Precision", "mAP50"), strict=True):
        bars = {"xerr": rows[f"{m}_std"], "ecolor": colours, "elinewidth": 1}
        ax.errorbar(rows[m], rows["row"], fmt="none", zorder=1, **bars)
        ax.scatter(rows[m], rows["row"], c=colours, s=sizes, zorder=2)
        ax.set(xlabel=f"{title} (%), mean ± std over five folds", title=title)
        ax.set_axisbelow(True)
        ax.grid(axis="x")
    return fig


def audit_table7() -> Figure:
    """AP50 of each class, the rarest class below, beside its number of boxes and images."""
    classes = by_class().sort_values("boxes")
    average = table(7).set_index("row").loc["Unweighted average", "map50"]
    colours = classes["category"].map(HEAD_COLOURS)
    places = range(len(classes))
    fig, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(PAGE, PAGE))
    left.barh(places, classes["map50"], color=colours)
    left.axvline(average, color="black", linestyle="--", linewidth=0.8)
    left.set_yticks(places, classes["row"])
    left.set(xlabel="AP50 (%); dashed: the unweighted average", ylim=(-1, len(classes)))
    right.barh(places, classes["boxes"], color=colours)
    right.plot(classes["images"], places, "k|", label="images")
    right.set(xscale="log", xlabel="boxes (bars) and images (strokes) of Table 2")
    heads = [Patch(color=colour, label=head) for head, colour in HEAD_COLOURS.items()]
    right.legend(handles=heads, loc="lower right")
    return fig
