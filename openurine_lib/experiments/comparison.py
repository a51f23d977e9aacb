"""Tables 4, 5 and 6 from the metrics that the runs left: a row a method, with what was really run.

Metrics are in percent, under the names of the published tables, so that ``compare.beside`` sets the two together.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from openurine_lib import published, style
from openurine_lib.evaluation.metrics import over_folds, summary
from openurine_lib.experiments.formatting import SPREAD
from openurine_lib.experiments.methods import Method, methods, plan, predict_key
from openurine_lib.training import coco_weights

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run

METRICS = published.METRICS
TITLES = dict(
    zip(METRICS, ["Precision (%)", "Recall (%)", "mAP50 (%)", "mAP50-95 (%)"], strict=True)
)
FULL = "Full (all six heads)"  # Table 5's row that the others are set against


def table(run: Run, n: int) -> pd.DataFrame:
    """Table 4, 5 or 6 of this run: a row for each method that answers a published row, in the paper's order.

    Columns: row (the published label), method, network, epochs, nominal and effective input size (pixels), folds (how
    many were run), the four metrics as mean and standard deviation over those folds (percent; NaN if there are none,
    and the deviation also if there is one), fidelity, doi, note (what to know of the number), reason (why there is
    none).
    """
    order = {row: i for i, row in enumerate(published.table(n)["row"])}
    answering = sorted(
        (m for m in methods().values() if n in m.answers), key=lambda m: order[m.answers[n]]
    )
    lines = [_line(run, m, n) for m in answering]
    return pd.DataFrame(lines).astype({"epochs": "Int64", "nominal": "Int64", "effective": "Int64"})


def fold_summaries(run: Run, m: Method) -> list[dict[str, float]]:
    """Precision, recall, mAP50, mAP50-95 (0..1) of each of the profile's folds that has a metrics.csv."""
    files = [run.predict_dir(m, fold) / "metrics.csv" for fold in run.profile.folds]
    return [summary(pd.read_csv(file)) for file in files if file.exists()]


def same_run_as(run: Run, m: Method, n: int) -> str | None:
    """The row whose stored predictions a row of Table n shares, if another row was there first.

    The profile's smaller networks make rows coincide; Table 4's nano and Table 6's 960 are one by design.
    """
    first = plan(run.profile).predict[predict_key(m, run.profile)]
    if first.id == m.id:
        return None
    tables = [n] if n in first.answers else list(first.answers)
    return (
        first.answers[tables[0]]
        if tables == [n]
        else f"{first.answers[tables[0]]} (Table {tables[0]})"
    )


def _line(run: Run, m: Method, n: int) -> dict[str, Any]:
    """One row of ``table``."""
    p = run.profile
    summaries = fold_summaries(run, m) if m.built else []
    mean, std = over_folds(summaries)
    metrics = {name: 100 * mean[name] for name in METRICS} | {
        f"{name}_std": 100 * std[name] for name in METRICS
    }
    what = {
        "network": p.arch(m),
        "epochs": p.epochs_of(m),
        "nominal": m.imgsz,
        "effective": p.pixels(m.imgsz),
    }
    smaller, notes = m.built and p.arch(m) != m.arch, []
    if smaller:
        notes.append(f"{p.arch(m)} stands for {m.arch}")
    if m.built and (same := same_run_as(run, m, n)):
        notes.append(f"same run as {same}")
    if m.without_head and m.without_head not in run.dataset.taxonomy.heads:
        notes.append(f"this data set has no class in the head {m.without_head}: nothing is removed")
    if origin := _origin(run, m):
        notes.append(
            f"COCO-pretrained ({origin['file']}, {origin['tensors']} of {origin['of']} tensors)"
        )
    if 0 < len(summaries) < len(p.folds):
        notes.append(f"{len(summaries)} of {len(p.folds)} folds")
    reason = "not yet built" if not m.built else "not run" if not summaries else ""
    return {
        "row": m.answers[n],
        "method": m.id,
        **(what if m.built else dict.fromkeys(what)),
        "folds": len(summaries),
        **metrics,
        "fidelity": "substitute" if smaller else m.fidelity,
        "doi": m.doi,
        "note": "; ".join([*notes, *([m.why] if m.why else [])]),
        "reason": reason,
    }


def _origin(run: Run, m: Method) -> dict[str, Any]:
    """The pretrained weights that a row's training started from, of the first fold that says; empty if none."""
    files = (
        [run.train_dir(m, fold) / coco_weights.FILE for fold in run.profile.folds]
        if m.built
        else []
    )
    return next(
        (json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()), {}
    )


