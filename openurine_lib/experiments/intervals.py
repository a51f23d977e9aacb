"""95 % bootstrap intervals for the numbers of Tables 4-6, beside the deviation over folds.

The groups (patients or slides) of the test fields are resampled, in the same draws for all rows of
a run, so that a difference of two rows is one of pairs. What another training would give is not in
these intervals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.classwise import LIMITS, METRICS, limits, resampled
from openurine_lib.evaluation.metrics import PER_CLASS, Scored, score_fold
from openurine_lib.experiments.comparison import FULL
from openurine_lib.experiments.methods import method, predict_key
from openurine_lib.experiments.run import Run
from openurine_lib.inference import read_predictions


class Resamples(NamedTuple):
    """The metrics of a method in resamples of the groups."""

    folds: list[int]  # those with predictions
    groups: int  # of the fold that has the fewest
    metrics: np.ndarray  # (R, 4) METRICS in percent; R is 0 on too few groups


class Intervals:
    """The intervals of a run's methods; each is resampled once, from its stored predictions."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._known: dict[str, Resamples] = {}

    def of_table(self, table: pd.DataFrame) -> pd.DataFrame:
        """``comparison.reproduced_table`` with ``_low`` and ``_high`` of each metric.

        NaN for a row that was not run, or was scored on fewer than MIN_GROUPS groups.
        """
        rows = []
        for _, row in tqdm(list(table.iterrows()), desc="intervals", leave=False):
            drawn = self._resamples(row["method"]) if row["folds"] else NOT_RUN
            rows.append(_ends(row, drawn).clip(0, 100))  # percent, which end there
        return _with_limits(table, rows)

    def of_drops(self, drops: pd.DataFrame, table5: pd.DataFrame) -> pd.DataFrame:
        """``comparison.table5_drops`` with intervals, where both rows have the same folds."""
        full = self._resamples(table5.loc[table5["row"] == FULL, "method"].iloc[0])
        rows = []
        for _, row in drops.iterrows():
            other = self._resamples(row["method"])
            pairs = NOT_RUN
            if full.folds == other.folds:
                # the same draws, so differences of pairs
                pairs = full._replace(metrics=full.metrics - other.metrics)
            rows.append(_ends(row, pairs))
        return _with_limits(drops, rows)

    def _resamples(self, name: str) -> Resamples:
        m = method(name)
        p = self.run.profile
        key = predict_key(m, p)
        if key in self._known:
            return self._known[key]
        files = {fold: self.run.predict_dir(m, fold) / "predictions.csv" for fold in p.folds}
        done = [fold for fold in p.folds if files[fold].exists()]
        data = self.run.dataset
        scored = [
            score_fold(data, fold, read_predictions(files[fold]), p.max_test_fields)
            for fold in done
        ]
        groups = min((fold.fields["group"].nunique() for fold in scored), default=0)
        few = groups < bootstrap.MIN_GROUPS
        metrics = NOT_RUN.metrics if few else resampled_means(scored, data.taxonomy.n)
        self._known[key] = Resamples(done, groups, metrics)
        return self._known[key]


NOT_RUN = Resamples([], 0, np.empty((0, len(METRICS))))


def resampled_means(folds: list[Scored], n_classes: int) -> np.ndarray:
    """METRICS in resamples of the folds' groups, in percent: (R, 4), over classes, then folds.

    The mean is over the same classes in every resample (``bootstrap.fill_missing``).
    """
    of_folds = []
    for seed, fold in enumerate(folds):
        drawn = resampled([fold], n_classes, seed)  # (R, C, 4)
        values = fold.metrics[list(PER_CLASS.values())].to_numpy()  # (C, 4)
        present = ~np.isnan(values[:, 0])  # classes with true boxes
        means = np.full((len(drawn), len(METRICS)), np.nan)
        if present.any():
            means = bootstrap.fill_missing(drawn, values)[:, present].mean(1)  # (R, 4)
        of_folds.append(means)
    return 100 * np.mean(of_folds, axis=0)


def _ends(row: pd.Series, drawn: Resamples) -> np.ndarray:
    """LIMITS of a table's row; NaN where there are no resamples."""
    if not len(drawn.metrics):
        return np.full(len(LIMITS), np.nan)
    values = row[METRICS].to_numpy(dtype=float)
    # limits takes (R, rows, 4): here of one row
    return limits(values, drawn.metrics[:, None], np.array([drawn.groups]))[0]


def _with_limits(table: pd.DataFrame, rows: list[np.ndarray]) -> pd.DataFrame:
    columns = np.reshape(rows, (-1, len(LIMITS))).T  # (8, rows)
    return table.assign(**dict(zip(LIMITS, columns, strict=True)))
