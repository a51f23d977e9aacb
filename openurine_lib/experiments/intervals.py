"""95 % bootstrap intervals for the numbers of Tables 4-6, beside the deviation over folds.

The groups (patients or slides) of the test fields are resampled, in the same draws for all rows of
a run, so that a difference of two rows is one of pairs. What another training would give is not in
these intervals.

The precision is a mean over the classes with a detection, the same ones in every resample.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.classwise import LIMITS, METRICS, limits, resampled, resampled_average
from openurine_lib.evaluation.metrics import PER_CLASS, Scored, score_fold
from openurine_lib.experiments import fingerprints, made_from
from openurine_lib.experiments.comparison import FULL
from openurine_lib.experiments.methods import Method, method, predict_key
from openurine_lib.experiments.run import Run
from openurine_lib.files import atomic_path, digest
from openurine_lib.inference import read_predictions

STORE = "resamples.npz"  # in a row's folder of predictions


class Resamples(NamedTuple):
    """The metrics of a method on each fold that has predictions, and in resamples of its groups."""

    groups: dict[int, int]  # by fold
    metrics: dict[int, np.ndarray]  # by fold: (1 + R, 4) METRICS in percent, first the fold's own

    def over(self, folds: Collection[int]) -> np.ndarray:
        """The mean over these folds: (1 + R, 4); R is 0 if one of them has too few groups."""
        shortest = min(len(self.metrics[fold]) for fold in folds)
        return np.mean([self.metrics[fold][:shortest] for fold in folds], axis=0)


class Pair(NamedTuple):
    """Two methods on the folds that both have, and in the same resamples of their groups."""

    groups: int  # of the fold that has the fewest
    metrics: np.ndarray  # (2, 1 + R, 4) METRICS in percent, first those of the folds themselves


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
            alone = self.pair(row["method"], row["method"]) if row["folds"] else None
            drawn = alone and alone._replace(metrics=alone.metrics[0])
            rows.append(_ends(row, drawn).clip(0, 100))  # percent, which end there
        return _with_limits(table, rows)

    def of_drops(self, drops: pd.DataFrame, table5: pd.DataFrame) -> pd.DataFrame:
        """``comparison.table5_drops`` with intervals, where both rows have the same folds."""
        full = table5.loc[table5["row"] == FULL, "method"].iloc[0]
        rows = []
        for _, row in drops.iterrows():
            pair = self.pair(full, row["method"])
            same_folds = self.folds(full) == self.folds(row["method"])
            drop = pair and pair._replace(metrics=pair.metrics[0] - pair.metrics[1])
            rows.append(_ends(row, drop if same_folds else None))
        return _with_limits(drops, rows)

    def difference(self, a: str, b: str) -> tuple[float, float, float]:
        """mAP50 of method a minus that of b (points, mean over their common folds), low and high.

        NaN without a common fold; low and high are NaN with fewer than MIN_GROUPS groups.
        """
        pair = self.pair(a, b)
        if pair is None:
            return np.nan, np.nan, np.nan
        drawn = (pair.metrics[0] - pair.metrics[1])[:, METRICS.index("map50")]  # (1 + R,)
        value = float(drawn[0])
        if len(drawn) == 1:
            return value, np.nan, np.nan
        low, high = bootstrap.symmetric_interval(value, drawn[1:])
        return value, float(low), float(high)

    def difference_by_fold(self, a: str, b: str) -> list[float]:
        """mAP50 of method a minus that of b on each of their common folds, in points."""
        column = METRICS.index("map50")
        one, other = (self._resamples(name).metrics for name in (a, b))
        return [float(one[k][0, column] - other[k][0, column]) for k in one if k in other]

    def folds(self, name: str) -> list[int]:
        """The folds of the profile on which the method has predictions of today."""
        return made_from.folds_of_today(self.run, method(name))

    def pair(self, a: str, b: str) -> Pair | None:
        """Two methods on their common folds; None if there is none."""
        folds = [fold for fold in self.folds(a) if fold in self.folds(b)]
        if not folds:
            return None
        both = (self._resamples(a), self._resamples(b))
        metrics = np.stack([one.over(folds) for one in both])
        return Pair(min(both[0].groups[fold] for fold in folds), metrics)

    def _resamples(self, name: str) -> Resamples:
        m = method(name)
        key = predict_key(m, self.run.profile)
        if key not in self._known:
            groups, metrics = {}, {}
            for fold in self.folds(name):
                groups[fold], metrics[fold] = resampled_once(self.run, m, fold)
            self._known[key] = Resamples(groups, metrics)
        return self._known[key]


def resampled_once(run: Run, m: Method, fold: int) -> tuple[int, np.ndarray]:
    """The groups of a fold, and ``fold_and_resamples`` of a row's stored predictions.

    Several notebooks and the report ask for the same rows, so the numbers stay beside the
    predictions. They are taken as long as predictions, data and code are the same.
    """
    limit = run.profile.max_test_fields
    predictions = run.predict_dir(m, fold) / "predictions.csv"
    store = predictions.with_name(STORE)
    fields = run.dataset.test_images(fold, limit)[["image", "group"]]
    truth = run.dataset.boxes_of(fields)
    code = fingerprints.of_modules(__name__)
    parts = (fields.to_csv(), truth.to_csv(), run.dataset.taxonomy.n, fold, code)
    made_of = digest(fingerprints.of_file(predictions), *parts)
    # a store that is not there, or damaged, is made anew
    damaged = (OSError, ValueError, KeyError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), np.load(store) as kept:
        if kept["made_of"] == made_of:
            return int(kept["groups"]), kept["metrics"]
    scored = score_fold(run.dataset, fold, read_predictions(predictions), limit)
    groups = int(scored.fields["group"].nunique())
    metrics = fold_and_resamples(scored, run.dataset.taxonomy.n, fold)
    with atomic_path(store) as temporary, temporary.open("wb") as file:
        np.savez(file, made_of=made_of, groups=groups, metrics=metrics)
    return groups, metrics


def fold_and_resamples(fold: Scored, n_classes: int, seed: int) -> np.ndarray:
    """METRICS of a fold, then of resamples of its groups, in percent: (1 + R, 4).

    The mean is over the same classes in every resample (``bootstrap.fill_missing``). Fewer than
    MIN_GROUPS groups are not resampled.
    """
    values = fold.metrics[list(PER_CLASS.values())].to_numpy()[None]  # (1, C, 4)
    if fold.fields["group"].nunique() >= bootstrap.MIN_GROUPS:
        drawn = resampled([fold], n_classes, seed)  # (R, C, 4)
        values = np.concatenate([values, drawn])
    return 100 * resampled_average(values, values[0], np.ones(n_classes))


def _ends(row: pd.Series, drawn: Pair | None) -> np.ndarray:
    """LIMITS of a table's row; NaN where there are no resamples. metrics: (1 + R, 4)."""
    if drawn is None or len(drawn.metrics) == 1:
        return np.full(len(LIMITS), np.nan)
    values = row[METRICS].to_numpy(dtype=float)
    # limits takes (R, rows, 4): here of one row
    return limits(values, drawn.metrics[1:, None], np.array([drawn.groups]))[0]


def _with_limits(table: pd.DataFrame, rows: list[np.ndarray]) -> pd.DataFrame:
    columns = np.reshape(rows, (-1, len(LIMITS))).T  # (8, rows)
    return table.assign(**dict(zip(LIMITS, columns, strict=True)))