def drops(table5: pd.DataFrame) -> pd.DataFrame:
    """How much each metric falls when a head is removed: full minus the row, in percentage points (Table 5's text).

    Works on the published table and on ``table(run, 5)``; the full row itself is left out, and so are
    deviations and intervals (of which ``spread`` makes those of the drops).
    """
    full = table5.loc[table5["row"] == FULL, METRICS].iloc[0]
    beside = [f"{metric}{end}" for metric in METRICS for end in SPREAD]
    rest = (
        table5[table5["row"] != FULL].drop(columns=beside, errors="ignore").reset_index(drop=True)
    )
    return rest.assign(**{metric: full[metric] - rest[metric] for metric in METRICS})


def plot_sizes(paper: pd.DataFrame, here: pd.DataFrame, face: str) -> Figure:
    """Table 6 as curves: each metric (percent) against the nominal input size, the paper's and this run's.

    Below a nominal size stands the size in pixels that was really used here, where the profile scales it. Bars: the
    paper's deviation over folds; here the 95 % interval, if the table has one.
    """
    sizes = here["nominal"].astype(int)
    labels = [f"{n}\n({e})" for n, e in zip(sizes, here["effective"], strict=True)]
    place = {size: i for i, size in enumerate(sizes)}  # evenly spaced, as the table's rows
    fig, axes = plt.subplots(
        1, len(METRICS), figsize=style.size(style.PAGE, 0.33), sharex=True, sharey=True
    )
    for ax, metric in zip(axes, METRICS, strict=True):
        for frame, x, colour, label in (
            (paper, paper["row"].astype(int), style.PAPER_COLOUR, "paper"),
            (here, sizes, style.HERE_COLOUR, "here"),
        ):
            spread = frame[f"{metric}_std"].fillna(0)
            if f"{metric}_low" in frame:  # the interval, which one fold has too
                spread = (
                    (frame[[f"{metric}_low", f"{metric}_high"]].sub(frame[metric], axis=0))
                    .abs()
                    .fillna(0)
                    .T
                )
            ax.errorbar(
                x.map(place), frame[metric], spread, fmt="o-", color=colour, capsize=2, label=label
            )
        ax.set(title=TITLES[metric], ylim=(0, 100), xticks=range(len(sizes)))
        ax.set_xticklabels(labels, fontsize=5)
    axes[0].legend()
    fig.supxlabel(f"nominal input size, pixels (used here)\n{face}", fontsize=6)
    return fig


def plot_scatter(both: pd.DataFrame, face: str, metric: str = "map50") -> Figure:
    """A metric here against the paper's, a dot a row of ``compare.beside``; the line is equality."""
    done = both.dropna(subset=[f"{metric}_here"])
    fig, ax = plt.subplots(figsize=style.size(style.COLUMN, 0.9))
    ax.plot([0, 100], [0, 100], color=style.PAPER_COLOUR, linewidth=0.6)
    ours = done["row"].str.startswith("Our method")
    for part, marker, face_of, label in (
        (done[~ours], "o", "white", "other methods"),
        (done[ours], "D", style.HERE_COLOUR, "the paper's method"),
    ):
        at = part[f"{metric}_paper"], part[f"{metric}_here"]
        ax.plot(
            *at,
            marker,
            color=style.HERE_COLOUR,
            markerfacecolor=face_of,
            markeredgewidth=0.7,
            label=label,
        )
    ax.set(
        xlim=(0, 100),
        ylim=(0, 100),
        xlabel=f"{TITLES[metric]}, paper",
        ylabel=f"{TITLES[metric]}, here",
    )
    ax.set_title(face, fontsize=5)
    ax.legend()
    return fig


def missing(both: pd.DataFrame) -> str:
    """One sentence on the rows of ``compare.beside`` that have no number here, by reason."""
    counts = both.loc[both["reason"] != "", "reason"].value_counts()
    return (
        "; ".join(f"{reason}: {n} rows" for reason, n in counts.items()) or "every row has been run"
    )


def shown(both: pd.DataFrame) -> pd.DataFrame:
    """The columns of ``compare.beside`` that fit a page: mAP50 and mAP50-95, what was run, how faithful, notes."""
    columns = ["row", "network", "epochs", "nominal", "effective", "folds"]
    parts = ("paper", "paper_std", "here", "here_std", "here_low", "here_high", "difference")
    metrics = [f"{m}_{part}" for m in ("map50", "map50_95") for part in parts]
    return both[[*columns, *(m for m in metrics if m in both), "fidelity", "note", "doi", "reason"]]
