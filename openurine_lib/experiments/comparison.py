"""Tables 4, 5 and 6 from the metrics that the runs left: a row a method, with what was really run.

Metrics are in percent, under the names of the published tables, so that ``against_paper.beside``
sets the two together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from openurine_lib import published, style
from openurine_lib.evaluation.metrics import CONVENTION, as_ultralytics, over_folds, summary
from openurine_lib.experiments import carried, made_from
from openurine_lib.experiments.families import COLOURS, family
from openurine_lib.experiments.fidelity import fidelity
from openurine_lib.experiments.formatting import SPREAD
from openurine_lib.experiments.methods import Method, plan, predict_key, rows_of_table
from openurine_lib.experiments.run import Run, first_record
from openurine_lib.published import METRICS
from openurine_lib.training import coco_weights

TITLES = dict(
    zip(METRICS, ["Precision (%)", "Recall (%)", "mAP50 (%)", "mAP50-95 (%)"], strict=True)
)
FULL = "Full (all six heads)"  # Table 5's row that the others are set against
OUTDATED = "its stored result is of other code, settings, weights or data: run it again"


def reproduced_table(run: Run, n: int) -> pd.DataFrame:
    """Table 4, 5 or 6 of this run: the methods that answer a published row, in the paper's order.

    Columns: row (the published label), method, network, epochs, nominal and effective input size
    (pixels), folds (how many were run), the four metrics as mean and standard deviation over those
    folds (percent; NaN where there is none), precision_ultralytics and undetected (the precision
    as ultralytics has it, which counts classes without a detection, and how many these are, means
    over folds), fidelity, doi, note (what to know of the number), reason (why there is none).
    """
    order = {row: i for i, row in enumerate(published.table(n)["row"])}
    # a row that the paper does not have comes last
    rows = sorted(rows_of_table(n), key=lambda m: order.get(m.answers[n], len(order)))
    table = pd.DataFrame([_line(run, m, n) for m in rows])
    # integers that may be missing
    return table.astype({"epochs": "Int64", "nominal": "Int64", "effective": "Int64"})


def _line(run: Run, m: Method, n: int) -> dict[str, Any]:
    p = run.profile
    done = made_from.folds_of_today(run, m)
    scores = [pd.read_csv(run.predict_dir(m, fold) / "metrics.csv") for fold in done]
    summaries = [summary(of_fold) for of_fold in scores]
    mean, std = over_folds(summaries)
    columns = [CONVENTION, "undetected"]
    others = pd.DataFrame([as_ultralytics(of_fold) for of_fold in scores], columns=columns).mean()
    return {
        "row": m.answers[n],
        "method": m.id,
        "network": p.arch(m),
        "epochs": p.epochs_of(m),
        "nominal": m.imgsz,
        "effective": p.pixels(m.imgsz),
        "folds": len(summaries),
        **{name: 100 * mean[name] for name in METRICS},
        **{f"{name}_std": 100 * std[name] for name in METRICS},
        CONVENTION: 100 * others[CONVENTION],
        "undetected": others["undetected"],
        "fidelity": fidelity(m, p),
        "doi": m.doi,
        "note": "; ".join(_notes(run, m, n, len(summaries))),
        "reason": "" if summaries else _reason(run, m),
    }


def _reason(run: Run, m: Method) -> str:
    """Why a row has no number."""
    stored = any((run.predict_dir(m, fold) / "metrics.csv").exists() for fold in run.profile.folds)
    return OUTDATED if stored else "not run"


def _notes(run: Run, m: Method, n: int, folds: int) -> list[str]:
    p = run.profile
    notes = []
    if p.arch(m) != m.arch:
        notes.append(f"{p.arch(m)} stands for {m.arch}")
    if p.arch(m) in p.path_only:
        notes.append("path only: in so few passes it learns to find nothing")
    if same := same_run_as(run, m, n):
        notes.append(f"same run as {same}")
    if m.without_head and m.without_head not in run.dataset.taxonomy.heads:
        notes.append(f"this data set has no class in the head {m.without_head}: nothing is removed")
    # the pretrained weights that the training started from, of the first fold that says so
    origin = first_record(run.train_dir(m, fold) / coco_weights.FILE for fold in p.folds)
    if origin:
        tensors = f"{origin['tensors']} of {origin['of']} tensors"
        notes.append(f"pretrained ({origin['file']}, {tensors})")
    elif m.starts_from and folds:
        notes.append(f"from random weights, where its authors start from {m.starts_from}")
    places = [run.train_dir(m, fold) for fold in p.folds]
    places += [run.predict_dir(m, fold) for fold in p.folds]
    if earlier := first_record(place / carried.RECORD for place in places):
        notes.append(carried.in_short(earlier))
    if 0 < folds < len(p.folds):
        notes.append(f"{folds} of {len(p.folds)} folds")
    return [*notes, m.why] if m.why else notes


def same_run_as(run: Run, m: Method, n: int) -> str | None:
    """The row whose stored predictions a row of Table n shares, if another row was there first.

    The profile's smaller networks make rows coincide; Table 4's nano and Table 6's 960 are one by
    design.
    """
    first = plan(run.profile).predict[predict_key(m, run.profile)]
    if first.id == m.id:
        return None
    if n in first.answers:
        return first.answers[n]
    other, row = next(iter(first.answers.items()))  # that row stands in another table
    return f"{row} (Table {other})"


def table5_drops(table5: pd.DataFrame) -> pd.DataFrame:
    """How much each metric falls when a head is removed (percentage points; Table 5's text).

    table5: the published table, or that of this run. The full row is left out, and so are
    deviations and intervals (``intervals.Resamples`` makes those of the drops).
    """
    full = table5.loc[table5["row"] == FULL, METRICS].iloc[0]
    spread = [f"{metric}{end}" for metric in METRICS for end in SPREAD]
    rest = table5[table5["row"] != FULL].drop(columns=spread, errors="ignore")
    drops = {metric: full[metric] - rest[metric] for metric in METRICS}
    return rest.assign(**drops).reset_index(drop=True)


def plot_table6_sizes(paper: pd.DataFrame, here: pd.DataFrame, banner: str) -> Figure:
    """Table 6 as curves: each metric (percent) against the nominal input size, paper and run.

    Below a nominal size stands the size in pixels that was really used here, where the profile
    scales it. Bars: the paper's deviation over folds; here the 95 % interval, if there is one.
    """
    sizes = here["nominal"].astype(int)
    labels = [f"{n}\n({e})" for n, e in zip(sizes, here["effective"], strict=True)]
    place = {size: i for i, size in enumerate(sizes)}  # evenly spaced, as the table's rows
    figsize = style.size(style.PAGE, 0.33)
    fig, axes = plt.subplots(1, len(METRICS), figsize=figsize, sharex=True, sharey=True)
    published_look = {"color": style.PAPER_COLOUR, "markerfacecolor": "white", "linestyle": "--"}
    curves: dict[str, tuple[pd.DataFrame, pd.Series, dict[str, Any]]] = {
        "paper": (paper, paper["row"].astype(int), published_look),
        "here": (here, sizes, {"color": style.HERE_COLOUR}),
    }
    for ax, metric in zip(axes, METRICS, strict=True):
        for label, (frame, nominal, colours) in curves.items():
            bars = frame[f"{metric}_std"].fillna(0)
            if f"{metric}_low" in frame:  # the interval, which one fold has too
                ends = frame[[f"{metric}_low", f"{metric}_high"]]
                # errorbar takes lengths, not ends: (2, rows)
                bars = ends.sub(frame[metric], axis=0).abs().fillna(0).T  # (2, rows)
            look = {"marker": "o", "linewidth": 1, "capsize": 2, "label": label, **colours}
            ax.errorbar(nominal.map(place), frame[metric], bars, **look)
        ax.set(title=TITLES[metric], ylim=(0, 100), xticks=range(len(sizes)))
        ax.set_xticklabels(labels, fontsize=5)
    axes[0].legend()
    fig.supxlabel(f"nominal input size, pixels (used here)\n{banner}", fontsize=6)
    return fig


def plot_table4_scatter(both: pd.DataFrame, banner: str, metric: str = "map50") -> Figure:
    """A metric here against the paper's, a dot a row of ``beside``; the line is equality.

    Colours are the networks' families; the paper's method stands out.
    """
    done = both.dropna(subset=[f"{metric}_here"])
    ours = done["row"].str.startswith("Our method")
    fig, ax = plt.subplots(figsize=style.size(style.COLUMN, 0.9))
    ax.plot([0, 100], [0, 100], color="0.6", linewidth=0.6, linestyle="--")
    families = done["network"].map(family).mask(ours, "the paper's method")
    looks: dict[str, dict[str, Any]] = {
        name: {"marker": "o", "s": 12, "color": ink} for name, ink in COLOURS.items()
    }
    looks["the paper's method"] = {"marker": "D", "s": 24, "color": style.HERE_COLOUR}
    for name, look in looks.items():
        part = done[families == name]
        places = (part[f"{metric}_paper"], part[f"{metric}_here"])
        if len(part):
            ax.scatter(*places, label=name, edgecolor="white", linewidth=0.4, **look)
    ax.set(xlim=(0, 100), ylim=(0, 100))
    ax.set(xlabel=f"{TITLES[metric]}, paper", ylabel=f"{TITLES[metric]}, here")
    ax.set_title(banner, fontsize=5)
    if len(done):
        ax.legend()
    return fig


def plot_parts(steps: pd.DataFrame, banner: str) -> Figure:
    """mAP50 of the rows of ``beside`` as bars with 95 % intervals; diamonds: the paper's values.

    The paper's method stands out. A row that was not run says why.
    """
    size = style.size(0.75 * style.PAGE, 0.08 * max(len(steps), 3) + 0.16)
    fig, ax = plt.subplots(figsize=size)
    ours = steps["row"].str.startswith("Our method")
    colours = [style.HERE_COLOUR if x else style.SERIES["teal"] for x in ours]
    places = np.arange(len(steps))
    here = steps["map50_here"]
    ends = steps.reindex(columns=["map50_here_low", "map50_here_high"])
    to_ends = ends.sub(here, axis=0).abs().fillna(0).to_numpy().T  # (2, rows): lengths, not ends
    whiskers: dict[str, Any] = {"xerr": to_ends, "capsize": 2.5, "error_kw": {"linewidth": 1}}
    ax.barh(places, here.fillna(0), height=0.55, color=colours, **whiskers)
    look: dict[str, Any] = {"fmt": "D", "color": style.PAPER_COLOUR, "markerfacecolor": "white"}
    bars = steps.get("map50_paper_std")
    below = places + 0.4  # the bar
    ax.errorbar(steps["map50_paper"], below, xerr=bars, label="paper", capsize=2, **look)
    for y, (value, reason) in enumerate(zip(here, steps["reason"], strict=True)):
        inside: dict[str, Any] = {"va": "center", "fontsize": 6, "weight": "bold"}
        if pd.isna(value):
            ax.text(1, y, reason, va="center", fontsize=6)
        elif value > 12:  # room for the number
            ax.text(1, y, f"{value:.1f}", color="white", **inside)
    ax.set(xlim=(0, 100), xlabel=f"{TITLES['map50']}, bars: here; lines: 95 % intervals")
    ax.set_yticks(places, steps["row"])
    ax.invert_yaxis()  # the first row at the top
    ax.legend(loc="lower right")
    fig.suptitle(banner, fontsize=5)
    return fig


def missing_rows(both: pd.DataFrame) -> str:
    """One sentence on the rows of ``beside`` that have no number here, by reason."""
    counts = both.loc[both["reason"] != "", "reason"].value_counts()
    return "; ".join(f"{why}: {n} rows" for why, n in counts.items()) or "every row has been run"


def page_columns(both: pd.DataFrame) -> pd.DataFrame:
    """The columns of ``beside`` that fit a page: two metrics, what was run, how faithful, notes."""
    parts = ("paper", "paper_std", "here", "here_std", "here_low", "here_high", "difference")
    metrics = [f"{m}_{part}" for m in ("map50", "map50_95") for part in parts]
    columns = ["row", "network", "epochs", "nominal", "effective", "folds"]
    columns += [m for m in metrics if m in both]
    return both[[*columns, "fidelity", "note", "doi", "reason"]]
