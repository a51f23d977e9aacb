"""What a field costs: milliseconds on the device at hand of every trained row, beside its accuracy.

All detectors are loaded, and take turns over the same few fields (A B C, A B C, ...). What else the
machine does then falls on all rows alike: rows can be compared even where the milliseconds
themselves cannot be trusted. A time is that of the whole prediction: resizing, every slice,
merging. Reading the file and loading the network are not in it, nor is each detector's first field.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox
from tqdm.auto import tqdm

from openurine_lib import style
from openurine_lib.data.images import read_rgb
from openurine_lib.experiments import made_from
from openurine_lib.experiments.comparison import TITLES
from openurine_lib.experiments.families import COLOURS, family
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
# how a field is seen
MARKERS = {"whole": "o", "sliced": "s", "at-once": "^", "uncut": "P", "two-looks": "D"}
COLUMNS = ["row", "method", "network", "way", "ms", "ms_low", "ms_high", "against_ours"]


def measure(run: Run, n: int = 4, fields: int = FIELDS, rounds: int | None = None) -> pd.DataFrame:
    """Times of the rows of Table n whose weights of the profile's first fold are there.

    rounds: how often each row predicts each field; by default the profile says it.

    Columns: row, method, network, way (``Method.way``), ms (of a field, median over fields and
    rounds), ms_low and ms_high (lowest and highest of the rounds' medians), against_ours (ms as a
    multiple of the paper's method's; NaN without it). Rows that are one run are timed once.
    """
    rounds = rounds or run.profile.timing_rounds
    fold = run.profile.folds[0]
    rows = [m for m in rows_of_table(n) if _has_weights(run, m, fold)]
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


def _has_weights(run: Run, m: Method, fold: int) -> bool:
    """Whether there are weights to time, and they are those of the row's numbers."""
    there = (run.train_dir(m, fold) / "weights.pt").exists()
    return there and fold in made_from.folds_of_today(run, m)


def _detector(run: Run, m: Method, fold: int) -> Any:
    weights = run.train_dir(m, fold) / "weights.pt"
    px = run.profile.pixels(m.imgsz)
    return engine(m.engine).detector(weights, CONFIDENCE, processor.device(), px)


def _timed(run: Run, m: Method, detector: Any, image: np.ndarray) -> float:
    """Seconds of one prediction."""
    slice_px, overlap = run.slicing(m)
    start = time.perf_counter()
    predict_image(detector, image, slice_px, overlap, m.looking)
    # the boxes are a frame by then, so a GPU has finished
    return time.perf_counter() - start


def latency_table(run: Run, rows: list[Method], ms: dict[str, np.ndarray]) -> pd.DataFrame:
    """The table of ``measure`` from milliseconds (rounds, fields) by predict_key."""
    lines = []
    for m in rows:
        times = ms[predict_key(m, run.profile)]
        of_rounds = np.median(times, axis=1)  # (rounds,)
        what = [m.answers.get(4, m.id), m.id, run.profile.arch(m), m.way]
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


def sentences(costs: pd.DataFrame) -> Iterator[str]:
    """What ``table4_latency`` says: the paper's method, the quickest row, and the front."""
    known = costs.dropna(subset=["ms", "map50"])
    if known.empty:
        yield "No weights of a row are here, so none was timed."
        return
    quick = known.loc[known["ms"].idxmin()]
    mine = known[known["method"] == OURS]
    if len(mine):
        yield (
            f"A field takes the paper's method {mine['ms'].iloc[0] / 1000:.2f} seconds here. The"
            f" quickest row, {quick['row']}, needs {quick['against_ours']:.0%} of that."
        )
    front = known[pareto_front(known["ms"], known["map50"])]
    yield (
        f"{front['method'].nunique()} of {len(known)} rows are on the front, from {quick['row']}"
        f" (the quickest) to {front.loc[front['map50'].idxmax(), 'row']} (the most accurate)."
    )


