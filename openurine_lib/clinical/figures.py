"""The figures of Table 8: confusion tables, what depends on the cut-offs, counts against counts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from openurine_lib import style
from openurine_lib.clinical.agreement import (
    FACTORS,
    MEAN,
    SEEN,
    count_ratio,
    table8_components,
    table8_confusion,
    table8_counts,
)
from openurine_lib.data.levels import LEVELS
from openurine_lib.data.taxonomy import Taxonomy

ACROSS = 3  # small multiples in a row
GREY = "0.45"  # of a component that the taxonomy does not have
MARKERS = "os^DvPX"
Colours = Mapping[str, str]  # component -> colour


def component_colours(taxonomy: Taxonomy) -> Colours:
    """The colour of each component's head (that of its first class)."""
    heads = {name: taxonomy.head_of(ids[0]) for name, ids in taxonomy.components.items()}
    return {name: style.HEAD_COLOURS[head] for name, head in heads.items()}


def plot_table8_confusion(pairs: pd.DataFrame, components: Colours, banner: str) -> Figure:
    """For each component the patients by reference level (down) and level here (across).

    The colour is that of the component's head, as deep as the share of the row.
    """
    tables = table8_confusion(pairs, list(components)).groupby("row", sort=False)
    scores = table8_components(pairs, list(components)).set_index("row")
    fig, axes = _multiples(len(tables), 0.34)
    look = {"vmin": 0, "vmax": 100, "linewidths": 0.4, "linecolor": "0.85"}
    text = {"fmt": "d", "annot_kws": {"fontsize": 6}}
    ticks = {"xticklabels": LEVELS, "yticklabels": LEVELS}
    for ax, (row, table) in zip(axes, tables, strict=True):
        counts = table[list(LEVELS)].to_numpy()  # (5, 5)
        total = counts.sum(axis=1, keepdims=True)
        # a level that nobody has has no share
        share = np.divide(100 * counts, total, out=np.zeros(counts.shape), where=total > 0)
        shades = LinearSegmentedColormap.from_list(row, ["white", components.get(row, GREY)])
        cells = {"annot": counts, "mask": counts == 0, "square": True, "cbar": False}
        cells["cmap"] = shades
        sns.heatmap(share, ax=ax, **cells, **look, **text, **ticks)
        ax.tick_params(length=0, labelsize=5.5)
        ax.tick_params(axis="y", rotation=0)
        ax.set_title(_title(row, scores.loc[row]), fontsize=7)
        ax.spines[:].set(visible=True, color="0.6")
    _label_outer(axes)
    fig.supxlabel(f"level here (patients; deeper: larger share of the row)\n{banner}", fontsize=6)
    fig.supylabel("reference level", fontsize=7)
    return fig


def _title(row: str, scores: pd.Series) -> str:
    if not scores["patients"]:
        return f"{row}\nnot in the reference"
    kappa = "—" if math.isnan(scores["kappa"]) else f"{scores['kappa']:.2f}"
    return f"{row} (n = {scores['patients']})\naccuracy {scores['accuracy']:.0f} %, κ = {kappa}"


