"""How well levels and counts agree with the reference: Table 8 and what it leaves out, all with intervals.

Intervals are 95 % percentile bootstrap over patients (Efron and Tibshirani 1993): patients are drawn again, each with
all components, so that the mean over components is treated as what it is. All measures are functions of the 5 x 5 table
of levels, which a resample weighs by how often each patient was drawn: one matrix product for all resamples. scipy's
bootstrap and scikit-learn's kappa say the same (``tests/test_agreement.py``) and would take minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from openurine_lib import published
from openurine_lib.data.levels import LEVELS, level_of
from openurine_lib.evaluation.bootstrap import draws, interval
from openurine_lib.experiments import against_paper

MEASURES = ("accuracy", "within_one", "sensitivity", "specificity", "kappa")
(MEAN,) = published.SUMMARY_ROWS[8]
RESAMPLES, ENDS = 2000, (2.5, 97.5)
N = len(LEVELS)
FACTORS = (0.5, 0.71, 1.0, 1.41, 2.0)
CURVE = tuple(2 ** np.linspace(-1, 1, 17))
SEEN = 0.5  # added to both counts of a ratio, so that a count of 0 has one (Bland and Altman's logarithms)


def measures(tables: np.ndarray) -> np.ndarray:
    """(..., 5) from tables of patients (..., 5, 5) by reference level and level here: MEASURES, percent but for kappa.

    Sensitivity and specificity are for "present", any level above none. Kappa is Cohen's with quadratic weights (Cohen
    1968, doi:10.1037/h0026256). NaN where a measure is 0 / 0: nobody has the component, everybody has it, or
    reference and prediction are one and the same level for all.
    """
    apart = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
    total = tables.sum((-2, -1))
    by_chance = tables.sum(-1)[..., :, None] * tables.sum(-2)[..., None, :]
    disagree = _share(
        (tables * apart**2).sum((-2, -1)) * total, (by_chance * apart**2).sum((-2, -1))
    )
    return np.stack(
        [
            100 * _share((tables * (apart == 0)).sum((-2, -1)), total),
            100 * _share((tables * (apart <= 1)).sum((-2, -1)), total),
            100 * _share(tables[..., 1:, 1:].sum((-2, -1)), tables[..., 1:, :].sum((-2, -1))),
            100 * _share(tables[..., 0, 0], tables[..., 0, :].sum(-1)),
            1 - disagree,
        ],
        axis=-1,
    )


def agreement(pairs: pd.DataFrame, components: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Table 8 in full: [row, patients, present, <measure>, <measure>_low, <measure>_high, ..., reason].

    ``pairs`` [group, component, level, level_here]. A row for every component of ``components`` or of the pairs, in the
    order of Table 8; the last is the mean over the components that have the measure. ``present``: patients who have it
    by the reference. ``reason`` says why a measure is missing.
    """
    rows = _order([*components, *pairs["component"]])
    point, low, high = intervals(pairs, rows, seed)
    columns = {
        name: values
        for i, m in enumerate(MEASURES)
        for name, values in ((m, point[:, i]), (f"{m}_low", low[:, i]), (f"{m}_high", high[:, i]))
    }
    known = pairs.groupby("component")["level"].agg(
        patients="size", present=lambda level: (level > 0).sum()
    )
    known = known.reindex(rows, fill_value=0)
    table = pd.DataFrame({"row": [*rows, MEAN], **columns})
    table.insert(1, "patients", [*known["patients"], pairs["group"].nunique()])
    table.insert(2, "present", pd.array([*known["present"], None], "Int64"))
    reasons = map(_reason, known["patients"], known["present"], point[:-1, -1])
    table["reason"] = [*reasons, ""]
    return table


