"""How far the numbers of Tables 4-6 may be chance: 95 % bootstrap intervals over the groups of the test fields.

Beside the deviation over folds, as in the paper. All rows of a run are drawn alike (``classwise.resampled``), so that a
difference of two rows is drawn in pairs. What another training would give is not in these intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.classwise import LIMITS, METRICS, limits, resampled
from openurine_lib.evaluation.metrics import PER_CLASS
from openurine_lib.evaluation.scored import Scored, score_fold
from openurine_lib.experiments.comparison import FULL
from openurine_lib.experiments.methods import method, predict_key
from openurine_lib.inference import read_predictions

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run

NONE = np.empty((0, 4))  # no resamples


def of_means(folds: list[Scored], n_classes: int) -> np.ndarray:
    """METRICS of a method in resamples of its folds' groups, in percent: (R, 4), means over classes, then over folds.

    The mean is over the same classes in every resample (``bootstrap.kept``).
    """
    of_folds = []
    for seed, fold in enumerate(folds):
        drawn, values = (
            resampled([fold], n_classes, seed),
            fold.metrics[list(PER_CLASS.values())].to_numpy(),
        )
        there = ~np.isnan(values[:, 0])
        filled = bootstrap.kept(drawn, values)[:, there]
        of_folds.append(filled.mean(1) if there.any() else np.full((len(drawn), 4), np.nan))
    return 100 * np.mean(of_folds, axis=0)


class Spread:
    """The resamples of a run's methods, each made once from stored predictions."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._known: dict[str, tuple[tuple[int, ...], int, np.ndarray]] = {}

    def _of(self, name: str) -> tuple[tuple[int, ...], int, np.ndarray]:
        """(folds with predictions, groups of the smallest, resamples (R, 4)) of a method."""
        m, run = method(name), self.run
        key = predict_key(m, run.profile)
        if key not in self._known:
            files = {
                fold: run.predict_dir(m, fold) / "predictions.csv" for fold in run.profile.folds
            }
            done = tuple(fold for fold, file in files.items() if file.exists())
            folds = [score_fold(run, fold, read_predictions(files[fold])) for fold in done]
            groups = min((fold.fields["group"].nunique() for fold in folds), default=0)
            drawn = (
                of_means(folds, run.dataset.taxonomy.n) if groups >= bootstrap.MIN_GROUPS else NONE
            )
            self._known[key] = done, groups, drawn
        return self._known[key]

    def levels(self, table: pd.DataFrame) -> pd.DataFrame:
        """``results.table`` with ``_low`` and ``_high`` of each metric; NaN for a row not run, or on too few groups."""
        rows = []
        for _, row in tqdm(list(table.iterrows()), desc="intervals", leave=False):
            groups, drawn = self._of(row["method"])[1:] if row["folds"] else (0, NONE)
            rows.append(_ends(row[METRICS], groups, drawn).clip(0, 100))
        return _with_limits(table, rows)

    def drops(self, fallen: pd.DataFrame, table5: pd.DataFrame) -> pd.DataFrame:
        """``results.drops`` with intervals, of pairs: both rows on the same draws, if both have the same folds."""
        full = table5.loc[table5["row"] == FULL, "method"].iloc[0]
        rows = []
        for _, row in fallen.iterrows():
            (of_full, groups, a), (of_row, _, b) = self._of(full), self._of(row["method"])
            rows.append(_ends(row[METRICS], groups, a - b if of_full == of_row else NONE))
        return _with_limits(fallen, rows)


def _ends(values: pd.Series, groups: int, drawn: np.ndarray) -> np.ndarray:
    """LIMITS of the METRICS of a row, from their resamples (R, 4); NaN where there is none."""
    if not len(drawn):
        return np.full(len(LIMITS), np.nan)
    return limits(values.to_numpy(dtype=float), drawn[:, None], np.array([groups]))[0]


def _with_limits(table: pd.DataFrame, rows: list[np.ndarray]) -> pd.DataFrame:
    return table.assign(**dict(zip(LIMITS, np.reshape(rows, (-1, len(LIMITS))).T, strict=True)))
