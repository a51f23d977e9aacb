"""What a field costs: milliseconds on the device at hand of every trained row, beside its accuracy.

All detectors are loaded, and take turns over the same few fields (A B C, A B C, ...). What else the
machine does then falls on all rows alike: rows can be compared even where the milliseconds
themselves cannot be trusted. A time is that of the whole prediction: resizing, every slice,
merging. Reading the file and loading the network are not in it, nor is each detector's first field.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from adjustText import adjust_text
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from tqdm.auto import tqdm

from openurine_lib import style
from openurine_lib.data.images import read_rgb
from openurine_lib.experiments.methods import (
    OURS,
    Method,
    first_of_each,
    method,
    predict_key,
    rows_of_table,
)
from openurine_lib.experiments.run import Run
from openurine_lib.inference import CONFIDENCE, predict_image
from openurine_lib.speed import processor
from openurine_lib.training.engines import engine

FIELDS = 2
ROUNDS = 3
COLUMNS = ["row", "method", "network", "way", "ms", "ms_low", "ms_high", "against_ours"]


def measure(run: Run, n: int = 4, fields: int = FIELDS, rounds: int = ROUNDS) -> pd.DataFrame:
    """Times of the rows of Table n whose weights of the profile's first fold are there.

    Columns: row, method, network, way (sliced or whole), ms (of a field, median over fields and
    rounds), ms_low and ms_high (lowest and highest of the rounds' medians), against_ours (ms as a
    multiple of the paper's method's; NaN without it). Rows that are one run are timed once.
    """
    fold = run.profile.folds[0]
    rows = [m for m in rows_of_table(n) if (run.train_dir(m, fold) / "weights.pt").exists()]
    images = [read_rgb(path) for path in run.test_images(fold)["path"][:fields]]
    timed = first_of_each(predict_key, rows, run.profile)
    detectors = {key: _detector(run, m, fold) for key, m in timed.items()}
    for key, detector in detectors.items():
        _timed(run, timed[key], detector, images[0])  # the first field is not counted
    ms = {key: np.zeros((rounds, len(images))) for key in detectors}
    # fields outside, detectors inside: neighbours in time are rows to compare
    turns = [(r, i, key) for r in range(rounds) for i in range(len(images)) for key in detectors]
    for r, i, key in tqdm(turns, desc="timing", unit="field", disable=not turns):
        ms[key][r, i] = 1000 * _timed(run, timed[key], detectors[key], images[i])
    return latency_table(run, rows, ms)


def _detector(run: Run, m: Method, fold: int) -> Any:
    weights = run.train_dir(m, fold) / "weights.pt"
    px = run.profile.pixels(m.imgsz)
    return engine(m.engine).detector(weights, CONFIDENCE, processor.device(), px)


def _timed(run: Run, m: Method, detector: Any, image: np.ndarray) -> float:
    """Seconds of one prediction."""
    slice_px, overlap = run.slicing(m)
    start = time.perf_counter()
    predict_image(detector, image, slice_px, overlap)
    # the boxes are a frame by then, so a GPU has finished
    return time.perf_counter() - start


def latency_table(run: Run, rows: list[Method], ms: dict[str, np.ndarray]) -> pd.DataFrame:
    """The table of ``measure`` from milliseconds (rounds, fields) by predict_key."""
    lines = []
    for m in rows:
        times = ms[predict_key(m, run.profile)]
        of_rounds = np.median(times, axis=1)  # (rounds,)
        what = [
            m.answers.get(4, m.id),
            m.id,
            run.profile.arch(m),
            "sliced" if m.sliced else "whole",
        ]
        lines.append([*what, np.median(times), of_rounds.min(), of_rounds.max()])
    table = pd.DataFrame(lines, columns=COLUMNS[:-1])
    ours = ms.get(predict_key(method(OURS), run.profile), np.nan)
    return table.assign(against_ours=table["ms"] / np.median(ours))  # NaN where it was not timed


def table4_latency(both: pd.DataFrame, times: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and cost of every row of Table 4; a row that was not timed says why.

    both: of ``against_paper.beside``; times: of ``measure``; sizes: of ``sizes.table4_sizes``.
    """
    rows = both[["row", "method", "map50_here", "reason"]].rename(columns={"map50_here": "map50"})
    out = rows.merge(times.drop(columns="row"), on="method", how="left")
    out = out.merge(sizes[["method", "params_m", "gflops"]], on="method", how="left")
    untimed = out["ms"].isna() & out["reason"].eq("")
    reason = out["reason"].mask(untimed, "no weights here to time")
    return out[[*COLUMNS, "params_m", "gflops", "map50"]].assign(reason=reason)


