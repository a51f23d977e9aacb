"""Figures of training: reconstructions (Fig. 3A), the heads' losses (Fig. 3B), the search (Fig. 4).

``banner``, the run's, is written on each.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from openurine_lib import style
from openurine_lib.training.trials import SPACE, best

PARTS = {"box": "CIoU (Eq. 4)", "cls": "classification (Eq. 7)", "dfl": "DFL (Eq. 5)"}
TITLE = {"fontsize": 6, "color": "0.35"}


def plot_reconstructions(folder: Path, banner: str) -> Figure:
    """Fig. 3A: fields before and after the autoencoder, and its two losses by epoch.

    folder: the encoder's.
    """
    style.use()
    examples = np.load(folder / "reconstructions.npz")  # uint8 (N, H, W, 3) each
    log = pd.read_csv(folder / "log.csv")
    n = min(5, len(examples["before"]))  # as many as have room
    fig = plt.figure(figsize=style.size(style.PAGE, 0.38), layout="constrained")
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
    """Fig. 4: a metric against each hyperparameter; a cross marks the best trial."""
    style.use()
    chosen = best(trials)
    fig, axes = plt.subplots(4, 4, figsize=style.size(style.PAGE, 0.85), sharey=True)
    for ax, (name, span) in zip(axes.flat, SPACE.items(), strict=True):
        ax.scatter(trials[name], 100 * trials[metric], s=8, color="0.6", linewidths=0)
        # the first trial
        ax.axvline(trials[name].iloc[0], color="0.6", linestyle=":", linewidth=0.8)
        cross = {"s": 40, "marker": "x", "color": style.HERE_COLOUR, "zorder": 3}
        ax.scatter(chosen[name], 100 * chosen[metric], **cross)
        ax.set_xlabel(name)
        if span.log:
            ax.set_xscale("log")
        else:
            ax.xaxis.set_major_locator(MaxNLocator(3))
    for ax in axes[:, 0]:
        ax.set_ylabel(f"{metric} (%)")
    key = "cross: best trial; dotted: first trial, this run's own settings"
    fig.suptitle(f"{len(trials)} trials; {key}. {banner}", **TITLE)
    return fig
