"""Figures of training: reconstructions (Fig. 3A), the heads' losses (Fig. 3B), the search (Fig. 4).

``banner``, the run's, is written on each.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from openurine_lib import style
from openurine_lib.experiments.comparison import TITLES
from openurine_lib.training.trials import LAMBDA, best, space_in, was_pruned

PARTS = {"box": "CIoU (Eq. 4)", "cls": "classification (Eq. 7)", "dfl": "DFL (Eq. 5)"}
TITLE = {"fontsize": 6, "color": "0.35"}
SEARCH_COLUMNS = 4  # panels a row of Fig. 4
FEW_TRIALS = 10  # with fewer, nothing can be said about a setting


def plot_reconstructions(folder: Path, banner: str) -> Figure:
    """Fig. 3A: fields before and after the autoencoder, and its two losses by epoch.

    folder: the encoder's.
    """
    style.use()
    examples = np.load(folder / "reconstructions.npz")  # uint8 (N, H, W, 3) each
    log = pd.read_csv(folder / "log.csv")
    n = min(5, len(examples["before"]))  # as many as have room
    fig = plt.figure(figsize=style.size(style.PAGE, 0.34), layout="constrained")
    left, right = fig.subfigures(1, 2, width_ratios=[2.4, 1])  # type: ignore[misc]
    axes = left.subplots(2, n, squeeze=False)
    for row, key, name in ((0, "before", "field"), (1, "after", "reconstruction")):
        for ax, image in zip(axes[row], examples[key], strict=False):
            ax.imshow(image)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(name)
    ax = right.subplots()
    ax.plot(log.epoch, log.l1, marker="o", label="L1")
    ax.plot(log.epoch, log.ssim, marker="s", label="1 − SSIM")
    ax.set(xlabel="epoch", ylabel="reconstruction loss", ylim=(0, None))
    _whole_epochs(ax)
    ax.legend()
    fig.suptitle(banner, **TITLE)
    return fig


def plot_losses(log: pd.DataFrame, banner: str) -> Figure:
    """Fig. 3B: the loss by epoch, from a training's log.csv.

    For six heads there is a panel for each part of the loss, with a line a head (times lambda).
    """
    style.use()
    heads = [name for name in style.HEAD_COLOURS if f"{name}/box" in log]
    if heads:
        fig, axes = plt.subplots(1, 3, figsize=style.size(style.PAGE, 0.3))
        for ax, (part, title) in zip(axes, PARTS.items(), strict=True):
            for name in heads:
                look = {"color": style.HEAD_COLOURS[name], "marker": ".", "label": name}
                ax.plot(log.epoch, log[f"{name}/{part}"], **look)
            ax.set(title=title, xlabel="epoch", ylim=(0, None))
            _whole_epochs(ax)
        axes[0].set_ylabel("weighted loss")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    else:
        fig, ax = plt.subplots()
        # a single head has no parts by head
        for column in log.columns.drop(["epoch", "lr"], errors="ignore"):
            ax.plot(log.epoch, log[column], marker=".", label=column)
        ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
        _whole_epochs(ax)
        ax.legend()
    fig.suptitle(banner, **TITLE)
    return fig


def _whole_epochs(ax: Axes) -> None:
    # one tick is enough: with the usual two, a single epoch would get decimal ones
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def plot_search(trials: pd.DataFrame, metric: str, banner: str) -> Figure:
    """Fig. 4: a metric against each hyperparameter, over the whole range that was searched.

    Points are coloured by the order of the trials; hollow ones were pruned, and show what they had
    reached after half of the epochs. A diamond marks the first trial, a cross the best one. The
    figure says so if the trials are too few, or all alike.
    """
    style.use()
    space = space_in(trials)
    rows = math.ceil(len(space) / SEARCH_COLUMNS)
    chosen = best(trials)
    scores = 100 * trials[metric]
    pruned = was_pruned(trials)
    whole = ~pruned
    size = style.size(style.PAGE, 0.15 + 0.2 * rows)
    fig, axes = plt.subplots(rows, SEARCH_COLUMNS, figsize=size, sharey=True)
    for ax in axes.flat[len(space) :]:
        ax.set_visible(False)
    for ax, (name, span) in zip(axes.flat, space.items(), strict=False):
        look = {"s": 9, "cmap": style.SEQUENTIAL, "vmin": 0, "vmax": len(trials) - 1}
        order = trials["trial"]
        points = ax.scatter(trials[name][whole], scores[whole], c=order[whole], lw=0, **look)
        rims = points.cmap(points.norm(order[pruned]))
        ax.scatter(trials[name][pruned], scores[pruned], s=9, fc="none", ec=rims, lw=0.6)
        ring = {"s": 26, "marker": "D", "facecolor": "none", "edgecolor": "black", "zorder": 3}
        first = ax.scatter(trials[name].iloc[0], scores.iloc[0], **ring)
        cross = {"s": 34, "marker": "x", "color": style.HERE_COLOUR, "zorder": 4}
        winner = ax.scatter(chosen[name], 100 * chosen[metric], **cross)
        ax.set_xlabel(name.replace(f"{LAMBDA}.", "λ "))
        _few_ticks(ax, span.low, span.high, span.log)
    middle, reach = (scores.max() + scores.min()) / 2, (scores.max() - scores.min()) / 2
    reach = max(1.15 * reach, 0.5)  # percentage points: trials that are all alike have no reach
    # shared by all; there is no score below 0, only half of a point at 0
    axes[0, 0].set_ylim(max(middle - reach, -0.05 * reach), middle + reach)
    for ax in axes[:, 0]:
        ax.set_ylabel(TITLES[metric])
    marks, names = [first, winner], ["first trial: this run's own settings", "best trial"]
    if pruned.any():
        marks.append(Line2D([], [], ls="", marker="o", ms=3, mfc="none", mec="grey"))
        names.append("stopped after half of the epochs")
    key = fig.legend(marks, names, loc="outside lower center", ncols=len(marks))
    key.set_title(too_little(scores))
    key.get_title().set(weight="bold", fontsize=8, color=style.HERE_COLOUR)
    if len(trials) > 1:  # one has no order
        bar = fig.colorbar(points, ax=axes, aspect=50, pad=0.01, label="order of the trials")
        bar.locator = MaxNLocator(5, integer=True)
    fig.suptitle(f"{len(trials)} trial{'s' if len(trials) > 1 else ''}. {banner}", **TITLE)
    fig.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]
    return fig


def too_little(scores: pd.Series) -> str:
    """Why the trials with these scores say nothing about a setting; empty if they may."""
    if len(scores) < FEW_TRIALS:
        return f"Fewer than {FEW_TRIALS} trials are too few to see the influence of a setting."
    if scores.min() == scores.max():
        return "All trials score alike, so that no setting shows an influence."
    return ""


def _few_ticks(ax: Axes, low: float, high: float, log: bool) -> None:
    """The whole range of a setting on the axis, with at most four ticks and plain labels."""
    if log:
        ax.set(xscale="log", xlim=(low / 1.3, high * 1.3))
        ax.xaxis.set_major_locator(LogLocator(base=10 if high / low > 100 else 2, numticks=4))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.06 * (high - low)  # so that no point lies on the edge
        ax.set_xlim(low - room, high + room)
        ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter("{x:g}")  # 0.001, not a power of ten
