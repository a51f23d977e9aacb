"""Is a row of Table 4 really better or worse than the paper's method? mAP50 of both on the same fields, in pairs.

Two tests. The bootstrap over groups draws the patients or slides of each test fold again and scores both methods on the
same draw (``bootstrap``); with several folds, the differences are averaged. It says how far the choice of patients
matters; that a network trained again ends elsewhere it does not see, nor does any test on one training. With few groups
no difference is certain, however large: of 7 groups p is at least 0.016, before the correction. Wilcoxon's test
compares the folds' differences, where there are five folds or more (with five, its smallest p is 0.0625). Holm's
correction is over the comparisons that were made, each run counted once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm.auto import tqdm

from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.bootstrap import MIN_GROUPS, RESAMPLES
from openurine_lib.experiments.methods import OURS, Method, method, methods, predict_key
from openurine_lib.inference import read_predictions

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run

ALPHA = 0.05
FOLDS_FOR_WILCOXON = 5


def table(run: Run, n: int = 4, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Each row of Table n against the paper's method: a row for each method with stored predictions, in file order.

    Columns: row, method, folds and groups that both were scored on, difference (mAP50 of the row minus the paper's
    method's, percentage points, mean over folds), low and high (95 % bootstrap interval), p, p_holm, p_wilcoxon, note.
    Rows that are one run have the same numbers. Fewer than MIN_GROUPS groups in a fold: no interval and no p.
    """
    rows = [m for m in methods().values() if n in m.answers and m.built]
    ours, keys = method(OURS), {m.id: predict_key(m, run.profile) for m in rows}
    one_of: dict[str, Method] = {}
    for m in rows:
        if keys[m.id] != predict_key(ours, run.profile):
            one_of.setdefault(keys[m.id], m)
    stored = [m for m in one_of.values() if _common_folds(run, m, ours)]
    found = {
        keys[m.id]: line
        for m, line in zip(stored, _compared(run, stored, ours, resamples), strict=True)
    }
    adjusted = bootstrap.holm([line["p"] for line in found.values()])
    for line, p in zip(found.values(), adjusted, strict=True):
        line["p_holm"] = float(p)
    lines = [
        {"row": m.answers[n], "method": m.id, **found[keys[m.id]]}
        for m in rows
        if keys[m.id] in found
    ]
    columns = [
        "row",
        "method",
        "folds",
        "groups",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "p_wilcoxon",
        "note",
    ]
    return pd.DataFrame(lines, columns=columns)


def mark(table4: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Table 4 with a sentence in ``note`` for the rows that differ from the paper's method (p_holm below 0.05)."""
    sure = compared[compared["p_holm"] < ALPHA].set_index("method")
    said = {
        name: f"mAP50 here {line['difference']:+.1f} points against the paper's method (Holm p {line['p_holm']:.2g})"
        for name, line in sure.iterrows()
    }
    notes = [
        "; ".join(filter(None, [note, said.get(name)])) if name in said else note
        for name, note in zip(table4["method"], table4["note"], strict=True)
    ]
    return table4.assign(note=notes)


def of_differences(resampled: np.ndarray, folds: Sequence[float], groups: int) -> dict[str, Any]:
    """A line of the table from resampled differences (R,) and the folds' own, both as parts of 1."""
    difference = float(np.mean(folds))
    line: dict[str, Any] = {"folds": len(folds), "groups": groups, "difference": 100 * difference}
    if len(resampled):
        low, high = bootstrap.about(difference, resampled)
        p = bootstrap.p_value(difference, resampled, groups)
        line |= {"low": 100 * float(low), "high": 100 * float(high), "p": p, "note": ""}
    else:
        line |= dict.fromkeys(("low", "high", "p"), math.nan)
        line |= {"note": f"fewer than {MIN_GROUPS} groups in a fold: no test"}
    enough = len(folds) >= FOLDS_FOR_WILCOXON
    return line | {"p_wilcoxon": _wilcoxon(folds) if enough else math.nan}


def _wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test over folds; 1 where all are equal, of which scipy knows no p."""
    return float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def _common_folds(run: Run, *ms: Method) -> list[int]:
    stored = [
        {f for f in run.profile.folds if (run.predict_dir(m, f) / "predictions.csv").exists()}
        for m in ms
    ]
    return sorted(set.intersection(*stored))


def _compared(
    run: Run, rows: Sequence[Method], ours: Method, resamples: int
) -> list[dict[str, Any]]:
    """A line for each row; every method's resampled mAP50 of a fold is computed once, on that fold's draws."""
    scored: dict[tuple[str, int], np.ndarray] = {}  # (1 + R,): first the score itself
    groups: dict[int, int] = {}
    for m in tqdm([ours, *rows], desc="resampling groups", unit="method", disable=not rows):
        for fold in _common_folds(run, m, ours):
            images = run.dataset.test_images(fold, run.profile.max_test_fields)
            groups[fold] = images["group"].nunique()
            found = read_predictions(run.predict_dir(m, fold) / "predictions.csv")
            matched = bootstrap.matched(
                run.dataset.boxes_of(images), found, run.dataset.taxonomy.n, images
            )
            enough = resamples if groups[fold] >= MIN_GROUPS else 0
            drawn = bootstrap.draws(groups[fold], enough, seed=1000 * run.seed + fold)
            once = np.ones((1, groups[fold]), dtype=int)
            ap = bootstrap.average_precision(matched, np.vstack([once, drawn]))  # (1 + R, C)
            scored[m.id, fold] = bootstrap.mean_over_classes(bootstrap.kept(ap, ap[0]))
    lines = []
    for m in rows:
        folds = _common_folds(run, m, ours)
        differences = [scored[m.id, fold] - scored[ours.id, fold] for fold in folds]
        shortest = min(
            map(len, differences)
        )  # a fold of few groups has no resamples, and then there is no test
        resampled = np.mean([d[1:shortest] for d in differences], axis=0)
        lines.append(
            of_differences(
                resampled, [float(d[0]) for d in differences], sum(groups[f] for f in folds)
            )
        )
    return lines
