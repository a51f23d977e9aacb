"""Where a test reads its tables: the paper's as printed, or those in the figures folder of a run.

Both come in one form: a column ``row``, metrics under their own names (percent), ``<metric>_std``
and ``folds`` where there are folds. Rows of methods also say ``network`` (what was trained),
``stands_for`` (what the paper trained) and ``one_run`` (rows with one value are one run).

The interval of a difference comes from the printed deviations (verdict.py), or, in a run, from its
stored predictions: both rows are scored on the same resamples of the test patients (resamples.py).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from openurine_lib import published
from openurine_lib.data.splits import FOLDS
from openurine_lib.evaluation import bootstrap
from openurine_lib.experiments.methods import methods, predict_key
from openurine_lib.experiments.provenance import read_stamp
from openurine_lib.experiments.run import Run
from openurine_lib.paper.claims.resamples import DrawnRows
from openurine_lib.paper.claims.verdict import Effect, Mean, NoSuchRow, NotHere
from openurine_lib.published import METRICS

METHODS = ("4", "5", "6")  # tables whose rows are methods
BY_ONE_METHOD = ("7", "8", "7_rbc_wbc")  # tables that a single detector fills
OURS = "ours-yolo12m"
# in the note of a row of ``comparison``: the data set lacks the head that should go
SAME_HEADS = "nothing is removed"
NOT_PRINTED = {
    "7_rbc_wbc": "the paper prints no count of what is taken for what",
    "attention": "the paper shows two fields and measures nothing",
}


class Tables:
    """A source of tables. ``published``: the paper's own."""

    published = False

    def __init__(self) -> None:
        self._frames: dict[str, pd.DataFrame] = {}  # many claims ask for one table

    @property
    def drawn(self) -> bool:
        """Whether the fields were drawn by a program."""
        return False

    def frame(self, table: str | int) -> pd.DataFrame:
        """Table 4, "7_confusion", "attention", ...; raises NotHere if it is not there."""
        name = str(table)
        if name not in self._frames:
            self._frames[name] = self._read(name)
        return self._frames[name]

    def _read(self, table: str) -> pd.DataFrame:
        raise NotImplementedError

    def rows(self, table: str | int, label: str | None = None) -> list[pd.Series]:
        """The rows of that label (capitals aside), or all but totals and averages.

        Raises NoSuchRow if there is none.
        """
        frame = self.frame(table)
        if label is None:
            number = int(str(table).partition("_")[0])  # "7_confusion" -> 7
            chosen = frame[~frame["row"].isin(published.SUMMARY_ROWS.get(number, []))]
        else:
            chosen = frame[frame["row"].astype(str).str.casefold() == str(label).casefold()]
        if chosen.empty:
            raise NoSuchRow(f"Table {table} has no row{f' {label!r}' if label else ''}")
        return [row for _, row in chosen.iterrows()]

    def row(self, table: str | int, label: str) -> pd.Series:
        """The one row of that label; NotHere if several answer it."""
        rows = self.rows(table, label)
        if len(rows) > 1:
            raise NotHere(f"Table {table} has {len(rows)} rows {label!r}")
        return rows[0]

    def pair(self, a: pd.Series, b: pd.Series) -> np.ndarray | None:
        """METRICS of two rows and of paired resamples of both: (2, 1 + R, 4), or None.

        The first of the 1 + R are the rows' own numbers, on the folds that both rows have.
        """
        return None

    def gap(
        self, a: pd.Series, b: pd.Series, metric: str, scale: float = 1.0
    ) -> tuple[Effect, str]:
        """The effect scale · a - b with its interval, and why it has none."""
        first, second = mean(a, metric), mean(b, metric)
        pair = self.pair(a, b)
        if pair is None or metric not in METRICS:
            effect = first.times(scale).minus(second)
            return effect, no_interval(a, b) if math.isnan(effect.low) else ""
        one, other = pair[:, :, METRICS.index(metric)]  # (1 + R,) each
        return _resampled(scale * one - other)

    def level(self, row: pd.Series, metric: str) -> tuple[Effect, str]:
        """A row's number with its interval, and why it has none."""
        pair = self.pair(row, row)
        if pair is None or metric not in METRICS:
            effect = mean(row, metric).effect()
            return effect, no_interval(row) if math.isnan(effect.low) else ""
        return _resampled(pair[0, :, METRICS.index(metric)])


def _resampled(values: np.ndarray) -> tuple[Effect, str]:
    """The effect from its value and the resampled ones (1 + R,), and why it has no interval."""
    value, drawn = float(values[0]), values[1:]
    if not len(drawn):
        return Effect(value), f"fewer than {bootstrap.MIN_GROUPS} patients or slides: no interval"
    low, high = bootstrap.symmetric_interval(value, drawn)
    if not low < high:
        return Effect(value), "equal in all resamples: no interval"
    return Effect(value, float(low), float(high)), ""


