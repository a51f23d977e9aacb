"""A run's rows in resamples of its test patients, from the predictions that are stored."""

from __future__ import annotations

import numpy as np
import pandas as pd

from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.classwise import (
    UNWEIGHTED,
    WEIGHTED,
    resampled,
    resampled_average,
    spelling,
)
from openurine_lib.evaluation.metrics import PER_CLASS, score_fold
from openurine_lib.experiments.intervals import Intervals
from openurine_lib.experiments.methods import method, methods
from openurine_lib.experiments.run import Run
from openurine_lib.inference import read_predictions


class DrawnRows:
    """Rows of Tables 4 to 7, each with the same draws of patients; computed when asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._methods = Intervals(run)
        self._classes: dict[str, dict[str, np.ndarray]] = {}

    def pair(self, a: pd.Series, b: pd.Series) -> np.ndarray | None:
        """METRICS (percent) of two rows of a table, and of paired resamples: (2, 1 + R, 4).

        None if there is nothing to resample, or the rows are not of one kind.
        """
        names = [row.get("method") for row in (a, b)]
        if all(name in methods() for name in names):
            pair = self._methods.pair(*names)
            return None if pair is None else pair.metrics
        filled_by = a.get("filled_by")
        if filled_by is None or filled_by != b.get("filled_by") or filled_by not in methods():
            return None
        drawn = self._of_classes(filled_by)
        if a["row"] not in drawn or b["row"] not in drawn:
            return None
        both = np.stack([drawn[a["row"]], drawn[b["row"]]])
        few = any(row.get("groups", np.inf) < bootstrap.MIN_GROUPS for row in (a, b))
        return both[:, :1] if few else both

    def _of_classes(self, name: str) -> dict[str, np.ndarray]:
        """The rows of Table 7 for a method: (1 + R, 4) each; empty without predictions."""
        if name not in self._classes:
            self._classes[name] = self._table7(name)
        return self._classes[name]

    def _table7(self, name: str) -> dict[str, np.ndarray]:
        folds = self._methods.folds(name)
        if not folds:
            return {}
        p, data = self.run.profile, self.run.dataset
        places = [self.run.predict_dir(method(name), fold) / "predictions.csv" for fold in folds]
        scored = [
            score_fold(data, fold, read_predictions(place), p.max_test_fields)
            for fold, place in zip(folds, places, strict=True)
        ]
        names = list(spelling(data.taxonomy).values())  # in the order of the class ids
        # as in Table 7: of a class the mean over the folds that have it
        of_folds = pd.concat([fold.metrics for fold in scored]).groupby("cls")
        values = of_folds[list(PER_CLASS.values())].mean().to_numpy()  # (C, 4)
        boxes = of_folds["boxes"].sum().to_numpy(dtype=float)
        drawn = resampled(scored, data.taxonomy.n)  # (R, C, 4)
        values, drawn = 100 * values, 100 * drawn
        both = np.concatenate([values[None], drawn])  # (1 + R, C, 4)
        rows = {row: both[:, c] for c, row in enumerate(names)}
        for row, weight in ((UNWEIGHTED, np.ones(len(names))), (WEIGHTED, boxes)):
            rows[row] = resampled_average(both, values, weight)
        return rows
