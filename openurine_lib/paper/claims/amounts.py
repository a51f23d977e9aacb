"""Tests of amounts: two numbers that agree, shares taken for something, percentages as counts.

Two amounts agree if the interval of their difference lies within the tolerance, and do not agree if
it lies outside of it; else that is undecided. Arithmetic needs no interval: whether a printed mean
is the mean of the printed rows is certain. In a run, the same arithmetic holds by construction.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from openurine_lib.evaluation.confusion import OVERLOOKED, confused
from openurine_lib.paper.claims import verdict as v
from openurine_lib.paper.claims.sources import Tables, mean, need_own_network
from openurine_lib.paper.claims.verdict import (
    BY_CONSTRUCTION,
    DOES_NOT,
    HOLDS,
    UNDECIDED,
    Effect,
    NotHere,
    Verdict,
    share,
    verdict,
)

ROUNDED = 0.01  # what two roundings to two decimals can hide: of a mean, and of what it is taken of
A_COUNT = "a count: no interval applies"
ARITHMETIC = "arithmetic: no interval applies"
FEW = "few patients or slides: no interval"
DRAWN = "the fields are drawn to the profile's counts"


def equal(
    tables: Tables,
    columns: list[str],
    this: dict[str, Any],
    that: dict[str, Any] | float,
    tolerance: float = ROUNDED,
) -> Verdict:
    """Two amounts agree within the tolerance (in print: within rounding); effect: this - that.

    Set against a fixed number, an amount of a run is a level and has an interval. All else is
    arithmetic.
    An amount is a number, a row ({table, row}) or taken over all rows but totals and averages
    ({table, take: mean, sum or count}, ``weights``: a column, ``patients``: how many the shares are
    of). Of several columns the largest difference decides.
    """
    # in print, only rounding may differ; 1e-9: floating point
    tolerance = ROUNDED if tables.published else tolerance
    limit = tolerance + 1e-9
    counted = this.get("take") in ("count", "sum")
    exact = tables.published or counted or isinstance(that, dict)
    findings = []
    outcomes = []
    for column in columns:
        amount, note = _amount(tables, this, column, level=not exact)
        other = _amount(tables, that, column)[0].value if isinstance(that, dict) else float(that)
        effect = amount.minus(other)
        outcomes.append(effect.within(limit))
        if exact:
            effect, note = Effect(effect.value), A_COUNT if counted else ARITHMETIC
            outcomes[-1] = HOLDS if abs(effect.value) <= limit else DOES_NOT
        against = f": {_plain(amount.value)} against {_plain(other)}"
        findings.append(v.Finding(column, effect, against, [note] if note else []))

    # one column that differs decides; else one that may
    outcome = next((o for o in (DOES_NOT, UNDECIDED) if o in outcomes), HOLDS)
    if counted and tables.drawn:
        if outcome != HOLDS:
            raise NotHere(DRAWN)
        outcome = BY_CONSTRUCTION
    elif isinstance(that, dict) and outcome == HOLDS and not tables.published:
        outcome = BY_CONSTRUCTION
    decisive = max((finding.effect for finding in findings), key=lambda effect: abs(effect.value))
    texts = "; ".join(map(str, findings))
    return verdict(outcome, decisive, texts, f"tolerance {tolerance:g}", *v.notes(findings))


def _amount(
    tables: Tables, spec: dict[str, Any], column: str, level: bool = False
) -> tuple[Effect, str]:
    """An amount of ``equal``, and why it has no interval. ``level``: set against a fixed number."""
    take = spec.get("take")
    rows = tables.rows(spec["table"]) if take else [tables.row(spec["table"], spec["row"])]
    if level:
        need_own_network(rows[0])
    if not take:
        return tables.level(rows[0], column) if level else (Effect(mean(rows[0], column).value), "")

    frame = pd.DataFrame(rows).dropna(subset=[column])  # a class without boxes counts in no mean
    if frame.empty:
        raise NotHere(f"Table {spec['table']}: no row has a number")
    numbers = frame[column].astype(float)
    if take == "count":
        return Effect(float((numbers > 0).sum())), A_COUNT
    if take == "sum":
        return Effect(float(numbers.sum())), A_COUNT
    if take != "mean":
        raise TypeError(f"take is mean, sum or count, not {take!r}")
    weights = frame[spec["weights"]].astype(float) if "weights" in spec else None
    average = float(np.average(numbers, weights=weights))
    if "patients" not in spec:
        return Effect(average), "a mean of rows: no interval"
    # the fewest: the widest interval
    patients = spec["patients"] if tables.published else float(frame["patients"].min())
    return share(average, patients), f"interval over {patients:g} patients"


def _plain(x: float) -> str:
    return f"{x:.2f}".removesuffix(".00")


def taken_for(
    tables: Tables, component: str, called: str, percent: float, tolerance: float
) -> Verdict:
    """Of the missed boxes of ``component``, so many percent were taken for ``called``.

    In a run the share is that of ``confusion.confused``, with its interval over patients, and the
    effect is the share minus ``percent``. In print it stands in the text alone. There it can be
    refuted, if Tables 2 and 7 leave too few false detections of ``called`` (its precision says how
    many there are), but not confirmed.
    """
    if tables.published:
        row = tables.row(7, component)
        other = tables.row(7, called)
        missed = row["boxes"] * (1 - row["recall"] / 100)
        # false = right * (1 / precision - 1), where right = boxes * recall
        false = other["boxes"] * other["recall"] / 100 * (100 / other["precision"] - 1)
        taken = percent / 100 * missed
        why = (
            f"a share of the text alone: no interval; {percent:g} % of {missed:.0f} missed "
            f"{component} are {taken:.0f} boxes; Tables 2 and 7 leave {false:.0f} false {called}"
        )
        return verdict(UNDECIDED if taken <= false else DOES_NOT, Effect(), why)
    row = tables.row("7_rbc_wbc", confused(component, called))
    need_own_network(row)
    effect = _with_ends(row, "percent").minus(percent)
    missed = f"{row['taken']:.0f} of {row['missed']:.0f} missed {component}"
    why = f"{missed}: {row['percent']:.1f} % against {percent:g} %"
    few = FEW if math.isnan(effect.low) else ""
    return verdict(effect.within(tolerance), effect, why, f"tolerance {tolerance:g}", few)


def mostly_taken_for(tables: Tables, component: str, called: str) -> Verdict:
    """The missed boxes of ``component`` are mostly taken for ``called``.

    With ``called: nothing`` those compete that no detection covers; without, only those that some
    detection covers. The effect is how far ``called`` leads the most frequent other, in percent of
    the missed boxes (``confusion.confused``), with its interval over patients.
    """
    row = tables.row("7_rbc_wbc", confused(component, called))
    effect = _with_ends(row, "lead")
    nothing = "nothing found" if called == OVERLOOKED else f"as {called}"
    rival = f"{row['rival_taken']:.0f} as {row['rival']}"
    why = f"of {row['missed']:.0f} missed {component}, {row['taken']:.0f} {nothing}, {rival}"
    zero = v.INCLUDES_ZERO if effect.open else ""
    few = FEW if math.isnan(effect.low) else ""
    return verdict(effect.outcome, effect, why, zero, few)


def _with_ends(row: pd.Series, column: str) -> Effect:
    """A number of a run's table with its interval, columns <column>_low and <column>_high."""
    value = mean(row, column).value
    return Effect(value, *(float(row.get(f"{column}_{end}", math.nan)) for end in ("low", "high")))


