"""Figures of training: reconstructions (Fig. 3A), the heads' losses (Fig. 3B), the search (Fig. 4)."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from openurine_lib import style
from openurine_lib.training.trials import SPACE, best

PARTS = {"box": "CIoU (Eq. 4)", "cls": "classification (Eq. 7)", "dfl": "DFL (Eq. 5)"}


def reconstructions(folder: Path, face: str) -> Figure:
    """Fields before and after the autoencoder, and its two losses by epoch; ``folder`` is the encoder's."""
    style.use()
    examples, log = np.load(folder / "reconstructions.npz"), pd.read_csv(folder / "log.csv")
    n = min(5, len(examples["before"]))
    fig = plt.figure(figsize=(style.PAGE, style.PAGE * 0.38), layout="constrained")
    left, right = fig.subfigures(1, 2, width_ratios=[2.4, 1])  # type: ignore[misc]
    axes = left.subplots(2, n, squeeze=False)
    for row, (key, name) in enumerate((("before", "field"), ("after", "reconstruction"))):
        for ax, image in zip(axes[row], examples[key], strict=False):
            ax.imshow(image)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        axes[row, 0].set_ylabel(name)
    ax = right.subplots()
    ax.plot(log.epoch, log.l1, marker="o", label="L1")
    ax.plot(log.epoch, log.ssim, marker="s", label="1 − SSIM")
    ax.set(xlabel="epoch", ylabel="reconstruction loss", ylim=(0, None))
    ax.legend()
    fig.suptitle(face, fontsize=6, color="0.35")
    return fig


def losses(log: pd.DataFrame, face: str) -> Figure:
    """The loss by epoch, from a training's log.csv: for six heads a panel a part and a line a head (times lambda)."""
    style.use()
    heads = [name for name in style.HEAD_COLOURS if f"{name}/box" in log]
    if not heads:
        fig, ax = plt.subplots()
        for column in log.columns.drop(["epoch", "lr"], errors="ignore"):
            ax.plot(log.epoch, log[column], marker=".", label=column)
        ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
        ax.legend()
    else:
        fig, axes = plt.subplots(1, 3, figsize=(style.PAGE, style.PAGE * 0.3))
        for ax, (part, title) in zip(axes, PARTS.items(), strict=True):
            for name in heads:
                ax.plot(
                    log.epoch,
                    log[f"{name}/{part}"],
                    color=style.HEAD_COLOURS[name],
                    marker=".",
                    label=name,
                )
            ax.set(title=title, xlabel="epoch", ylim=(0, None))
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_ylabel("weighted loss")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    fig.suptitle(face, fontsize=6, color="0.35")
    return fig


def search_scatter(trials: pd.DataFrame, metric: str, face: str) -> Figure:
    """One panel a hyperparameter against a metric; a cross marks the best trial, a dotted line the first."""
    style.use()
    chosen, first = best(trials), trials.iloc[0]
    fig, axes = plt.subplots(4, 4, figsize=(style.PAGE, style.PAGE * 0.85), sharey=True)
    for ax, (name, (_, _, log)) in zip(axes.flat, SPACE.items(), strict=True):
        ax.scatter(trials[name], 100 * trials[metric], s=8, color="0.6", linewidths=0)
        ax.axvline(first[name], color="0.6", linestyle=":", linewidth=0.8)
        ax.scatter(
            chosen[name], 100 * chosen[metric], s=40, marker="x", color=style.HERE_COLOUR, zorder=3
        )
        ax.set_xlabel(name)
        if log:
            ax.set_xscale("log")
        else:
            ax.xaxis.set_major_locator(MaxNLocator(3))
    for ax in axes[:, 0]:
        ax.set_ylabel(f"{metric} (%)")
    fig.suptitle(
        f"{len(trials)} trials; cross: best trial; dotted: first trial, this run's own settings. {face}",
        fontsize=6,
        color="0.35",
    )
    return fig
