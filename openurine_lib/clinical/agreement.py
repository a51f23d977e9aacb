"""How well levels and counts agree with the reference: Table 8 and what it leaves out.

Intervals are 95 % percentile bootstrap over patients (Efron and Tibshirani 1993). A resample draws
patients, each with all components, so that the mean over components is treated as what it is. All
measures are functions of the 5 x 5 table of levels, which a resample weighs by how often it drew
each patient: one matrix product for all resamples. scipy's bootstrap and scikit-learn's kappa give
the same (``tests/clinical/test_agreement.py``), but would take minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
CURVE = tuple(2 ** np.linspace(-1, 1, 17))  # a half to twice
# Added to both counts of a ratio, so that a count of 0 has one (Bland and Altman's logarithms).
SEEN = 0.5
# why a number of Table 8 is missing
ABSENT = "the taxonomy names no such component"
NO_LEVEL = "no patient has a level both here and in the reference"


def table8(chosen: pd.DataFrame, fixed: pd.DataFrame) -> pd.DataFrame:
    """Table 8, the paper's accuracy and this run's: ``table8_components`` at the chosen points.

    ``accuracy_fixed``: the accuracy at the one fixed confidence (``fixed``: of
    ``table8_components``).
    """
    ends = {"accuracy_low": "accuracy_here_low", "accuracy_high": "accuracy_here_high"}
    columns = ["row", "patients", "accuracy", *ends, "within_one", "kappa", "reason"]
    at_fixed = fixed[["row", "accuracy"]].rename(columns={"accuracy": "accuracy_fixed"})
    here = chosen[columns].rename(columns=ends).merge(at_fixed, on="row")
    both = against_paper.beside(published.table(8), here).astype({"patients": "Int64"})
    both["reason"] = both["reason"].mask(~both["row"].isin(here["row"]), ABSENT)
    accuracies = ["accuracy_paper", "accuracy_here", *ends.values(), "accuracy_difference"]
    rest = ["accuracy_fixed", "within_one", "kappa", "reason"]
    return both[["row", "patients", *accuracies, *rest]]


def table8_components(
    pairs: pd.DataFrame, components: Sequence[str] = (), seed: int = 0
) -> pd.DataFrame:
    """Table 8 in full: [row, patients, present, <measure>, <measure>_low, <measure>_high, reason].

    ``pairs`` [group, component, level, level_here]. A row for every component of ``components`` or
    of the pairs, in the order of Table 8; the last is the mean over the components that have the
    measure. ``present``: patients who have it by the reference. ``reason``: why a measure is
    missing.
    """
    rows = in_order([*components, *pairs["component"]])
    tables = _tables(pairs, rows)
    point, low, high = _with_ends(_resampled(tables, seed))  # each (rows + 1, 5)
    patients = [*tables.sum((0, 2, 3)), len(tables)]  # the last is of the mean over components
    low[np.less(patients, 2)] = high[np.less(patients, 2)] = np.nan  # one alone cannot be resampled
    tally = pairs.groupby("component")["level"].agg(
        patients="size", present=lambda level: (level > 0).sum()
    )
    tally = tally.reindex(rows, fill_value=0)
    table = pd.DataFrame({"row": [*rows, MEAN]})
    table["patients"] = [*tally["patients"], pairs["group"].nunique()]
    table["present"] = pd.array([*tally["present"], None], "Int64")
    for i, measure in enumerate(MEASURES):
        table[measure] = point[:, i]
        table[f"{measure}_low"] = low[:, i]
        table[f"{measure}_high"] = high[:, i]
    # [:-1, -1]: kappa, without the mean's
    reasons = map(_reason, tally["patients"], tally["present"], point[:-1, -1])
    return table.assign(reason=[*reasons, NO_LEVEL if pairs.empty else ""])


def in_order(components: Iterable[str]) -> list[str]:
    """Each component once, those of Table 8 first and in its order."""
    printed = list(published.table(8, summaries=False)["row"])
    names = dict.fromkeys(components)
    return [*(c for c in printed if c in names), *(c for c in names if c not in printed)]


def _reason(patients: int, present: int, kappa: float) -> str:
    """Why a component lacks a measure."""
    if not patients:
        return "not in the reference"
    reasons = {
        "nobody has it: no sensitivity": present == 0,
        "everybody has it: no specificity": present == patients,
        "one level throughout: no kappa": np.isnan(kappa),
    }
    return "; ".join(text for text, applies in reasons.items() if applies)


def measures(tables: np.ndarray) -> np.ndarray:
    """MEASURES (..., 5), percent but for kappa, from tables of patients (..., 5, 5).

    A table counts patients by reference level (first) and level here. Sensitivity and specificity
    are for "present", any level above none. Kappa is Cohen's with quadratic weights (Cohen 1968,
    doi:10.1037/h0026256). NaN where a measure is 0 / 0: nobody has the component, everybody has it,
    or reference and prediction are one and the same level for all.
    """
    level = np.arange(N)
    distance = np.abs(np.subtract.outer(level, level))  # (5, 5)
    present, absent, known = level > 0, level == 0, level >= 0
    all_cells = np.outer(known, known)  # (5, 5)
    # of each share the cells that are right, and those that count
    right = [distance == 0, distance <= 1, np.outer(present, present), np.outer(absent, absent)]
    counted = [all_cells, all_cells, np.outer(present, known), np.outer(absent, known)]
    sums = [np.tensordot(tables, np.stack(cells), ((-2, -1), (1, 2))) for cells in (right, counted)]
    shares = 100 * _ratio(*sums)  # (..., 4)

    # kappa: the squared distances of the pairs, against those that the margins give by chance
    by_chance = tables.sum(-1)[..., :, None] * tables.sum(-2)[..., None, :]  # (..., 5, 5)
    # a product of margins is n times too large, so the observed side is taken n times, too
    observed = (tables * distance**2).sum((-2, -1)) * tables.sum((-2, -1))
    kappa = 1 - _ratio(observed, (by_chance * distance**2).sum((-2, -1)))
    return np.concatenate([shares, kappa[..., None]], axis=-1)


def accuracy_gain(
    pairs: pd.DataFrame, others: pd.DataFrame, seed: int = 0
) -> tuple[float, float, float]:
    """Mean accuracy of ``pairs`` minus that of ``others`` on the same patients, in points.

    Also the ends of its interval, which is paired: both are resampled alike.
    """
    rows = in_order(pairs["component"])
    # [:, -1, 0]: mean over components, accuracy
    of_both = (_resampled(_tables(frame, rows), seed)[:, -1, 0] for frame in (pairs, others))
    gain, low, high = _with_ends(np.subtract(*of_both))
    return float(gain), float(low), float(high)


def table8_confusion(pairs: pd.DataFrame, components: Sequence[str] = ()) -> pd.DataFrame:
    """[row, reference, none, rare, few, moderate, many]: patients by both levels.

    The reference's levels run down, the levels here across.
    """
    rows = in_order([*components, *pairs["component"]])
    counts = _tables(pairs, rows).sum(0).reshape(-1, N).astype(int)  # (rows * 5, 5)
    index = pd.MultiIndex.from_product([rows, LEVELS], names=["row", "reference"])
    return pd.DataFrame(counts, index, list(LEVELS)).reset_index()


def table8_sensitivity(
    pairs: pd.DataFrame,
    cutoffs: Mapping[str, list[float]],
    both: bool,
    factors: Sequence[float] = FACTORS,
    seed: int = 0,
) -> pd.DataFrame:
    """What depends on the cut-offs: [row, factor, accuracy, kappa and their _low and _high].

    All cut-offs are scaled. A component's rows are what scaling its cut-offs alone does; the mean's
    are what scaling all of them does. ``both``: the reference was graded from counts by the same
    cut-offs, and is graded anew too; a laboratory's levels stay.
    """
    tables = []
    for factor in factors:
        scaled = {name: [factor * cut for cut in cuts] for name, cuts in cutoffs.items()}
        again = pairs.assign(level_here=level_of(pairs, "count_here", scaled))
        if both:
            again["level"] = level_of(pairs, "count", scaled)
        tables.append(table8_components(again, seed=seed).assign(factor=factor))
    names = [f"{m}{end}" for m in ("accuracy", "kappa") for end in ("", "_low", "_high")]
    rows = list(tables[0]["row"])
    table = pd.concat(tables)[["row", "factor", *names]]
    return table.sort_values(
        "row", key=lambda r: r.map(rows.index), kind="stable", ignore_index=True
    )


def table8_counts(
    pairs: pd.DataFrame, components: Sequence[str] = (), seed: int = 0
) -> pd.DataFrame:
    """Counts against the reference's: [row, patients, reference, here, ratio, ..., least, most].

    Bland and Altman's limits of agreement on the logarithmic scale, since errors grow with counts
    (1999, doi:10.1177/096228029900800204). ``ratio``: the geometric mean of (here + SEEN) /
    (reference + SEEN), with its interval ``ratio_low``, ``ratio_high``. 95 % of patients are
    expected between ``least`` and ``most``, the mean -+ 1.96 standard deviations of the logarithm;
    NaN for fewer than two patients. ``reference`` and ``here`` are the mean counts.
    """
    lines = []
    rng = np.random.default_rng(seed)
    for row in in_order([*components, *pairs["component"]]):
        of_row = pairs[(pairs["component"] == row) & pairs["count"].notna()]
        logarithm = np.log(count_ratio(of_row).to_numpy(float))
        n = len(of_row)
        line = [row, n, of_row["count"].mean(), of_row["count_here"].mean()]
        line.append(np.exp(logarithm.mean()) if n else np.nan)
        if n > 1:
            drawn = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) @ logarithm / n  # (R,) means
            reach = np.array([-1.96, 1.96]) * logarithm.std(ddof=1)  # 95 % of a normal distribution
            line += [*np.exp(np.percentile(drawn, ENDS)), *np.exp(logarithm.mean() + reach)]
        lines.append(line + [np.nan] * (9 - len(line)))
    ends = ["ratio", "ratio_low", "ratio_high", "least", "most"]
    columns = ["row", "patients", "reference", "here", *ends]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(columns[2:], float))


def count_ratio(pairs: pd.DataFrame) -> pd.Series:
    """(count here + SEEN) / (the reference's + SEEN) of each row."""
    return (pairs["count_here"] + SEEN) / (pairs["count"] + SEEN)


def _tables(pairs: pd.DataFrame, rows: Sequence[str]) -> np.ndarray:
    """(patients, rows, 5, 5): a 1 where a patient's two levels meet; 0 if not reported."""
    patient, patients = pd.factorize(pairs["group"], sort=True)  # 0..n-1
    component = pd.Index(rows).get_indexer(pairs["component"])
    tables = np.zeros((len(patients), len(rows), N, N))
    levels = (pairs[column].to_numpy(int) for column in ("level", "level_here"))
    tables[(patient, component, *levels)] = 1
    return tables


def _resampled(tables: np.ndarray, seed: int) -> np.ndarray:
    """(1 + RESAMPLES, rows + 1, 5): first the measures of all patients, then of resampled ones."""
    n = len(tables)
    drawn = draws(n, RESAMPLES, seed) if n else np.empty((RESAMPLES, 0))
    times = np.vstack([np.ones(n), drawn])  # (1 + R, n): how often each patient counts
    # (1 + R, rows, 5): all tables of the drawn patients added up
    values = measures(np.tensordot(times, tables, 1))
    defined = ~np.isnan(values)
    # the last row: the mean over the components that have the measure
    mean = _ratio(np.where(defined, values, 0).sum(1), defined.sum(1))
    return np.concatenate([values, mean[:, None]], axis=1)


def _with_ends(values: np.ndarray) -> np.ndarray:
    """(3, ...): the first value, and the percentiles of the rest; all NaN where the first is."""
    ends = np.where(np.isnan(values[0]), np.nan, interval(values[1:]))
    return np.stack([values[0], *ends])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; NaN for 0 / 0."""
    undefined = np.full(np.broadcast(part, whole).shape, np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)