def plot_latency_scatter(costs: pd.DataFrame, banner: str, metric: str = "map50") -> Figure:
    """Accuracy (percent) against milliseconds a field (logarithmic), with the Pareto front.

    Colours are the networks' families; the paper's method is large and bold. costs: [row, method,
    network, way, ms, <metric>]. Rows with the same numbers are one point, with the name of the
    first.
    """
    data = costs.dropna(subset=["ms", metric])
    same = data.groupby(["ms", metric], sort=False)
    points = same.first().reset_index().assign(others=same.size().to_numpy() - 1)
    fig, ax = plt.subplots(figsize=style.size(style.PAGE, 0.7))
    ax.set(xscale="log", xlabel="milliseconds a field", ylabel=TITLES[metric])
    ax.set_title(banner, fontsize=5)
    if points.empty:  # axes without a dot would look like a mistake
        ax.text(0.5, 0.5, next(sentences(costs)), transform=ax.transAxes, ha="center", color="0.35")
        ax.set(xscale="linear", xticks=[], yticks=[])
        return fig
    front = points[pareto_front(points["ms"], points[metric])].sort_values("ms")
    look: dict[str, Any] = {"color": "0.6", "linewidth": 1, "linestyle": "--", "zorder": 1}
    # post: a gain holds until the next point
    ax.step(front["ms"], front[metric], where="post", label="Pareto front", **look)
    ours = points["row"].str.startswith("Our method")
    colours = points["network"].map(family).map(COLOURS).mask(ours, style.HERE_COLOUR)
    for way, marker in MARKERS.items():
        for part, size in ((points[~ours], 5.0), (points[ours], 8.0)):
            for i, point in part[part["way"] == way].iterrows():
                dot: dict[str, Any] = {"color": colours[i], "markersize": size}
                ax.plot(point["ms"], point[metric], marker, markeredgecolor="white", **dot)
    ax.margins(x=0.12, y=0.12)
    if points[metric].nunique() == 1:
        middle = points[metric].iloc[0]
        ax.set_ylim(middle - 1, middle + 1)  # percentage points: all rows are alike
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    _key(ax, points[~ours], ours.any())
    _names(ax, points, ours, metric)
    return fig


def _key(ax: Axes, others: pd.DataFrame, with_ours: bool) -> None:
    """The legend: the front, the paper's method, the families that are there, and the ways."""
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 5}
    handles: list[Any] = list(ax.get_legend_handles_labels()[0])
    if with_ours:
        ours = dot | {"markersize": 8, "color": style.HERE_COLOUR}
        handles.append(Line2D([], [], label="the paper's method", **ours))
    there = set(others["network"].map(family))
    for name in (name for name in COLOURS if name in there):
        handles.append(Line2D([], [], color=COLOURS[name], label=name, **dot))
    hollow = dot | {"color": "0.3", "markerfacecolor": "white"}
    for way, marker in MARKERS.items():
        handles.append(Line2D([], [], label=f"{way} field", **hollow | {"marker": marker}))
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))


def _names(ax: Axes, points: pd.DataFrame, ours: pd.Series, metric: str) -> None:
    """Each point's name at the first free place around it, so that no name covers another."""
    twice = points["row"].duplicated(keep=False)  # one published row may have two answers
    short = points["network"].str.split("_").str[0]
    names = points["row"].where(~twice, points["row"] + ", " + short)
    names += points["others"].map(lambda others: f" (+{others})" if others else "")
    figure = ax.get_figure(root=True)
    assert figure is not None  # it is the axes' own
    figure.canvas.draw()  # lays the axes out
    figure.set_layout_engine("none")
    dots = ax.transData.transform(points[["ms", metric]].to_numpy(dtype=float))  # (N, 2) pixels
    point = figure.dpi / 72  # in pixels
    taken = [Bbox.from_bounds(x - 4 * point, y - 4 * point, 8 * point, 8 * point) for x, y in dots]
    lead: dict[str, Any] = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.4, "shrinkA": 0}
    for i in np.argsort(~ours, kind="stable"):  # the paper's method has the first choice
        text = ax.annotate(
            names[i],
            (points["ms"][i], points[metric][i]),
            textcoords="offset points",
            xytext=(0, 0),
            ha="center",
            va="center",
            fontsize=5,
            arrowprops=lead,
            path_effects=style.HALO,
            weight="bold" if ours[i] else "normal",
            color=style.HERE_COLOUR if ours[i] else "0.15",
        )
        size = Text.get_window_extent(text)  # of the words alone, without the line
        left, low = dots[i][0] - size.width / 2, dots[i][1] - size.height / 2
        around = Bbox.from_bounds(left, low, size.width, size.height)
        for right, up in _places(size.width, size.height, 5 * point):
            place = around.translated(right, up)
            inside = ax.bbox.count_contains([place.min, place.max]) == 2
            if inside and not place.count_overlaps(taken):
                break
        taken.append(place.padded(3 * point, 0))  # a gap between words
        text.set_position((right / point, up / point))
        assert text.arrow_patch is not None  # arrowprops makes one
        text.arrow_patch.set_visible(up != 0)  # a name beside its point needs no line


def _places(width: float, height: float, gap: float) -> Iterator[tuple[float, float]]:
    """Where the middle of a name may stand around its point: near places before far ones."""
    beside = width / 2 + gap
    yield beside, 0
    yield -beside, 0
    for floor in range(60):
        up = (floor + 0.5) * 1.1 * height + gap
        for right in (0, beside, -beside):
            yield right, up
            yield right, -up