def counted(tables: Tables, table: int, column: str, patients: int) -> Verdict:
    """Each percentage is a share of so many patients (in a run: of as many as its table says).

    The effect is minus the number of rows that no count rounds to.
    """
    rows = [row for row in tables.rows(table) if not pd.isna(row[column])]
    if not rows:
        raise NotHere(f"Table {table}: no row has a number")
    misfits = []
    for row in rows:
        n = patients if tables.published else row["patients"]
        percent = mean(row, column).value
        nearest = 100 * round(percent * n / 100) / n  # the count that the percentage means
        if abs(nearest - percent) > ROUNDED / 2 + 1e-9:
            misfits.append(row["row"])
    names = f"; not: {', '.join(misfits)}" if misfits else ""
    why = f"{len(rows) - len(misfits)} of {len(rows)} rows are{names}"
    fits = HOLDS if tables.published else BY_CONSTRUCTION  # a run's accuracies are counted so
    return verdict(DOES_NOT if misfits else fits, Effect(float(-len(misfits))), why, A_COUNT)


def over(tables: Tables, table: str, row: str, column: str, least: float) -> Verdict:
    """A number of a run's table is above ``least``; the effect is by how much.

    The interval is the table's own (columns <column>_low and <column>_high).
    """
    line = tables.row(table, row)
    if pd.isna(line[column]):
        raise NotHere(f"{row}: {line.get('note') or 'no number'}")
    found = _with_ends(line, column)
    effect = found.minus(least)
    zero = v.INCLUDES_ZERO if effect.open else ""
    few = FEW if math.isnan(effect.low) else ""
    why = f"{v.name_of(column)} {_plain(found.value)} against {_plain(least)}"
    return verdict(effect.outcome, effect, why, zero, few)