def machine() -> dict[str, Any]:
    """What times depend on, for provenance: torch's threads, the cores, how busy they were."""
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    threads = torch.get_num_threads()
    return {"threads": threads, "cores": os.cpu_count(), "load_of_the_last_minute": load}


def pareto_front(cost: pd.Series, gain: pd.Series) -> np.ndarray:
    """Which points no other point beats in both: (N,) booleans; equal points both stay."""
    c = cost.to_numpy(dtype=float)
    g = gain.to_numpy(dtype=float)
    # (N, N): whether the point of the column is as good as that of the row, and in one thing better
    no_worse = (c[None] <= c[:, None]) & (g[None] >= g[:, None])
    better = (c[None] < c[:, None]) | (g[None] > g[:, None])
    return ~(no_worse & better).any(axis=1)  # nobody is better


def plot_latency_scatter(costs: pd.DataFrame, banner: str, metric: str = "map50") -> Figure:
    """Accuracy (percent) against milliseconds a field (logarithmic), with the Pareto front.

    costs: [row, method, network, way, ms, <metric>]. Rows with the same numbers are one point, with
    the name of the first.
    """
    data = costs.dropna(subset=["ms", metric])
    same = data.groupby(["ms", metric], sort=False)
    points = same.first().reset_index().assign(others=same.size().to_numpy() - 1)
    label = f"{metric.replace('map', 'mAP').replace('_', '-')} (%)"
    fig, ax = plt.subplots(figsize=style.size(style.PAGE, 0.62))
    ax.set(xscale="log", xlabel="milliseconds a field", ylabel=label)
    ax.set_title(banner, fontsize=5)
    if points.empty:
        return fig
    front = points[pareto_front(points["ms"], points[metric])].sort_values("ms")
    look: dict[str, Any] = {"color": "0.75", "linewidth": 0.8, "zorder": 1}
    # post: a gain holds until the next point
    ax.step(front["ms"], front[metric], where="post", label="Pareto front", **look)
    ours = points["row"].str.startswith("Our method")
    for part, marker, colour, name in (
        (points[~ours & points["way"].eq("whole")], "o", "0.65", "whole field"),
        (points[~ours & points["way"].eq("sliced")], "s", "0.4", "sliced field"),
        (points[ours], "D", style.HERE_COLOUR, "the paper's method"),
    ):
        ax.plot(part["ms"], part[metric], marker, color=colour, label=name)
    ax.margins(x=0.12, y=0.12)
    for set_formatter in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        set_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    twice = points["row"].duplicated(keep=False)  # one published row may have two answers
    names = points["row"].where(~twice, points["row"] + ", " + points["network"])
    more = points["others"].map(lambda others: f" (+{others})" if others else "")
    texts = [
        ax.text(x, y, name, fontsize=4.5)
        for x, y, name in zip(points["ms"], points[metric], names + more, strict=True)
    ]
    fig.canvas.draw()  # lays the axes out; from here on only the names move
    fig.set_layout_engine("none")
    arrow = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.4}
    adjust_text(texts, ax=ax, arrowprops=arrow, expand=(1.1, 1.4), iter_lim=300)
    return fig
