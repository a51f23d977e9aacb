"""What a field costs: milliseconds a field of every trained row, on the device at hand, beside its accuracy.

Measured as one round after another (A B C, A B C, ...) over the same few fields, with all detectors loaded: what else
the machine does then falls on all rows alike, so that rows can be compared where the milliseconds themselves cannot be
trusted. While whole folds are predicted, jobs run side by side, and times of different rows are of different moments.
A time is that of the whole prediction: resizing, every slice, merging. Reading the file and loading the network are not
in it; each detector sees one field before, uncounted.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from tqdm.auto import tqdm

from openurine_lib import style
from openurine_lib.data.images import read_rgb
from openurine_lib.experiments.methods import OURS, Method, method, methods, predict_key
from openurine_lib.inference import CONFIDENCE, predict_image
from openurine_lib.speed import processor
from openurine_lib.training.engines import engine

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run

FIELDS, ROUNDS = 2, 3
COLUMNS = ["row", "method", "network", "way", "ms", "ms_low", "ms_high", "against_ours"]


def measure(
    run: Run, n: int = 4, fold: int | None = None, fields: int = FIELDS, rounds: int = ROUNDS
) -> pd.DataFrame:
    """Times of all rows of Table n whose weights are there (of ``fold``, or else the profile's first), in file order.

    Columns: row, method, network, way (sliced or whole), ms (median over fields and rounds, of a field), ms_low and
    ms_high (lowest and highest of the rounds' medians), against_ours (ms as a multiple of the paper's method's; NaN
    without it). Rows that are one run are timed once.
    """
    p, fold = run.profile, run.profile.folds[0] if fold is None else fold
    rows = [m for m in methods().values() if n in m.answers and m.built]
    rows = [m for m in rows if (run.train_dir(m, fold) / "weights.pt").exists()]
    images = [
        read_rgb(path) for path in run.dataset.test_images(fold, p.max_test_fields)["path"][:fields]
    ]
    one_of: dict[str, Method] = {}
    for m in rows:
        one_of.setdefault(predict_key(m, p), m)
    loaded = {key: _detector(run, m, fold) for key, m in one_of.items()}
    seconds = {key: np.zeros((rounds, len(images))) for key in loaded}
    with tqdm(
        total=len(loaded) * (rounds * len(images) + 1),
        desc="timing",
        unit="field",
        disable=not loaded,
    ) as bar:
        for r in range(-1, rounds):  # the first, on one field, is not counted
            for i, image in enumerate(images if r >= 0 else images[:1]):
                for key, detector in loaded.items():
                    seconds[key][max(r, 0), i] = _timed(run, one_of[key], detector, image)
                    bar.update()
    return table(run, rows, {key: 1000 * s for key, s in seconds.items()})


def table(run: Run, rows: list[Method], ms: dict[str, np.ndarray]) -> pd.DataFrame:
    """The lines of ``measure`` from milliseconds by predict_key, (rounds, fields) each."""
    median = {key: float(np.median(times)) for key, times in ms.items()}
    ours = median.get(predict_key(method(OURS), run.profile), float("nan"))
    lines = []
    for m in rows:
        key = predict_key(m, run.profile)
        of_rounds = np.median(ms[key], axis=1)
        way = "sliced" if m.sliced else "whole"
        what = [m.answers.get(4, m.id), m.id, run.profile.arch(m), way]
        numbers = [median[key], float(of_rounds.min()), float(of_rounds.max()), median[key] / ours]
        lines.append([*what, *numbers])
    return pd.DataFrame(lines, columns=COLUMNS)


def beside(table4: pd.DataFrame, times: pd.DataFrame, sized: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and cost of every row of Table 4 (``compare.beside``), with ``sizes.table``'s size of what was trained.

    Rows that were not timed stay, with a blank and a reason.
    """
    rows = table4[["row", "method", "map50_here", "reason"]].rename(columns={"map50_here": "map50"})
    out = rows.merge(times.drop(columns="row"), on="method", how="left")
    out = out.merge(sized[["method", "params_m", "gflops"]], on="method", how="left")
    reason = out["reason"].mask(out["ms"].isna() & out["reason"].eq(""), "no weights here to time")
    return out[[*COLUMNS, "params_m", "gflops", "map50"]].assign(reason=reason)


def machine() -> dict[str, Any]:
    """What the times depend on, for provenance: threads of torch, and how busy the machine was in the last minute."""
    import torch

    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load_of_the_last_minute": load,
    }


def on_front(cost: pd.Series, gain: pd.Series) -> np.ndarray:
    """Which points no other point beats in both: (N,) booleans. Of two equal points both are on the front."""
    c, g = cost.to_numpy(dtype=float), gain.to_numpy(dtype=float)
    no_worse = (c[None] <= c[:, None]) & (g[None] >= g[:, None])
    better = (c[None] < c[:, None]) | (g[None] > g[:, None])
    return ~(no_worse & better).any(axis=1)


