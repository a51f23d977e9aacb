"""Tests of amounts: whether two numbers agree, what share is taken for what, whether percentages are counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from openurine_lib.paper.claims.intervals import NONE, Mean, of_mean, of_share
from openurine_lib.paper.claims.sources import Tables, mean, name_of, need_own_network, no_interval
from openurine_lib.paper.claims.verdict import DOES_NOT, HOLDS, NOISE, NotHere, Verdict, number

ROUNDED = 0.01  # what two roundings to two decimals can hide: of a mean, and of what it is taken of
BACKGROUND = "background"


def equal(
    tables: Tables,
    columns: list[str],
    this: dict[str, Any],
    that: dict[str, Any] | float,
    tolerance: float = ROUNDED,
) -> Verdict:
    """Two amounts agree within the tolerance (in print: within rounding); the effect is ``this`` minus ``that``.

    An amount is a number, a row ({table, row}) or taken over all rows but totals and averages ({table, take: mean, sum
    or count}, ``weights``: a column, ``patients``: how many the shares are of). Of several columns the largest
    difference decides.
    """
    tolerance = ROUNDED if tables.published else tolerance
    found = {}
    for column in columns:
        a, interval, note = _amount(tables, this, column, level=not isinstance(that, dict))
        b = (
            _amount(tables, that, column, level=False)[0].value
            if isinstance(that, dict)
            else float(that)
        )
        low, high = (x - b for x in interval) if not isinstance(that, dict) else NONE
        note = "arithmetic: no interval applies" if isinstance(that, dict) else note
        found[column] = a.value - b, low, high, f"{_plain(a.value)} against {_plain(b)}", note
    decides = max(found, key=lambda c: abs(found[c][0]))
    effect, low, high, _, _ = found[decides]
    holds = abs(effect) <= tolerance + 1e-9  # 1e-9: floating point, not rounding in print
    why = [
        "; ".join(f"{name_of(c)} {number(*f[:3])}: {f[3]}" for c, f in found.items()),
        f"tolerance {tolerance:g}",
    ]
    noisy = [name_of(c) for c, f in found.items() if not holds and f[1] <= 0 <= f[2]]
    why += [f"{NOISE}: {', '.join(noisy)}"] if noisy else []
    why += dict.fromkeys(f[4] for f in found.values() if f[4])
    return Verdict(HOLDS if holds else DOES_NOT, effect, low, high, ". ".join(why))


def _amount(
    tables: Tables, spec: dict[str, Any], column: str, level: bool
) -> tuple[Mean, tuple[float, float], str]:
    """An amount, its interval, and a word on it. ``level``: it is set against a fixed number."""
    table, take = spec["table"], spec.get("take")
    if take is None:
        row = tables.row(table, spec["row"])
        if level:
            need_own_network(row)
        value = mean(row, column)
        interval = of_mean(value)
        return value, interval, no_interval(row) if math.isnan(interval[0]) else ""
    rows = tables.rows(table)
    if level:
        need_own_network(rows[0])
    numbers = pd.DataFrame(rows).dropna(
        subset=[column]
    )  # a class without boxes has no metrics and counts in no mean
    if numbers.empty:
        raise NotHere(f"Table {table}: no row has a number")
    if take == "count":
        return Mean(float((numbers[column] > 0).sum())), NONE, "a count: no interval applies"
    if take == "sum":
        return Mean(float(numbers[column].sum())), NONE, "a count: no interval applies"
    if take != "mean":
        raise TypeError(f"take is mean, sum or count, not {take!r}")
    weights = numbers[spec["weights"]].astype(float) if "weights" in spec else None
    value = Mean(float(np.average(numbers[column].astype(float), weights=weights)))
    if "patients" not in spec:
        return value, NONE, no_interval(rows[0])
    patients = spec["patients"] if tables.published else float(numbers["patients"].min())
    return value, of_share(value.value, patients), f"interval over {patients:g} patients"


def _plain(x: float) -> str:
    return f"{x:.2f}".removesuffix(".00")


def taken_for(
    tables: Tables, component: str, called: str, percent: float, tolerance: float
) -> Verdict:
    """Of the missed boxes of one component, so many percent were taken for another; effect: the share minus that.

    In a run: counted. In print the share stands in the text alone; what can be tested is whether Tables 2 and 7 allow
    it: those taken for ``called`` are false detections of it, and its precision says how many there are.
    """
    if tables.published:
        a, b = tables.row(7, component), tables.row(7, called)
        missed = a["boxes"] * (1 - a["recall"] / 100)
        false = b["boxes"] * b["recall"] / 100 * (100 / b["precision"] - 1)
        taken = percent / 100 * missed
        low, high = (x - percent for x in of_share(percent, missed))
        why = (
            f"a share of the text alone; {percent:g} % of {missed:.0f} missed {component} are {taken:.0f} boxes, "
            f"and Tables 2 and 7 leave {false:.0f} false {called}. Interval: boxes taken as independent"
        )
        return Verdict(HOLDS if taken <= false else DOES_NOT, 0.0, low, high, why)
    row = tables.row("7_rbc_wbc", f"missed {component} taken for {called}")
    share = mean(row, "percent").value
    need_own_network(row)
    low, high = (x - percent for x in of_share(share, row["missed"]))
    holds = abs(share - percent) <= tolerance
    why = f"{row['taken']:.0f} of {row['missed']:.0f} missed {component}: {share:.1f} % against {percent:g} %. "
    why += f"Tolerance {tolerance:g}. Interval: boxes taken as independent"
    return Verdict(HOLDS if holds else DOES_NOT, share - percent, low, high, why)


def mostly_taken_for(tables: Tables, component: str, called: str) -> Verdict:
    """What is not called ``component`` of its boxes is called ``called`` more often than anything else.

    With ``called: background`` the boxes that nothing found compete; without, only those that are called something. The
    effect: ``called`` minus the most frequent other, in percent of the two together; so is the interval.
    """
    counts = tables.row("7_confusion", component).drop(labels="row").astype(float)
    counts.index = counts.index.str.casefold()
    if component.casefold() not in counts or called.casefold() not in counts:
        raise NotHere(f"the confusion matrix has no {component} or no {called}")
    if counts.sum() == 0:
        raise NotHere(f"{component}: no true box in the scored fields")
    wrong = counts.drop(labels=[component.casefold()] + [BACKGROUND] * (called != BACKGROUND))
    n = wrong.sum()
    if n == 0:
        raise NotHere(f"none of {counts.sum():.0f} true {component} is called anything else")
    rest = wrong.drop(labels=called.casefold())
    a, b = wrong[called.casefold()], rest.max()
    share = 100 * a / (a + b)
    effect, low, high = (
        2 * x - 100 for x in (share, *of_share(share, a + b))
    )  # of a share, of 50 %: of a difference
    why = f"of {n:.0f} {component} that went wrong, {a:.0f} as {called}, {b:.0f} as " + (
        rest.idxmax() if b else "others"
    )
    why += ". within counting noise" if low <= 0 <= high else ""
    return Verdict(
        HOLDS if a > b else DOES_NOT,
        effect,
        low,
        high,
        f"{why}. Interval: boxes taken as independent",
    )


def counted(tables: Tables, table: int, column: str, patients: int) -> Verdict:
    """Each percentage is a share of so many patients (in a run: of as many as its table says).

    The effect is minus the number of rows that no count rounds to.
    """
    rows, misfits = [row for row in tables.rows(table) if not pd.isna(row[column])], []
    if not rows:
        raise NotHere(f"Table {table}: no row has a number")
    for row in rows:
        n = patients if tables.published else row["patients"]
        share = mean(row, column).value
        if abs(100 * round(share * n / 100) / n - share) > ROUNDED / 2 + 1e-9:
            misfits.append(row["row"])
    why = f"{len(rows) - len(misfits)} of {len(rows)} rows are" + (
        f"; not: {', '.join(misfits)}" if misfits else ""
    )
    why += ". A count: no interval applies"
    return Verdict(DOES_NOT if misfits else HOLDS, float(-len(misfits)), why=why)


def over(tables: Tables, table: str, row: str, column: str, least: float) -> Verdict:
    """A number of a run's table is above ``least``; the effect is by how much.

    The interval is the table's own (columns <column>_low and <column>_high).
    """
    found = tables.row(table, row)
    if pd.isna(found[column]):
        raise NotHere(f"{row}: {found.get('note') or 'no number'}")
    value = mean(found, column).value - least
    low, high = (float(found.get(f"{column}_{end}", math.nan)) - least for end in ("low", "high"))
    why = f"{name_of(column)} {_plain(value + least)} against {_plain(least)}"
    why += (
        ". The interval includes it"
        if low <= 0 <= high
        else ". Few groups: no interval"
        if math.isnan(low)
        else ""
    )
    return Verdict(HOLDS if value > 0 else DOES_NOT, value, low, high, why)
