"""The numbers that the paper prints: Tables 1-8 as data, so that everything reproduced can be set beside them.

The files lie in ``config/published/table<n>.csv``: one number a cell, mean and standard deviation apart, every row
of the paper in its order. Table 2's descriptions and the reference numbers' links are left out: only numbers are kept.
"""

from __future__ import annotations

import functools

import pandas as pd

from openurine_lib.config import CONFIG

METRICS = [
    "precision",
    "recall",
    "map50",
    "map50_95",
]  # columns of Tables 4-7, in percent; each with ``_std`` in 4-6
SUMMARY_ROWS = {2: ["Total"], 7: ["Unweighted average", "Weighted average"], 8: ["Mean accuracy"]}
TABLES = range(1, 9)


def table(n: int, summaries: bool = True) -> pd.DataFrame:
    """Table n of the paper, as printed. Column ``row`` (text, unique) is the row's label; a dash in print is NaN.

    1: images, boxes. 2: category, boxes, images (of each class). 3: setting, value (lambda_i a row each; ``setting`` is
    the name in ``config/table3.yaml``, dotted where nested). 4, 5, 6: METRICS and their standard deviations over the
    five folds, in percent; the reference's number stands in brackets in a row of an earlier paper. 7: METRICS of each
    class, in percent. 8: accuracy, in percent.

    ``summaries=False`` leaves out the totals and averages that the paper prints as rows (SUMMARY_ROWS).
    Raises KeyError if there is no such table.
    """
    if n not in TABLES:
        raise KeyError(f"the paper has Tables 1-8, not {n!r}")
    frame = _read(n)
    return (
        frame.copy()
        if summaries
        else frame[~frame["row"].isin(SUMMARY_ROWS.get(n, []))].reset_index(drop=True)
    )


@functools.cache
def _read(n: int) -> pd.DataFrame:
    with (CONFIG / "published" / f"table{n}.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype={"row": str, "setting": str, "value": str, "category": str})
    if n == 3:  # numbers, and one word (the optimizer)
        numbers = pd.to_numeric(frame["value"], errors="coerce").astype(object)
        frame["value"] = numbers.where(numbers.notna(), frame["value"])
    return frame


def by_class() -> pd.DataFrame:
    """Table 7's classes with Table 2's category, boxes and images of each, under Table 2's spelling (39 rows).

    The two tables differ in capitals only; a class that has no partner raises ValueError.
    """
    support, scores = table(2, summaries=False), table(7, summaries=False)
    keyed = [frame.assign(key=frame["row"].str.casefold()) for frame in (support, scores)]
    joined = keyed[0].merge(
        keyed[1].drop(columns="row"), on="key", how="outer", indicator=True, sort=False
    )
    lonely = joined.loc[joined["_merge"] != "both", "key"].tolist()
    if lonely:
        raise ValueError(f"Tables 2 and 7 do not name the same classes: {', '.join(lonely)}")
    order = {name: i for i, name in enumerate(support["row"])}
    joined = joined.sort_values("row", key=lambda names: names.map(order), ignore_index=True)
    return joined.drop(columns=["key", "_merge"])
