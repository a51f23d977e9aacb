"""Tests of order: which row is above which, what costs most, what collapses, what rises.

Every test makes margins: differences that are above 0 where the claim is right. Of each metric the weakest counts. The
claim holds if that is above 0 for every metric (or for ``at_least`` so many); the effect is the weakest margin that
it needs. Weak is meant against noise: a margin is measured by half its interval, and by its size where there is none.
One margin that is not above 0 refutes a claim even where others cannot be taken; to hold, it needs all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pandas as pd

from openurine_lib.paper.claims.intervals import of_difference
from openurine_lib.paper.claims.sources import Tables, mean, name_of, no_interval, same_footing
from openurine_lib.paper.claims.verdict import (
    DOES_NOT,
    HOLDS,
    NOISE,
    NoSuchRow,
    NotHere,
    Verdict,
    number,
)

Place = Sequence[str]  # [table, row]


@dataclass(frozen=True)
class Margin:
    metric: str
    effect: float
    low: float
    high: float
    against: str
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        return f"{name_of(self.metric)} {number(self.effect, self.low, self.high)} {self.against}"

    def strength(self, against_noise: bool) -> float:
        """By which margins are ranked; above 0 where the effect is."""
        if not against_noise or self.effect == 0:
            return self.effect
        half = (self.high - self.low) / 2
        return self.effect / half if half > 0 else math.copysign(math.inf, self.effect)


class Margins:
    """Collects margins, and the comparisons that cannot be made with their reasons."""

    def __init__(self) -> None:
        self.taken: list[Margin] = []
        self.untested: list[str] = []

    def add(
        self,
        a: pd.Series,
        b: pd.Series,
        metric: str,
        against: str,
        *,
        scale: float = 1.0,
        sign: int = 1,
    ) -> None:
        """The margin scale · a - b (sign 1) or b - scale · a (sign -1)."""
        try:
            pair = mean(a, metric).times(scale), mean(b, metric)
            notes = same_footing(a, b)
            if pair[0].value == pair[1].value == 0:
                raise NotHere(f"{a['row']} and {b['row']}: nothing is found by either")
            low, high = of_difference(*pair) if sign > 0 else of_difference(*reversed(pair))
            effect = sign * (pair[0].value - pair[1].value)
        except NoSuchRow:
            raise
        except NotHere as reason:
            self.untested.append(str(reason))
            return
        notes = [*notes, no_interval(a, b)] if math.isnan(low) else notes
        self.taken.append(Margin(metric, effect, low, high, against, notes))

    def verdict(self, at_least: int | None = None) -> Verdict:
        """By the weakest margin of each metric; see the module. Raises NotHere if what is there cannot decide."""
        noise = not any(math.isnan(m.low) for m in self.taken)
        weakest: dict[str, Margin] = {}
        for m in self.taken:
            if m.metric not in weakest or m.strength(noise) < weakest[m.metric].strength(noise):
                weakest[m.metric] = m
        reasons = list(dict.fromkeys(self.untested))
        left_out = f"{len(reasons)} not compared ({'; '.join(reasons[:2])}{'; ...' if len(reasons) > 2 else ''})"
        if not weakest:
            raise NotHere("; ".join(reasons[:3]))
        ranked = sorted(weakest.values(), key=lambda m: m.strength(noise), reverse=True)
        needed = min(at_least or len(ranked), len(ranked))
        decides = ranked[needed - 1]
        holds = decides.effect > 0
        if holds and reasons:
            raise NotHere(left_out)
        why = ["; ".join(m.text() for m in weakest.values())]
        noisy = [name_of(m.metric) for m in weakest.values() if m.low <= 0 <= m.high]
        why += [f"{NOISE}: {', '.join(noisy)}"] if noisy else []
        why += dict.fromkeys(note for m in weakest.values() for note in m.notes)
        why += [left_out] if reasons else []
        return Verdict(
            HOLDS if holds else DOES_NOT, decides.effect, decides.low, decides.high, ". ".join(why)
        )


def above(
    tables: Tables,
    table: int,
    row: str | list[str],
    metrics: list[str],
    others: list[str] | None = None,
    at_least: int | None = None,
    below: bool = False,
) -> Verdict:
    """The row (each, of several) is above each of ``others`` (left out: above every other row of the table)."""
    names = [row] if isinstance(row, str) else row
    margins = Margins()
    for a in (tables.row(table, name) for name in names):
        for b in _others(tables, table, names, others):
            for metric in metrics:
                margins.add(a, b, metric, f"against {b['row']}", sign=-1 if below else 1)
    return margins.verdict(at_least)


def costs_most(
    tables: Tables, full: Place, without: Place, others: list[Place], metrics: list[str]
) -> Verdict:
    """Going from ``full`` to ``without`` costs something, and more than going to any of ``others``.

    The full row cancels in the second part, so a margin is: the other row minus ``without``.
    """
    a, margins = tables.row(*without), Margins()
    rows = [(tables.row(*full), "lost from")] + [
        (tables.row(*place), "more than") for place in others
    ]
    for b, word in rows:
        for metric in metrics:
            margins.add(a, b, metric, f"{word} {b['row']}", sign=-1)
    return margins.verdict()


def loses(
    tables: Tables, table: int, rows: list[str], reference: str, metrics: list[str], percent: float
) -> Verdict:
    """Each row has lost at least so many percent of the reference row's value.

    The margin is what the row lies below that mark, in the metric's unit.
    """
    whole, margins = tables.row(table, reference), Margins()
    for name in rows:
        for metric in metrics:
            b = tables.row(table, name)
            lost = _loss(whole, b, metric)
            said = f"below the mark: {lost:.1f} % lost at {name}"
            margins.add(whole, b, metric, said, scale=1 - percent / 100)
    return margins.verdict()


def loses_most(
    tables: Tables, table: int, rows: list[str], reference: str, metric: str, metrics: list[str]
) -> Verdict:
    """In each row, ``metric`` has lost a larger part of the reference row's value than any of ``metrics`` has."""
    whole, gaps = tables.row(table, reference), []
    for name in rows:
        row = tables.row(table, name)
        same_footing(whole, row)
        lost = {m: _loss(whole, row, m) for m in dict.fromkeys([metric, *metrics])}
        if all(x == 100 for x in lost.values()):
            raise NotHere(f"nothing is found at {name}: all is lost alike")
        gap = lost[metric] - max(x for m, x in lost.items() if m != metric)
        gaps.append(
            (gap, f"at {name}: " + ", ".join(f"{name_of(m)} {x:.1f} %" for m, x in lost.items()))
        )
    why = (
        "; ".join(text for _, text in gaps)
        + ". Metrics of one detector are not independent: no interval"
    )
    effect = min(gap for gap, _ in gaps)
    return Verdict(HOLDS if effect > 0 else DOES_NOT, effect, why=why)


def rises(tables: Tables, table: int, rows: list[str], metrics: list[str]) -> Verdict:
    """Each row is above the one before it."""
    margins = Margins()
    for before, after in pairwise(tables.row(table, name) for name in rows):
        for metric in metrics:
            margins.add(after, before, metric, f"from {before['row']} to {after['row']}")
    return margins.verdict()


def _others(
    tables: Tables, table: int, names: list[str], others: list[str] | None
) -> Iterator[pd.Series]:
    if others is None:
        mine = {name.casefold() for name in names}
        yield from (row for row in tables.rows(table) if row["row"].casefold() not in mine)
    else:
        for name in others:
            yield from tables.rows(table, name)


def _loss(whole: pd.Series, row: pd.Series, metric: str) -> float:
    """Percent of the reference's value that is lost; NotHere if there is nothing to lose."""
    reference = mean(whole, metric).value
    if reference <= 0:
        raise NotHere(f"{whole['row']}: nothing is found, so nothing can be lost")
    return 100 * (1 - mean(row, metric).value / reference)