def table8(chosen: pd.DataFrame, fixed: pd.DataFrame) -> pd.DataFrame:
    """Table 8, the paper's accuracy and this run's, from ``agreement`` at the chosen operating points.

    ``accuracy_fixed``: the accuracy at the one fixed confidence (``fixed``: of ``agreement``).
    """
    ends = {end: f"accuracy_here{end}" for end in ("_low", "_high")}
    here = chosen[["row", "patients", "accuracy", "within_one", "kappa", "reason"]]
    here = here.assign(**{name: chosen[f"accuracy{end}"] for end, name in ends.items()})
    here = here.merge(
        fixed[["row", "accuracy"]].rename(columns={"accuracy": "accuracy_fixed"}), on="row"
    )
    both = against_paper.beside(published.table(8), here).astype({"patients": "Int64"})
    first = [
        "row",
        "patients",
        "accuracy_paper",
        "accuracy_here",
        *ends.values(),
        "accuracy_difference",
    ]
    return both[[*first, "accuracy_fixed", "within_one", "kappa", "reason"]]


def intervals(
    pairs: pd.DataFrame, rows: Sequence[str], seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(measures, lower ends, upper ends), each (len(rows) + 1, 5): the rows' and, last, their mean's.

    No ends (NaN) for fewer than two patients.
    """
    tables = _tables(pairs, rows)
    point = _with_mean(measures(tables.sum(0)))
    low, high = _ends(_resampled(tables, seed), point)
    few = (
        np.append(tables.sum((0, 2, 3)), len(tables)) < 2
    )  # of one patient there is nothing to draw
    low[few], high[few] = np.nan, np.nan
    return point, low, high


def gain(pairs: pd.DataFrame, others: pd.DataFrame, seed: int = 0) -> tuple[float, float, float]:
    """Mean accuracy of ``pairs`` minus that of ``others`` on the same patients, with its paired interval (points)."""
    rows = _order(pairs["component"])
    tables = [_tables(p, rows) for p in (pairs, others)]
    point, other = (_with_mean(measures(t.sum(0)))[-1, :1] for t in tables)
    drawn, other_drawn = (_resampled(t, seed)[:, -1, :1] for t in tables)
    low, high = _ends(drawn - other_drawn, point - other)
    return float((point - other)[0]), float(low[0]), float(high[0])


def confusion(pairs: pd.DataFrame, components: Sequence[str] = ()) -> pd.DataFrame:
    """[row, reference, none, rare, few, moderate, many]: patients by reference level (down) and level here (across)."""
    rows = _order([*components, *pairs["component"]])
    tables = _tables(pairs, rows).sum(0).reshape(-1, N).astype(int)
    table = pd.DataFrame(tables, columns=list(LEVELS))
    table.insert(0, "reference", list(LEVELS) * len(rows))
    table.insert(0, "row", np.repeat(rows, N))
    return table


def scaled(
    pairs: pd.DataFrame,
    cutoffs: Mapping[str, list[float]],
    both: bool,
    factors: Sequence[float] = FACTORS,
    seed: int = 0,
) -> pd.DataFrame:
    """What depends on the cut-offs: [row, factor, accuracy, kappa and their _low and _high] with all cut-offs scaled.

    A component's rows are what scaling its cut-offs alone does; the mean's are what scaling all of them does. ``both``:
    the reference was graded from counts by the same cut-offs, and is graded anew too; a laboratory's levels stay.
    """
    found = []
    for factor in factors:
        cuts = {component: [factor * c for c in cuts] for component, cuts in cutoffs.items()}
        again = pairs.assign(level_here=level_of(pairs, "count_here", cuts))
        if both:
            again["level"] = level_of(pairs, "count", cuts)
        found.append(agreement(again, seed=seed).assign(factor=factor))
    names = [f"{m}{end}" for m in ("accuracy", "kappa") for end in ("", "_low", "_high")]
    table, order = pd.concat(found)[["row", "factor", *names]], list(found[0]["row"])
    return table.sort_values(
        "row", key=lambda r: r.map(order.index), kind="stable", ignore_index=True
    )


def counts(pairs: pd.DataFrame, components: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Counts against the reference's: [row, patients, reference, here, ratio, ratio_low, ratio_high, least, most].

    Bland and Altman's limits of agreement on the logarithmic scale, since errors grow with counts (1999,
    doi:10.1177/096228029900800204): ``ratio`` is the geometric mean of (here + SEEN) / (reference + SEEN) with its
    interval; 95 % of patients are expected between ``least`` and ``most`` (mean -+ 1.96 standard deviations of the
    logarithm; NaN for fewer than two patients). ``reference`` and ``here`` are the mean counts.
    """
    table, rng = [], np.random.default_rng(seed)
    for row in _order([*components, *pairs["component"]]):
        p = pairs[(pairs["component"] == row) & pairs["count"].notna()]
        log, n = np.log(ratio(p).to_numpy(float)), len(p)
        line = {
            "row": row,
            "patients": n,
            "reference": p["count"].mean(),
            "here": p["count_here"].mean(),
        }
        line |= {"ratio": float(np.exp(log.mean())) if n else np.nan}
        if n > 1:
            drawn = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) @ log / n
            line |= dict(
                zip(("ratio_low", "ratio_high"), np.exp(np.percentile(drawn, ENDS)), strict=True)
            )
            limits = np.exp(log.mean() + np.array([-1.96, 1.96]) * log.std(ddof=1))
            line |= dict(zip(("least", "most"), limits, strict=True))
        table.append(line)
    columns = [
        "row",
        "patients",
        "reference",
        "here",
        "ratio",
        "ratio_low",
        "ratio_high",
        "least",
        "most",
    ]
    return pd.DataFrame(table, columns=columns).astype(dict.fromkeys(columns[2:], float))


