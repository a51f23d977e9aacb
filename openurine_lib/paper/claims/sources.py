"""Where a test reads its tables: the paper's as printed, or those that a run left in its figures folder.

Both come in one form: a column ``row``, metrics under their own names (percent), ``<metric>_std`` and ``folds`` where
there are folds. Rows of methods also say ``network`` (what was trained), ``stands_for`` (what the paper trained) and
``one_run`` (rows with the same value are one run of one detector).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from openurine_lib import published
from openurine_lib.experiments.methods import methods, predict_key
from openurine_lib.experiments.provenance import read_stamp
from openurine_lib.paper.claims.intervals import Mean
from openurine_lib.paper.claims.verdict import NAMES, NoSuchRow, NotHere

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run

FOLDS = 5  # of the paper's Tables 4-6
METHODS = ("4", "5", "6")  # tables whose rows are methods
OURS = "ours-yolo12m"
SAME_HEADS = (
    "nothing is removed"  # in the note of ``results.table``: the data set lacks the head that goes
)


class Tables:
    """A source of tables. ``published``: the paper's own."""

    published = False

    def __init__(self) -> None:
        self._known: dict[str, pd.DataFrame] = {}  # many claims ask for one table

    def frame(self, table: str | int) -> pd.DataFrame:
        """Table 4, "7_confusion", "attention", ...; raises NotHere if it is not there."""
        name = str(table)
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, table: str) -> pd.DataFrame:
        raise NotImplementedError

    def rows(self, table: str | int, label: str | None = None) -> list[pd.Series]:
        """The rows of that label (capitals aside), or all but the totals and averages. Raises NoSuchRow for none."""
        frame = self.frame(table)
        names = frame["row"].astype(str).str.casefold()
        if label is None:
            chosen = frame[~frame["row"].isin(published.SUMMARY_ROWS.get(_number(table), []))]
        else:
            chosen = frame[names == str(label).casefold()]
        if chosen.empty:
            raise NoSuchRow(
                f"Table {table} has no row {label!r}" if label else f"Table {table} has no row"
            )
        return [row for _, row in chosen.iterrows()]

    def row(self, table: str | int, label: str) -> pd.Series:
        """The one row of that label; NotHere if several answer it."""
        found = self.rows(table, label)
        if len(found) > 1:
            raise NotHere(f"Table {table} has {len(found)} rows {label!r}")
        return found[0]


class Published(Tables):
    """The paper's tables. Table 7 has Table 2's boxes beside its classes."""

    published = True

    def _read(self, table: str) -> pd.DataFrame:
        if not table.isdecimal():
            raise NotHere(
                {
                    "7_confusion": "the paper prints no confusion matrix",
                    "attention": "the paper shows two fields and measures nothing",
                }.get(table, f"no Table {table} in print")
            )
        frame = published.table(int(table))
        if table in METHODS:
            return frame.assign(
                folds=FOLDS, network=frame["row"], stands_for=frame["row"], one_run=frame["row"]
            )
        if table == "7":
            averages = frame[frame["row"].isin(published.SUMMARY_ROWS[7])]
            return pd.concat([published.by_class(), averages], ignore_index=True)
        return frame


class OfRun(Tables):
    """The csv files in a run's figures folder."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def _read(self, table: str) -> pd.DataFrame:
        path = self.run.figures / (f"table{table}.csv" if table[0].isdecimal() else f"{table}.csv")
        if not path.exists():
            raise NotHere(f"this run has no {path.name}")
        frame = pd.read_csv(path)
        frame = frame.rename(columns={frame.columns[0]: "row"}).astype({"row": str})
        frame = frame.drop(
            columns=[c for c in frame if str(c).endswith(("_paper", "_paper_std", "_difference"))]
        )
        frame = frame.rename(columns=lambda c: str(c).replace("_here", ""))
        if table in METHODS and "method" in frame:
            frame = frame.join(
                pd.DataFrame([self._of_method(name) for name in frame["method"]], index=frame.index)
            )
        elif table in ("7", "8", "7_rbc_wbc"):
            stamp = path.with_suffix(".json")
            made_by = read_stamp(stamp).get("method", OURS) if stamp.exists() else OURS
            used = self._of_method(made_by)
            network = self.run.profile.arch(methods()[made_by]) if made_by in methods() else None
            frame = frame.assign(
                folds=len(self.run.profile.folds),
                network=network,
                stands_for=used["stands_for"],
                one_run=frame["row"],
            )
        return frame

    def _of_method(self, name: str) -> dict[str, Any]:
        """What methods.yaml and the profile say of a row; nothing for one that is not listed, or not yet built."""
        m, profile = methods().get(name), self.run.profile
        if m is None or not m.built:
            return {"stands_for": None, "one_run": name, "epochs_planned": None}
        epochs = profile.epochs_for.get(profile.arch(m), profile.epochs)
        return {"stands_for": m.arch, "one_run": predict_key(m, profile), "epochs_planned": epochs}


def mean(row: pd.Series, metric: str) -> Mean:
    """A metric of a row with its deviation and folds; NotHere if the row has no number, and why."""
    if metric not in row:
        raise NoSuchRow(f"no column {metric!r} for {row['row']!r}")
    if pd.isna(row[metric]):
        reason = row.get("reason")
        raise NotHere(
            f"{row['row']}: {reason if isinstance(reason, str) and reason else 'no number'}"
        )
    if metric == "precision" and row.get("recall") == 0 < row["precision"]:
        # ultralytics' convention for a class without any detection
        raise NotHere(f"{row['row']}: nothing of it is found, so its precision says nothing")
    return Mean(float(row[metric]), _float(row.get(f"{metric}_std")), _float(row.get("folds")))


def same_footing(a: pd.Series, b: pd.Series) -> list[str]:
    """What to know of a comparison of two rows; raises NotHere if it would say nothing of the paper's two.

    Two rows can be compared if both are the networks that the paper names, or if both stand for the same one, so that
    what differs is the method. A single run cannot be compared with itself.
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
        if (a["network"], a["stands_for"]) != (b["network"], b["stands_for"]):
            raise NotHere(
                f"{b['row']}: {a['network']} against {b['network']}, not the networks that the paper compares"
            )
        notes.append(f"{a['network']} stands for {a['stands_for']} in both")
    planned = [row.get("epochs_planned") for row in (a, b)]
    if planned[0] != planned[1]:
        notes.append(f"not trained alike: {planned[0]:g} and {planned[1]:g} epochs")
    return notes


def need_own_network(row: pd.Series) -> None:
    """Raises NotHere if another network stands for the paper's: then a level says nothing of the paper's level."""
    if "network" in row and row["network"] != row["stands_for"]:
        raise NotHere(
            f"{row['network']} stands for {row['stands_for']}: its level is not the paper's"
        )


def no_interval(*rows: pd.Series) -> str:
    """Why a difference has no interval."""
    return (
        "one fold: no interval"
        if any(row.get("folds") == 1 for row in rows)
        else "no deviation over folds: no interval"
    )


def name_of(metric: str) -> str:
    return NAMES.get(metric, metric)


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _number(table: str | int) -> int:
    return int(str(table).partition("_")[0])