def plot_table8_sensitivity(table: pd.DataFrame, components: Colours, banner: str) -> Figure:
    """Accuracy and kappa against the factor of all cut-offs: a line a component, the mean in black.

    ``table``: of ``table8_sensitivity``, at as many factors as the curves shall have points.
    """
    fig, axes = plt.subplots(1, 2, figsize=style.size(style.PAGE, 0.42), sharex=True)
    titles = {"accuracy": "accuracy (%)", "kappa": "quadratic weighted kappa"}
    curves = dict(list(table.groupby("row", sort=False)))
    mean = curves.pop(MEAN)
    for ax, (measure, label) in zip(axes, titles.items(), strict=True):
        for i, (row, curve) in enumerate(curves.items()):
            # components of one head share its colour, and differ in their marks
            marked = {"marker": MARKERS[i % len(MARKERS)], "label": row}
            marked["color"] = components.get(row, GREY)
            ax.plot(curve["factor"], curve[measure], linewidth=0.9, clip_on=False, **marked)
        ax.plot(mean["factor"], mean[measure], color="black", linewidth=1.8, label="mean")
        low, high = mean[f"{measure}_low"], mean[f"{measure}_high"]
        ax.fill_between(mean["factor"], low, high, color="black", alpha=0.12, lw=0)
        ax.axvline(1, color=GREY, linewidth=0.6, linestyle=":")
        ax.set(xscale="log", ylabel=label)
        ax.set_xticks(FACTORS, [f"{factor:g}" for factor in FACTORS])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.grid(axis="y")
    axes[0].set_ylim(0, 100)
    axes[1].set_ylim(min(0, axes[1].get_ylim()[0]), 1)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    fig.supxlabel(f"factor of all cut-offs\n{banner}", fontsize=6)
    return fig


def plot_table8_counts(pairs: pd.DataFrame, components: Colours, banner: str) -> Figure:
    """Bland and Altman's plot a component: the ratio of both counts against their geometric mean.

    Both axes are logarithmic. A dot a patient; the solid line is the mean ratio, the dashed ones
    hold 95 % of patients (``table8_counts``); at the dotted one both counts are equal.
    """
    pairs = pairs[pairs["count"].notna()]
    table = table8_counts(pairs, list(components)).set_index("row")
    fig, axes = _multiples(len(table), 0.27)
    ratio = count_ratio(pairs)
    middle = np.sqrt((pairs["count"] + SEEN) * (pairs["count_here"] + SEEN))
    reach = max([2.0, *ratio, *(1 / ratio)]) * 1.5  # the same above and below 1
    span = (SEEN * 0.7, max([10.0, *middle]) * 1.5)
    for ax, (row, limits) in zip(axes, table.iterrows(), strict=True):
        of_row = pairs["component"] == row
        ax.axhline(1, color="black", linewidth=0.5, linestyle=":")
        dots = (middle[of_row], ratio[of_row], "o")
        colour = components.get(str(row), GREY)
        ax.plot(*dots, color=colour, markersize=3.5, alpha=0.7, markeredgewidth=0)
        for name, line in {"ratio": "-", "least": "--", "most": "--"}.items():
            ax.axhline(limits[name], color=colour, linewidth=0.9, linestyle=line)
        ax.set(xscale="log", yscale="log", xlim=span, ylim=(1 / reach, reach))
        for axis in (ax.xaxis, ax.yaxis):
            low, high = axis.get_view_interval()
            # Powers of ten; over less than three of them also their doubles and halves.
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        ratios = [_short(limits[name]) for name in ("ratio", "least", "most")]
        compared = "×{} [{}, {}]".format(*ratios)
        text = compared if limits["patients"] > 1 else "no counts to compare"
        ax.set_title(f"{row}\n{text}", fontsize=6.5)
    _label_outer(axes)
    fig.supxlabel(f"geometric mean of both counts + {SEEN}\n{banner}", fontsize=6)
    fig.supylabel(f"count here / reference (both + {SEEN})", fontsize=7)
    return fig


def _short(value: float) -> str:
    """Two significant digits, never as a power of ten."""
    return "—" if math.isnan(value) else np.format_float_positional(float(f"{value:.2g}"), trim="-")


def _multiples(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with n small multiples; the ``height`` of a row is in widths of the page."""
    rows = max(1, math.ceil(n / ACROSS))
    size = style.size(style.PAGE, height * rows)
    fig, grid = plt.subplots(rows, ACROSS, figsize=size, squeeze=False)
    for ax in grid.flat[n:]:
        ax.set_visible(False)
    return fig, list(grid.flat[:n])


def _label_outer(axes: list[Axes]) -> None:
    """Tick labels at the left and where nothing lies below."""
    for i, ax in enumerate(axes):
        ax.tick_params(labelleft=i % ACROSS == 0, labelbottom=i + ACROSS >= len(axes))
