"""The figures of notebook 09: Fig. 5, where each head looks, and what was measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from openurine_lib import style
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.gradcam import SHOWN, Row

LEAST = 0.2  # where the axis of ratios ends


def plot_fig5(
    rows: Sequence[tuple[Row, np.ndarray | None, np.ndarray | None]],
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    taxonomy: Taxonomy,
    banner: str,
) -> Figure:
    """Fig. 5: for each row its field with the boxes of its classes, and beside it the map over it.

    Annotated boxes are dashed, found ones solid, both in the colour of their head. rows: each with
    its RGB image (H, W, 3) and map (H, W); None where a row has no field, and the figure names such
    rows. truth, predictions: boxes, predicted ones with confidence.
    """
    shown = [(row, field, heat) for row, field, heat in rows if field is not None]
    lines = max(1, -(-len(shown) // 2))  # two rows of the figure side by side
    tallest = max((field.shape[0] / field.shape[1] for _, field, _ in shown), default=0.2)
    size = style.size(style.PAGE, (0.23 * tallest + 0.045) * lines + 0.05)
    fig, axes = plt.subplots(lines, 4, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set_axis_off()
    for (row, field, heat), (left, right) in zip(shown, axes.reshape(-1, 2), strict=False):
        annotated = truth[(truth.image == row.image) & truth.cls.isin(row.classes)]
        found = predictions[(predictions.image == row.image) & predictions.cls.isin(row.classes)]
        found = found[found.conf >= SHOWN]
        left.imshow(field)
        for boxes, line in ((annotated, style.TRUE_LINE), (found, style.FOUND_LINE)):
            colours = [style.HEAD_COLOURS[taxonomy.head_of(c)] for c in boxes.cls]
            look: dict[str, Any] = {"linestyle": line, "linewidth": 0.8}
            style.outline(left, boxes[XYXY].to_numpy(), colours, path_effects=style.HALO, **look)
        counts = f"{row.boxes} annotated, {row.found} found, {row.matched} matched"
        left.set_title(f"{row.name}\n{counts}", fontsize=6, loc="left", linespacing=1.3)
        right.imshow(cv2.cvtColor(field, cv2.COLOR_RGB2GRAY), cmap="gray")
        drawn = right.imshow(heat, vmin=0, vmax=1, alpha=0.7, cmap="inferno")
        style.outline(right, annotated[XYXY].to_numpy(), "white", linewidth=0.4)
    if shown:
        bar = fig.colorbar(drawn, ax=axes, shrink=0.6, aspect=40, pad=0.01, ticks=[0, 1])
        bar.set_label("Grad-CAM, of the map's maximum", fontsize=6)
    black: dict[str, Any] = {"color": "black", "linewidth": 1}
    handles: list[Any] = [Line2D([], [], linestyle="--", label="annotated", **black)]
    handles.append(Line2D([], [], label=f"found, confidence from {SHOWN}", **black))
    handles += [Patch(color=style.HEAD_COLOURS[head], label=head) for head in taxonomy.heads]
    fig.legend(handles=handles, loc="outside lower center", ncols=8, columnspacing=1)
    without = ", ".join(row.name for row, field, _ in rows if field is None)
    note = f"no box in the test fields: {without}\n" if without else ""
    fig.suptitle(f"{note}{banner}", fontsize=5)
    return fig


def plot_attention(table: pd.DataFrame, checked: pd.DataFrame, banner: str) -> Figure:
    """Heat against area, the pointing game, and the sanity check.

    table: of ``attention.summary``; checked: of ``attention.sanity``.
    """
    fig, (left, middle, right) = plt.subplots(
        1, 3, figsize=style.size(style.PAGE, 0.34), width_ratios=[1, 0.8, 1.1]
    )
    _plot_heat(left, table)
    _plot_pointing(middle, table)
    _plot_sanity(right, checked)
    for ax in (left, middle):
        ax.set_yticks(range(len(table)), table.part if ax is left else [])  # the first row on top
        ax.set_ylim(len(table) - 0.4, -0.6)
    fig.suptitle(banner, fontsize=5)
    return fig


def colour_of(part: str) -> str:
    """A head's own colour; black for what is no head."""
    return style.HEAD_COLOURS.get(part, "black")


def _plot_heat(ax: Axes, table: pd.DataFrame) -> None:
    # where the numbers stand, to the right of all dots
    far = 1.3 * np.nanmax([4, *table.ratio, *table.ratio_others, *table.ratio_high])
    small: dict[str, Any] = {"va": "center", "fontsize": 5.5}
    for y, row in enumerate(table.itertuples()):
        if row.fields:
            colour = colour_of(row.part)
            ax.plot([row.ratio_low, row.ratio_high], [y, y], color=colour)
            # at least LEAST, as a logarithmic axis has no 0
            ax.plot(max(row.ratio, LEAST), y, "o", color=colour, markersize=5)
            ax.plot(max(row.ratio_others, LEAST), y, "o", color=colour, mfc="white", markersize=4)
            ax.text(far, y, f"{row.energy:.1f} on {row.area:.1f} %", **small)
        else:
            ax.text(1.1, y, row.note, **small)
    ax.text(far, -0.6, "heat on area", va="bottom", fontsize=5.5)
    ax.axvline(1, color="0.6", linewidth=0.6)
    ax.set(xscale="log", xlim=(LEAST, far), title="Heat inside the boxes")
    ax.set_xlabel("times that of a blind map\n(open: in the boxes of the other classes)")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")


def _plot_pointing(ax: Axes, table: pd.DataFrame) -> None:
    for y, row in enumerate(table.itertuples()):
        if row.fields:
            ax.barh(y, row.pointing, height=0.5, color=colour_of(row.part))
            ax.plot([row.pointing_low, row.pointing_high], [y, y], color="0.2", linewidth=0.8)
            # white below black: seen on a bar of any colour
            for ink, width in (("white", 2.4), ("black", 1.2)):
                ax.plot(row.area, y, "|", color=ink, markersize=10, markeredgewidth=width)
            ax.text(104, y, f"{row.fields}", va="center", fontsize=5.5)
    ax.text(104, -0.6, "fields", va="bottom", fontsize=5.5)
    ax.set(xlim=(0, 100), title="Pointing game")
    ax.set_xlabel("% of fields whose maximum is in a box\n(tick: by chance)")


def _plot_sanity(ax: Axes, checked: pd.DataFrame) -> None:
    for part, of_part in checked.groupby("part", sort=False):
        line: dict[str, Any] = {"color": colour_of(str(part)), "linewidth": 0.6, "alpha": 0.7}
        ax.plot(of_part.depth, of_part.spearman, **line)
    if len(checked):
        mean = checked.groupby("depth")[["spearman", "ssim"]].mean()
        ax.plot(mean.spearman, "o-", color="black", label="rank correlation, mean")
        ax.plot(mean.ssim, "s--", color="black", markerfacecolor="white", label="SSIM, mean")
        layers = checked.drop_duplicates("depth").layer
        ax.set_xticks(mean.index, layers, rotation=90, fontsize=5)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2)
    ax.axhline(0, color="0.6", linewidth=0.5)
    ax.set_title("Sanity check", pad=14)
    ax.set_xlabel("weights drawn anew,\nfrom the heads down to this layer")
    ax.set_ylabel("likeness to the trained map")
