"""Tests of order: which row is above which, what costs most, what collapses, what rises.

Every test makes margins: differences that are above 0 where the claim is right.

- Of each metric the weakest margin counts. The claim holds if that is above 0 for every metric (or
  for ``at_least`` so many); the effect is the weakest margin that the claim needs.
- Weak is meant against noise: a margin is measured by half its interval, or by its size where a
  margin has no interval.
- One margin that is not above 0 refutes a claim even where others cannot be tested. To hold, a
  claim needs all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from openurine_lib.paper.claims import verdict as v
from openurine_lib.paper.claims.sources import Tables, mean, no_interval, same_footing
from openurine_lib.paper.claims.verdict import Effect, Finding, NotHere, Verdict, verdict

Place = Sequence[str]  # [table, row]


class Margins:
    """Collects margins, and the reasons why some comparisons cannot be made."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.untested: list[str] = []

    def add(
        self,
        a: pd.Series,
        b: pd.Series,
        metric: str,
        against: str,
        scale: float = 1.0,
        turned: bool = False,
    ) -> None:
        """Adds the margin scale · a - b (``turned``: b - scale · a), or why there is none."""
        try:
            first = mean(a, metric).times(scale)  # scaled where a claim sets a mark
            second = mean(b, metric)
            notes = same_footing(a, b)
            if first.value == second.value == 0:
                raise NotHere(f"{a['row']} and {b['row']}: nothing is found by either")
        # a slip in the ledger is no gap in a run
        except v.NoSuchRow:
            raise
        except NotHere as reason:
            self.untested.append(str(reason))
            return
        effect = second.minus(first) if turned else first.minus(second)
        if math.isnan(effect.low):  # one fold, or no deviation
            notes.append(no_interval(a, b))
        self.findings.append(Finding(metric, effect, f" {against}", notes))

    def verdict(self, at_least: int | None = None) -> Verdict:
        """By the weakest margin of each metric. Raises NotHere if what is there cannot decide."""
        # Weakness is measured against noise only where all margins have an interval.
        intervals = not any(math.isnan(finding.effect.low) for finding in self.findings)

        def strength(finding: Finding) -> float:
            value, low, high = finding.effect
            if not intervals or value == 0:
                return value
            half = (high - low) / 2
            # in units of its noise; without noise it is certain
            return value / half if half > 0 else math.copysign(math.inf, value)

        reasons = list(dict.fromkeys(self.untested))
        if not self.findings:
            raise NotHere("; ".join(reasons[:3]))
        of_metric: dict[str, list[Finding]] = {}
        for finding in self.findings:
            of_metric.setdefault(finding.metric, []).append(finding)
        # the weakest margin decides for its metric
        weakest = [min(findings, key=strength) for findings in of_metric.values()]
        ranked = sorted(weakest, key=strength, reverse=True)
        needed = min(at_least or len(ranked), len(ranked))
        decisive = ranked[needed - 1].effect  # the last one that must be above 0
        holds = decisive.value > 0

        listed = "; ".join([*reasons[:2], "..."] if len(reasons) > 2 else reasons)
        left_out = f"{len(reasons)} not compared ({listed})" if reasons else ""
        if holds and reasons:  # not all could be tested
            raise NotHere(left_out)
        texts = "; ".join(map(str, weakest))
        return verdict(holds, decisive, texts, v.noise(weakest), *v.notes(weakest), left_out)


def above(
    tables: Tables,
    table: int,
    row: str | list[str],
    metrics: list[str],
    others: list[str] | None = None,
    at_least: int | None = None,
    below: bool = False,
) -> Verdict:
    """Each row of ``row`` is above (or ``below``) each of ``others``; without these, above all."""
    names = [row] if isinstance(row, str) else row
    margins = Margins()
    for name in names:
        a = tables.row(table, name)
        for b in _others(tables, table, names, others):
            for metric in metrics:
                margins.add(a, b, metric, f"against {b['row']}", turned=below)
    return margins.verdict(at_least)


def _others(
    tables: Tables, table: int, names: list[str], others: list[str] | None
) -> list[pd.Series]:
    if others is not None:
        return [row for name in others for row in tables.rows(table, name)]
    compared = {name.casefold() for name in names}  # a row is not set against itself
    return [row for row in tables.rows(table) if row["row"].casefold() not in compared]


def costs_most(
    tables: Tables, full: Place, without: Place, others: list[Place], metrics: list[str]
) -> Verdict:
    """Going from ``full`` to ``without`` costs something, and more than going to any of ``others``.

    The full row cancels in the second part, so a margin is: the other row minus ``without``.
    """
    removed = tables.row(*without)
    rows = [tables.row(*place) for place in (full, *others)]
    words = ["lost from", *["more than"] * len(others)]
    margins = Margins()
    for row, word in zip(rows, words, strict=True):
        for metric in metrics:
            margins.add(removed, row, metric, f"{word} {row['row']}", turned=True)
    return margins.verdict()


def loses(
    tables: Tables, table: int, rows: list[str], reference: str, metrics: list[str], percent: float
) -> Verdict:
    """Each row has lost at least so many percent of the reference row's value.

    The margin is what the row lies below that mark, in the metric's unit.
    """
    whole = tables.row(table, reference)
    margins = Margins()
    for name in rows:
        row = tables.row(table, name)
        for metric in metrics:
            against = f"below the mark: {_loss(whole, row, metric):.1f} % lost at {name}"
            margins.add(whole, row, metric, against, scale=1 - percent / 100)
    return margins.verdict()


def loses_most(
    tables: Tables, table: int, rows: list[str], reference: str, metric: str, metrics: list[str]
) -> Verdict:
    """In each row, ``metric`` has lost a larger part of the reference's value than ``metrics``."""
    whole = tables.row(table, reference)
    gaps = []
    texts = []
    for name in rows:
        row = tables.row(table, name)
        same_footing(whole, row)
        losses = {m: _loss(whole, row, m) for m in dict.fromkeys([metric, *metrics])}
        if all(loss == 100 for loss in losses.values()):
            raise NotHere(f"nothing is found at {name}: all is lost alike")
        gaps.append(losses[metric] - max(loss for m, loss in losses.items() if m != metric))
        parts = ", ".join(f"{v.name_of(m)} {loss:.1f} %" for m, loss in losses.items())
        texts.append(f"at {name}: {parts}")
    dependent = "Metrics of one detector are not independent: no interval"
    return verdict(min(gaps) > 0, Effect(min(gaps)), "; ".join(texts), dependent)


def _loss(whole: pd.Series, row: pd.Series, metric: str) -> float:
    """Percent of the reference's value that is lost; NotHere if there is nothing to lose."""
    reference = mean(whole, metric).value
    if reference <= 0:
        raise NotHere(f"{whole['row']}: nothing is found, so nothing can be lost")
    return 100 * (1 - mean(row, metric).value / reference)


def rises(tables: Tables, table: int, rows: list[str], metrics: list[str]) -> Verdict:
    """Each row is above the one before it."""
    margins = Margins()
    for before, after in pairwise(tables.row(table, name) for name in rows):
        for metric in metrics:
            margins.add(after, before, metric, f"from {before['row']} to {after['row']}")
    return margins.verdict()
