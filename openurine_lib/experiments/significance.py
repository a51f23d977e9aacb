"""Is a row of Table 4 really better or worse than the paper's method? mAP50 on the same fields.

- *Bootstrap over groups.* The patients or slides of each test fold are resampled, and both methods
  are scored on the same draw; over several folds, the differences are averaged. This tells how far
  the choice of patients matters. That a network trained again ends elsewhere it does not see, nor
  does any test on one training. With few groups no difference is certain: of 7 groups, p is at
  least 0.016, before the correction.
- *Wilcoxon's signed-rank test* compares the folds' differences, where there are five folds or more
  (with five, its smallest p is 0.0625).

Holm's correction is over the comparisons that were made, each run counted once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from tqdm.auto import tqdm

from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.bootstrap import MIN_GROUPS, RESAMPLES
from openurine_lib.experiments import made_from
from openurine_lib.experiments.methods import (
    OURS,
    Method,
    first_of_each,
    method,
    predict_key,
    rows_of_table,
)
from openurine_lib.experiments.run import Run
from openurine_lib.inference import read_predictions

ALPHA = 0.05
FOLDS_FOR_WILCOXON = 5
COLUMNS = [
    *("row", "method", "folds", "groups", "difference", "low", "high"),
    *("p", "p_holm", "p_wilcoxon", "note"),
]


def table4_significance(run: Run, n: int = 4, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Each row of Table n with stored predictions against the paper's method, in file order.

    Columns: row, method, folds and groups that both were scored on, difference (mAP50 of the row
    minus the paper's method's, percentage points, mean over folds), low and high (95 % bootstrap
    interval), p, p_holm, p_wilcoxon, note. Rows that are one run have the same numbers. Fewer than
    MIN_GROUPS groups in a fold: no interval and no p.
    """
    p = run.profile
    ours = method(OURS)
    others = first_of_each(predict_key, rows_of_table(n), p)
    others.pop(predict_key(ours, p), None)  # it is not compared with itself
    stored = {key: m for key, m in others.items() if _common_folds(run, m, ours)}
    lines = dict(zip(stored, _compared(run, [*stored.values()], ours, resamples), strict=True))
    adjusted = bootstrap.holm([line["p"] for line in lines.values()])
    for line, p_holm in zip(lines.values(), adjusted, strict=True):
        line["p_holm"] = float(p_holm)
    table = [
        {"row": m.answers[n], "method": m.id, **lines[predict_key(m, p)]}
        for m in rows_of_table(n)
        if predict_key(m, p) in lines
    ]
    return pd.DataFrame(table, columns=COLUMNS)


def note_differences(table4: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Table 4 with a sentence in ``note`` for rows that differ from the paper's method.

    compared: of ``table4_significance``; a row differs where p_holm is below ALPHA.
    """
    notes = dict(zip(table4["method"], table4["note"], strict=True))
    for line in compared[compared["p_holm"] < ALPHA].itertuples():
        if line.method in notes:
            points = f"mAP50 here {line.difference:+.1f} points against the paper's method"
            sentence = f"{points} (Holm p {line.p_holm:.2g})"
            notes[line.method] = "; ".join(filter(None, [notes[line.method], sentence]))
    return table4.assign(note=table4["method"].map(notes))


def _common_folds(run: Run, *ms: Method) -> list[int]:
    """The profile's folds on which all of the methods have predictions of today."""
    done = [made_from.folds_of_today(run, m) for m in ms]
    return [fold for fold in run.profile.folds if all(fold in folds for folds in done)]


def _compared(
    run: Run, rows: Sequence[Method], ours: Method, resamples: int
) -> list[dict[str, Any]]:
    """A line for each row; a method's mAP50 is resampled once a fold, on that fold's draws."""
    scores: dict[tuple[str, int], np.ndarray] = {}
    groups: dict[int, int] = {}
    for m in tqdm([ours, *rows], desc="resampling groups", unit="method", disable=not rows):
        for fold in _common_folds(run, m, ours):
            scores[m.id, fold], groups[fold] = _resampled_map50(run, m, fold, resamples)
    lines = []
    for m in rows:
        folds = _common_folds(run, m, ours)
        differences = [scores[m.id, fold] - scores[ours.id, fold] for fold in folds]
        # a fold of few groups has no resamples, and then there is no test
        shortest = min(map(len, differences))
        resampled = np.mean([d[1:shortest] for d in differences], axis=0)  # (R,)
        of_folds = [float(d[0]) for d in differences]
        lines.append(line_of_differences(resampled, of_folds, sum(groups[f] for f in folds)))
    return lines


def _resampled_map50(run: Run, m: Method, fold: int, resamples: int) -> tuple[np.ndarray, int]:
    """mAP50 of a fold, (1 + R,) in 0..1: the score itself, then of resamples; and its groups."""
    images = run.test_images(fold)
    truth = run.dataset.boxes_of(images)
    found = read_predictions(run.predict_dir(m, fold) / "predictions.csv")
    matched = bootstrap.match_groups(truth, found, run.dataset.taxonomy.n, images)
    groups = images["group"].nunique()
    enough = resamples if groups >= MIN_GROUPS else 0
    # the same seed for every method: both are scored on the same draws
    drawn = bootstrap.draws(groups, enough, seed=1000 * run.seed + fold)
    once = np.ones((1, groups), dtype=int)  # the score itself
    ap = bootstrap.average_precision(matched, np.vstack([once, drawn]))  # (1 + R, C)
    return bootstrap.mean_over_classes(bootstrap.fill_missing(ap, ap[0])), groups


def line_of_differences(
    resampled: np.ndarray, folds: Sequence[float], groups: int
) -> dict[str, Any]:
    """A line of the table from resampled differences (R,) and the folds' own, all in -1..1."""
    difference = float(np.mean(folds))
    line: dict[str, Any] = {"folds": len(folds), "groups": groups, "difference": 100 * difference}
    line |= dict.fromkeys(("low", "high", "p", "p_wilcoxon"), math.nan)
    line["note"] = f"fewer than {MIN_GROUPS} groups in a fold: no test"
    if len(resampled):
        low, high = bootstrap.symmetric_interval(difference, resampled)
        p = bootstrap.p_value(difference, resampled, groups)
        line |= {"low": 100 * float(low), "high": 100 * float(high), "p": p, "note": ""}
    if len(folds) >= FOLDS_FOR_WILCOXON:
        # where all differences are 0, scipy has no p
        # 0: no difference at all
        line["p_wilcoxon"] = float(wilcoxon(folds).pvalue) if np.any(folds) else 1.0
    return line
