"""The figures of Table 8: confusion tables, what depends on the cut-offs, and counts against the reference's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from openurine_lib import style
from openurine_lib.clinical.agreement import (
    FACTORS,
    MEAN,
    SEEN,
    agreement,
    confusion,
    counts,
    ratio,
)
from openurine_lib.data.levels import LEVELS

ACROSS = 3  # small multiples in a row
GREY = "0.45"


def plot_confusion(pairs: pd.DataFrame, components: Sequence[str], face: str) -> Figure:
    """For each component the patients by reference level (down) and level here (across); colour: share of the row."""
    tables = {
        row: t[list(LEVELS)].to_numpy()
        for row, t in confusion(pairs, components).groupby("row", sort=False)
    }
    scores = agreement(pairs, components).set_index("row")
    fig, axes = _multiples(len(tables), 0.34)
    for ax, (row, table) in zip(axes, tables.items(), strict=True):
        total = table.sum(axis=1, keepdims=True)
        share = np.divide(100 * table, total, out=np.zeros(table.shape), where=total > 0)
        sns.heatmap(share, ax=ax, annot=table, fmt="d", cbar=False, square=True, cmap="Blues", vmin=0, vmax=100,
                    xticklabels=LEVELS, yticklabels=LEVELS, annot_kws={"fontsize": 6}, linewidths=0.4,
                    linecolor="0.85", mask=table == 0)  # fmt: skip
        ax.tick_params(length=0, labelsize=5.5)
        ax.tick_params(axis="y", rotation=0)
        ax.set_title(_title(row, scores.loc[row]), fontsize=7)
        ax.spines[:].set(visible=True, color="0.6")
    _label_outer(axes)
    fig.supxlabel(f"level here (patients; darker: larger share of the row)\n{face}", fontsize=6)
    fig.supylabel("reference level", fontsize=7)
    return fig


def plot_scaled(table: pd.DataFrame, face: str) -> Figure:
    """Accuracy and kappa against the factor of all cut-offs: a line a component; the mean in black, with its interval.

    ``table``: of ``agreement.scaled``, at as many factors as the curves shall have points.
    """
    fig, axes = plt.subplots(1, 2, figsize=style.size(style.PAGE, 0.42), sharex=True)
    titles = {"accuracy": "accuracy (%)", "kappa": "quadratic weighted kappa"}
    names = [row for row in table["row"].unique() if row != MEAN]
    colours = colormaps[style.SEQUENTIAL](
        np.linspace(0, 0.85, len(names))
    )  # a component is no head
    for ax, (metric, label) in zip(axes, titles.items(), strict=True):
        for row, colour, marker in zip(names, colours, itertools.cycle("os^DvPX"), strict=False):
            t = table[table["row"] == row]
            ax.plot(
                t["factor"],
                t[metric],
                color=colour,
                marker=marker,
                linewidth=0.9,
                clip_on=False,
                label=row,
            )
        mean = table[table["row"] == MEAN]
        ax.plot(mean["factor"], mean[metric], color="black", linewidth=1.8, label="mean")
        ax.fill_between(
            mean["factor"],
            mean[f"{metric}_low"],
            mean[f"{metric}_high"],
            color="black",
            alpha=0.12,
            lw=0,
        )
        ax.axvline(1, color=GREY, linewidth=0.6, linestyle=":")
        ax.set(xscale="log", ylabel=label)
        ax.set_xticks(FACTORS, [f"{f:g}" for f in FACTORS])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.grid(axis="y")
    axes[0].set_ylim(0, 100)
    axes[1].set_ylim(min(0, axes[1].get_ylim()[0]), 1)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    fig.supxlabel(f"factor of all cut-offs\n{face}", fontsize=6)
    return fig


def plot_counts(pairs: pd.DataFrame, components: Sequence[str], face: str) -> Figure:
    """Bland and Altman's plot a component: the ratio of the counts against their geometric mean, both logarithmic.

    A dot a patient; the solid line is the mean ratio, the dashed ones hold 95 % of patients (``agreement.counts``).
    """
    known = pairs[pairs["count"].notna()]
    table = counts(known, components).set_index("row")
    fig, axes = _multiples(len(table), 0.27)
    middle = np.sqrt((known["count"] + SEEN) * (known["count_here"] + SEEN))
    reach = max([2.0, *ratio(known), *(1 / ratio(known))]) * 1.5
    span = (SEEN * 0.7, max([10.0, *middle]) * 1.5)
    for ax, (row, t) in zip(axes, table.iterrows(), strict=True):
        p = known[known["component"] == row]
        ax.axhline(1, color="0.85", linewidth=0.6)
        ax.plot(
            middle[p.index],
            ratio(p),
            "o",
            color=style.HERE_COLOUR,
            markersize=2.5,
            alpha=0.6,
            markeredgewidth=0,
        )
        for y, line in ((t["ratio"], "-"), (t["least"], "--"), (t["most"], "--")):
            ax.axhline(y, color=GREY, linewidth=0.9, linestyle=line)
        ax.set(xscale="log", yscale="log", xlim=span, ylim=(1 / reach, reach))
        _plain_log(ax)
        said = f"×{_short(t['ratio'])} [{_short(t['least'])}, {_short(t['most'])}]"
        ax.set_title(
            f"{row}\n{said if t['patients'] > 1 else 'no counts to compare'}", fontsize=6.5
        )
    _label_outer(axes)
    fig.supxlabel(f"geometric mean of both counts + {SEEN}\n{face}", fontsize=6)
    fig.supylabel(f"count here / reference (both + {SEEN})", fontsize=7)
    return fig


def _multiples(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with room for n small multiples; ``height`` of a row is a part of the page's width."""
    rows = max(1, math.ceil(n / ACROSS))
    fig, grid = plt.subplots(
        rows, ACROSS, figsize=style.size(style.PAGE, height * rows), squeeze=False
    )
    for ax in grid.flat[n:]:
        ax.set_visible(False)
    return fig, list(grid.flat[:n])


def _label_outer(axes: list[Axes]) -> None:
    """Tick labels at the left and where nothing lies below."""
    for i, ax in enumerate(axes):
        ax.tick_params(labelleft=i % ACROSS == 0, labelbottom=i + ACROSS >= len(axes))


def _title(row: str, scores: pd.Series) -> str:
    if not scores["patients"]:
        return f"{row}\nnot in the reference"
    kappa = "—" if math.isnan(scores["kappa"]) else f"{scores['kappa']:.2f}"
    return f"{row} (n = {scores['patients']})\naccuracy {scores['accuracy']:.0f} %, κ = {kappa}"


def _short(value: float) -> str:
    """Two significant digits, never as a power of ten."""
    return "—" if math.isnan(value) else np.format_float_positional(float(f"{value:.2g}"), trim="-")


def _plain_log(ax: Axes) -> None:
    """Few ticks on logarithmic axes, as plain numbers."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(FixedLocator(_ticks(low, high)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten; over less than three of them also their doubles and halves."""
    steps = (1, 2, 5) if high < 1000 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    return [
        step * 10.0**power
        for power in powers
        for step in steps
        if low <= step * 10.0**power <= high
    ]
