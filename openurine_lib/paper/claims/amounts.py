"""Tests of amounts: two numbers that agree, shares taken for something, percentages as counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from openurine_lib.paper.claims import verdict as v
from openurine_lib.paper.claims.sources import Tables, mean, need_own_network, no_interval
from openurine_lib.paper.claims.verdict import Effect, NotHere, Verdict, share, verdict

ROUNDED = 0.01  # what two roundings to two decimals can hide: of a mean, and of what it is taken of
BACKGROUND = "background"
A_COUNT = "a count: no interval applies"
INDEPENDENT = "Interval: boxes taken as independent"


def equal(
    tables: Tables,
    columns: list[str],
    this: dict[str, Any],
    that: dict[str, Any] | float,
    tolerance: float = ROUNDED,
) -> Verdict:
    """Two amounts agree within the tolerance (in print: within rounding); effect: this - that.

    An amount is a number, a row ({table, row}) or taken over all rows but totals and averages
    ({table, take: mean, sum or count}, ``weights``: a column, ``patients``: how many the shares are
    of). Of several columns the largest difference decides.
    """
    tolerance = ROUNDED if tables.published else tolerance  # in print, only rounding may differ
    findings = []
    for column in columns:
        # Set against a fixed number, ``this`` is a level; two amounts of one run are arithmetic.
        if isinstance(that, dict):
            amount, _ = _amount(tables, this, column)
            other = _amount(tables, that, column)[0].value
            effect = Effect(amount.value - other)
            note = "arithmetic: no interval applies"
        else:
            amount, note = _amount(tables, this, column, level=True)
            other = float(that)
            effect = amount.minus(other)
        against = f": {_plain(amount.value)} against {_plain(other)}"
        findings.append(v.Finding(column, effect, against, [note] if note else []))

    limit = tolerance + 1e-9  # 1e-9: floating point, not rounding in print
    decisive = max((finding.effect for finding in findings), key=lambda effect: abs(effect.value))
    apart = [finding for finding in findings if abs(finding.effect.value) > limit]
    texts = "; ".join(map(str, findings))
    notes = v.notes(findings)
    return verdict(not apart, decisive, texts, f"tolerance {tolerance:g}", v.noise(apart), *notes)


def _amount(
    tables: Tables, spec: dict[str, Any], column: str, level: bool = False
) -> tuple[Effect, str]:
    """An amount of ``equal``, and why it has no interval. ``level``: set against a fixed number."""
    take = spec.get("take")
    rows = tables.rows(spec["table"]) if take else [tables.row(spec["table"], spec["row"])]
    if level:
        need_own_network(rows[0])
    if not take:
        amount = mean(rows[0], column).effect()
        return amount, no_interval(rows[0]) if math.isnan(amount.low) else ""

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
        return Effect(average), no_interval(rows[0])
    # the fewest: the widest interval
    patients = spec["patients"] if tables.published else float(frame["patients"].min())
    return share(average, patients), f"interval over {patients:g} patients"


def _plain(x: float) -> str:
    return f"{x:.2f}".removesuffix(".00")


def taken_for(
    tables: Tables, component: str, called: str, percent: float, tolerance: float
) -> Verdict:
    """Of the missed boxes of ``component``, so many percent were taken for ``called``.

    In a run the share is counted, and the effect is that share minus ``percent``. In print it
    stands in the text alone; what can be tested is whether Tables 2 and 7 allow it: boxes taken for
    ``called`` are false detections of it, and its precision says how many there are.
    """
    if tables.published:
        row = tables.row(7, component)
        other = tables.row(7, called)
        missed = row["boxes"] * (1 - row["recall"] / 100)
        # false = right * (1 / precision - 1), where right = boxes * recall
        false = other["boxes"] * other["recall"] / 100 * (100 / other["precision"] - 1)
        taken = percent / 100 * missed
        why = (
            f"a share of the text alone; {percent:g} % of {missed:.0f} missed {component} are "
            f"{taken:.0f} boxes, and Tables 2 and 7 leave {false:.0f} false {called}"
        )
        return verdict(taken <= false, share(percent, missed).minus(percent), why, INDEPENDENT)
    row = tables.row("7_rbc_wbc", f"missed {component} taken for {called}")
    counted = mean(row, "percent").value
    need_own_network(row)
    effect = share(counted, row["missed"]).minus(percent)
    missed = f"{row['taken']:.0f} of {row['missed']:.0f} missed {component}"
    why = f"{missed}: {counted:.1f} % against {percent:g} %"
    holds = abs(effect.value) <= tolerance
    return verdict(holds, effect, why, f"Tolerance {tolerance:g}", INDEPENDENT)


def mostly_taken_for(tables: Tables, component: str, called: str) -> Verdict:
    """Boxes of ``component`` that are called something else are mostly called ``called``.

    With ``called: background`` the boxes that nothing found compete; without, only those that are
    called something. The effect: ``called`` minus the most frequent other, in percent of the two
    together; so is the interval.
    """
    counts = tables.row("7_confusion", component).drop(labels="row").astype(float)
    counts.index = counts.index.str.casefold()
    right = component.casefold()
    wanted = called.casefold()
    if right not in counts or wanted not in counts:
        raise NotHere(f"the confusion matrix has no {component} or no {called}")
    if counts.sum() == 0:
        raise NotHere(f"{component}: no true box in the scored fields")
    # nothing found is no rival unless asked
    wrong = counts.drop(labels=[right] if called == BACKGROUND else [right, BACKGROUND])
    if wrong.sum() == 0:
        raise NotHere(f"none of {counts.sum():.0f} true {component} is called anything else")
    others = wrong.drop(labels=wanted)
    taken = wrong[wanted]
    most = others.max()  # 0 if nothing else
    part = share(100 * taken / (taken + most), taken + most)
    effect = Effect(*(2 * x - 100 for x in part))  # from a share of two to their difference
    rival = others.idxmax() if most else "others"
    all_wrong = f"of {wrong.sum():.0f} {component} that went wrong"
    why = f"{all_wrong}, {taken:.0f} as {called}, {most:.0f} as {rival}"
    noise = "within counting noise" if effect.noisy else ""
    return verdict(taken > most, effect, why, noise, INDEPENDENT)


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
    return verdict(not misfits, Effect(float(-len(misfits))), why, "A count: no interval applies")


def over(tables: Tables, table: str, row: str, column: str, least: float) -> Verdict:
    """A number of a run's table is above ``least``; the effect is by how much.

    The interval is the table's own (columns <column>_low and <column>_high).
    """
    line = tables.row(table, row)
    if pd.isna(line[column]):
        raise NotHere(f"{row}: {line.get('note') or 'no number'}")
    value = mean(line, column).value
    ends = (float(line.get(f"{column}_{end}", math.nan)) for end in ("low", "high"))
    effect = Effect(value, *ends).minus(least)
    noise = "The interval includes it" if effect.noisy else ""
    few = "Few groups: no interval" if math.isnan(effect.low) else ""
    why = f"{v.name_of(column)} {_plain(value)} against {_plain(least)}"
    return verdict(effect.value > 0, effect, why, noise or few)