def plot(both: pd.DataFrame, face: str, metric: str = "map50") -> Figure:
    """Accuracy (percent) against milliseconds a field (logarithmic), a point a run, the Pareto front as a line.

    both: [row, method, network, way, ms, <metric>]; rows with the same numbers are one point, named by the first.
    """
    data = both.dropna(subset=["ms", metric])
    same = data.groupby(["ms", metric], sort=False)
    points = same.first().reset_index().assign(others=same.size().to_numpy() - 1)
    fig, ax = plt.subplots(figsize=style.size(style.PAGE, 0.62))
    ax.set(
        xscale="log",
        xlabel="milliseconds a field",
        ylabel=f"{metric.replace('map', 'mAP').replace('_', '-')} (%)",
    )
    ax.set_title(face, fontsize=5)
    if points.empty:
        return fig
    front = points[on_front(points["ms"], points[metric])].sort_values("ms")
    ax.step(
        front["ms"],
        front[metric],
        where="post",
        color="0.75",
        linewidth=0.8,
        zorder=1,
        label="Pareto front",
    )
    ours = points[points["row"].str.startswith("Our method")]
    for way, marker, colour in (("whole", "o", "0.65"), ("sliced", "s", "0.4")):
        part = points[(points["way"] == way) & ~points.index.isin(ours.index)]
        ax.plot(part["ms"], part[metric], marker, color=colour, label=f"{way} field")
    ax.plot(ours["ms"], ours[metric], "D", color=style.HERE_COLOUR, label="the paper's method")
    ax.margins(x=0.12, y=0.12)
    for axis in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        axis(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    twice = points["row"].duplicated(keep=False)  # one published row may have two answers
    rows = points["row"].where(~twice, points["row"] + ", " + points["network"])
    names = [
        f"{row} (+{more})" if more else row
        for row, more in zip(rows, points["others"], strict=True)
    ]
    _label(fig, ax, points[["ms", metric]].to_numpy(), names)
    return fig


def _label(fig: Figure, ax: Any, points: np.ndarray, names: list[str]) -> None:
    """Writes each name at the nearest free place round its point, with a line to it; no two names overlap."""
    fig.canvas.draw()  # lays the axes out; from here on they stay
    fig.set_layout_engine("none")
    unit = fig.dpi / 72  # pixels a printer's point, in which all below is
    at = ax.transData.transform(points) / unit
    frame = np.asarray(ax.get_window_extent().extents) / unit
    dots = list(np.c_[at - 2.5, at + 2.5])
    taken: list[np.ndarray] = []
    angles = np.deg2rad([0, 180, 45, 135, 315, 225, 90, 270, 20, 160, 340, 200])
    directions = np.c_[np.cos(angles), np.sin(angles)]
    line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 0}
    halo = [patheffects.withStroke(linewidth=1.2, foreground="white")]
    for i in np.argsort(-points[:, 1], kind="stable"):
        place: dict[str, Any] = {"xy": points[i], "textcoords": "offset points"}
        text = ax.annotate(
            names[i],
            xytext=(0, 0),
            **place,
            fontsize=4.5,
            ha="center",
            va="center",
            path_effects=halo,
        )
        extent = np.asarray(text.get_window_extent().extents) / unit
        half = (extent[2:] - extent[:2]) / 2 + 0.8
        for radius in np.arange(3, 150, 2.0):
            offsets = directions * (radius + half * [1, 0.6])
            boxes = np.c_[at[i] + offsets - half, at[i] + offsets + half]
            free = [
                k
                for k, box in enumerate(boxes)
                if _within(box, frame) and not _meets(box, [*taken, *dots])
            ]
            if free:
                break
        k = free[0] if free else 0
        taken.append(boxes[k])
        text.set_position(offsets[k])
        if radius > 4:
            near = np.clip([0, 0], offsets[k] - half, offsets[k] + half)
            ax.annotate("", xytext=near, **place, arrowprops=line, zorder=1)


def _meets(box: np.ndarray, others: list[np.ndarray]) -> bool:
    return any((box[:2] < other[2:]).all() and (other[:2] < box[2:]).all() for other in others)


def _within(box: np.ndarray, frame: np.ndarray) -> bool:
    return bool((box[:2] >= frame[:2]).all() and (box[2:] <= frame[2:]).all())


def _detector(run: Run, m: Method, fold: int) -> Any:
    weights = run.train_dir(m, fold) / "weights.pt"
    return engine(m.engine).detector(
        weights, CONFIDENCE, processor.device(), run.profile.pixels(m.imgsz)
    )


def _timed(run: Run, m: Method, detector: Any, image: np.ndarray) -> float:
    sahi = run.profile.settings["sahi"]
    start = time.perf_counter()
    predict_image(detector, image, sahi["slice"] if m.sliced else None, sahi["overlap"])
    return time.perf_counter() - start