class Published(Tables):
    """The paper's tables. Table 7 has Table 2's boxes beside its classes."""

    published = True

    def _read(self, table: str) -> pd.DataFrame:
        if not table.isdecimal():
            raise NotHere(NOT_PRINTED.get(table, f"no Table {table} in print"))
        frame = published.table(int(table))
        if table in METHODS:
            # in print, each row is its own network and run
            names = dict.fromkeys(("network", "stands_for", "one_run"), frame["row"])
            return frame.assign(folds=FOLDS, **names)
        if table == "7":
            averages = frame[frame["row"].isin(published.SUMMARY_ROWS[7])]
            return pd.concat([published.by_class(), averages], ignore_index=True)
        return frame


class OfRun(Tables):
    """The csv files in a run's figures folder, and resamples of its stored predictions."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self._resamples = DrawnRows(run)

    @property
    def drawn(self) -> bool:
        return self.run.dataset.synthetic

    def pair(self, a: pd.Series, b: pd.Series) -> np.ndarray | None:
        return self._resamples.pair(a, b)

    def _read(self, table: str) -> pd.DataFrame:
        stem = f"table{table}" if table[0].isdecimal() else table
        path = self.run.figures / f"{stem}.csv"
        if not path.exists():
            raise NotHere(f"this run has no {path.name}")
        frame = pd.read_csv(path)
        frame = frame.rename(columns={frame.columns[0]: "row"}).astype({"row": str})
        # a table beside the paper's: only this run's numbers, under the metrics' own names
        frame = frame.loc[:, ~frame.columns.str.endswith(("_paper", "_paper_std", "_difference"))]
        frame.columns = frame.columns.str.replace("_here", "")
        if table in METHODS:  # a row that the paper does not have is no part of its claims
            frame = frame[frame["row"].isin(published.table(int(table))["row"])]
        if table in METHODS and "method" in frame:
            found = pd.DataFrame([self._of_method(name) for name in frame["method"]], frame.index)
            return frame.join(found)
        if table in BY_ONE_METHOD:
            stamp = path.with_suffix(".json")  # which detector filled it
            name = read_stamp(stamp).get("method", OURS) if stamp.exists() else OURS
            network = self.run.profile.arch(methods()[name]) if name in methods() else None
            return frame.assign(
                filled_by=name,
                folds=len(self.run.profile.folds),
                network=network,
                stands_for=self._of_method(name)["stands_for"],
                one_run=frame["row"],  # every row another
            )
        return frame

    def _of_method(self, name: str) -> dict[str, Any]:
        """What methods.yaml and the profile say of a row; nothing for a method not listed."""
        method = methods().get(name)
        profile = self.run.profile
        if method is None:
            return {"stands_for": None, "one_run": name, "epochs_planned": None}
        epochs = profile.epochs_for.get(profile.arch(method), profile.epochs)
        run = predict_key(method, profile)
        return {"stands_for": method.arch, "one_run": run, "epochs_planned": epochs}


def mean(row: pd.Series, metric: str) -> Mean:
    """A metric of a row with its deviation and folds.

    Raises NotHere, with the reason, if the row has no number; NoSuchRow if there is no such column.
    """
    if metric not in row:
        raise NoSuchRow(f"no column {metric!r} for {row['row']!r}")
    if pd.isna(row[metric]):
        told = [row.get(name) for name in ("reason", "note")]
        reasons = [text for text in told if isinstance(text, str) and text]
        raise NotHere(f"{row['row']}: {reasons[0] if reasons else 'no number'}")
    std, folds = (float(row.get(name, np.nan)) for name in (f"{metric}_std", "folds"))
    return Mean(float(row[metric]), std, folds)


def same_footing(a: pd.Series, b: pd.Series) -> list[str]:
    """What to know of a comparison of two rows.

    Two rows can be compared if both are the networks that the paper names, or if both stand for the
    same one, so that what differs is the method. A run cannot be compared with itself. Raises
    NotHere if the comparison would say nothing of the paper's.
    """
    if "one_run" not in a or "one_run" not in b:
        return []
    if a["one_run"] == b["one_run"]:
        raise NotHere(f"{a['row']} and {b['row']} are one run here")
    for row in (a, b):
        if SAME_HEADS in str(row.get("note", "")):
            raise NotHere(f"{row['row']}: this data set has no class in that head")
    notes = []
    if a["network"] != a["stands_for"] or b["network"] != b["stands_for"]:
        networks = f"{a['network']} against {b['network']}"
        # the same stand-in on both sides is fair
        if (a["network"], a["stands_for"]) != (b["network"], b["stands_for"]):
            raise NotHere(f"{b['row']}: {networks}, not the networks that the paper compares")
        notes.append(f"{a['network']} stands for {a['stands_for']} in both")
    epochs = [row.get("epochs_planned") for row in (a, b)]
    if epochs[0] != epochs[1]:
        notes.append(f"not trained alike: {epochs[0]:g} and {epochs[1]:g} epochs")
    return notes


def need_own_network(row: pd.Series) -> None:
    """Raises NotHere if another network stands for the paper's: its level is not the paper's."""
    if "network" in row and row["network"] != row["stands_for"]:
        names = f"{row['network']} stands for {row['stands_for']}"
        raise NotHere(f"{names}: its level is not the paper's")


def no_interval(*rows: pd.Series) -> str:
    """Why a difference has no interval, where nothing is resampled."""
    one_fold = any(row.get("folds") == 1 for row in rows)
    why = "one fold, nothing to resample" if one_fold else "no deviation over folds"
    return f"{why}: no interval"