def ratio(pairs: pd.DataFrame) -> pd.Series:
    """(count here + SEEN) / (the reference's + SEEN) of each row."""
    return (pairs["count_here"] + SEEN) / (pairs["count"] + SEEN)


def _tables(pairs: pd.DataFrame, rows: Sequence[str]) -> np.ndarray:
    """(patients, rows, 5, 5): a 1 where the patient's level by the reference and here meet; 0 if not reported."""
    groups = {g: i for i, g in enumerate(sorted(pairs["group"].unique()))}
    tables = np.zeros((len(groups), len(rows), N, N))
    places = {row: i for i, row in enumerate(rows)}
    at = (
        pairs["group"].map(groups),
        pairs["component"].map(places),
        pairs["level"],
        pairs["level_here"],
    )
    tables[tuple(column.to_numpy(int) for column in at)] = 1
    return tables


def _resampled(tables: np.ndarray, seed: int) -> np.ndarray:
    """(RESAMPLES, rows + 1, 5): the measures of resampled patients, and last their means."""
    n = len(tables)
    if n == 0:
        return np.full((RESAMPLES, tables.shape[1] + 1, len(MEASURES)), np.nan)
    times = draws(n, RESAMPLES, seed)  # (R, n)
    drawn = (times @ tables.reshape(n, -1)).reshape(RESAMPLES, *tables.shape[1:])
    return _with_mean(measures(drawn))


def _with_mean(values: np.ndarray) -> np.ndarray:
    """The mean over components (axis -2) as one more; of those only that have the measure."""
    there = ~np.isnan(values)
    mean = _share(np.where(there, values, 0).sum(-2), there.sum(-2))
    return np.concatenate([values, mean[..., None, :]], axis=-2)


def _ends(drawn: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles over resamples, without those that lack the measure; NaN where ``point`` is."""
    low, high = interval(drawn)
    return np.where(np.isnan(point), np.nan, low), np.where(np.isnan(point), np.nan, high)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(
        part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0
    )


def _order(components: Sequence[str] | pd.Series) -> list[str]:
    """Each once, those of Table 8 first and in its order."""
    printed = {row: i for i, row in enumerate(published.table(8, summaries=False)["row"])}
    return sorted(dict.fromkeys(components), key=lambda c: printed.get(c, len(printed)))


def _reason(patients: int, present: int, kappa: float) -> str:
    """Why a component lacks a measure."""
    if not patients:
        return "not in the reference"
    said = [
        (present == 0, "nobody has it: no sensitivity"),
        (present == patients, "everybody has it: no specificity"),
        (np.isnan(kappa), "one level throughout: no kappa"),
    ]
    return "; ".join(text for true, text in said if true)
