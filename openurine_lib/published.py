"""The numbers that the paper prints, Tables 1-8 as data, to set beside everything reproduced.

The files ``config/published/table<n>.csv`` hold one number a cell, mean and standard deviation
apart, and every row of the paper in its order. Table 2's descriptions are left out.
"""

from __future__ import annotations

import functools

import pandas as pd

from openurine_lib.config import CONFIG

# Columns of Tables 4-7, in percent; in Tables 4-6 each also with ``_std``.
METRICS = ["precision", "recall", "map50", "map50_95"]
SUMMARY_ROWS = {2: ["Total"], 7: ["Unweighted average", "Weighted average"], 8: ["Mean accuracy"]}
TABLES = range(1, 9)


def table(n: int, summaries: bool = True) -> pd.DataFrame:
    """Table n of the paper, as printed. ``row`` is each row's label, unique; NaN is a printed dash.

    1: images, boxes. 2: category, boxes, images (of each class). 3: setting (its name in
    ``config/table3.yaml``, dotted where nested), value. 4, 5, 6: METRICS and their standard
    deviations over the five folds, in percent; rows of earlier papers have the reference's number
    in brackets. 7: METRICS of each class, in percent. 8: accuracy, in percent.

    ``summaries=False`` leaves out the totals and averages that the paper prints as rows
    (SUMMARY_ROWS). Raises KeyError if there is no such table.
    """
    if n not in TABLES:
        raise KeyError(f"the paper has Tables 1-8, not {n!r}")
    frame = _read(n)
    if summaries:
        return frame.copy()  # the reader's own
    return frame[~frame["row"].isin(SUMMARY_ROWS.get(n, []))].reset_index(drop=True)


def earlier_work() -> pd.DataFrame:
    """The studies under "Related works" that the paper gives a score of, as the paper cites them.

    row (authors and number of the reference), system, task (detection or classification), classes,
    images, metric (accuracy or mAP), score in percent. What the paper does not say is missing.
    Their scores are of their own images and classes, so they cannot be compared with one another.
    """
    with (CONFIG / "published" / "earlier_work.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"classes": "Int64", "images": "Int64"})


@functools.cache
def _read(n: int) -> pd.DataFrame:
    with (CONFIG / "published" / f"table{n}.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype={"row": str, "setting": str, "value": str, "category": str})
    if n == 3:  # numbers, and one word (the optimizer)
        numbers = pd.to_numeric(frame["value"], errors="coerce").astype(object)
        frame["value"] = numbers.where(numbers.notna(), frame["value"])
    return frame


def by_class() -> pd.DataFrame:
    """Table 7's classes with Table 2's category, boxes and images, under Table 2's names (39 rows).

    The names differ in capitals only; a class that has no partner raises ValueError.
    """
    support = table(2, summaries=False)
    scores = table(7, summaries=False)
    names = support["row"].str.casefold()
    scores = scores.set_index(scores["row"].str.casefold()).drop(columns="row")
    lonely = sorted(set(names) ^ set(scores.index))
    if lonely:
        raise ValueError(f"Tables 2 and 7 do not name the same classes: {', '.join(lonely)}")
    return support.join(scores.loc[names].reset_index(drop=True))
