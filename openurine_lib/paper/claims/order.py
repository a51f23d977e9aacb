"""Tests of order: which row is above which, what costs most, what collapses, what rises.

Every test makes margins: differences that are above 0 where the claim is right.

- A margin is decided by its interval: above 0, below 0, or undecided if the interval includes 0 or
  there is none. The sign of a margin alone decides nothing.
- Of each metric the weakest margin counts: the surest below 0, else one that is undecided. The
  claim holds if the weakest is above 0 for every metric (or for ``at_least`` so many); the effect
  is the weakest margin that the claim needs.
- One margin below 0 refutes a claim even where others cannot be tested. To hold, a claim needs all
  of them. Intervals are not widened for the number of margins, so that a claim of many margins is
  harder to uphold and easier to refute than one of a single margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from openurine_lib.evaluation import bootstrap
from openurine_lib.paper.claims import verdict as v
from openurine_lib.paper.claims.sources import Tables, mean, same_footing
from openurine_lib.paper.claims.verdict import (
    DOES_NOT,
    HOLDS,
    UNDECIDED,
    Effect,
    Finding,
    NotHere,
    Verdict,
    verdict,
)
from openurine_lib.published import METRICS

Place = Sequence[str]  # [table, row]
FROM_WEAK = (DOES_NOT, UNDECIDED, HOLDS)


class Margins:
    """Collects margins, and the reasons why some comparisons cannot be made."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
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
            values = [mean(row, metric).value for row in (a, b)]
            notes = same_footing(a, b)
            if values == [0, 0]:
                raise NotHere(f"{a['row']} and {b['row']}: nothing is found by either")
        # a slip in the ledger is no gap in a run
        except v.NoSuchRow:
            raise
        except NotHere as reason:
            self.untested.append(str(reason))
            return
        effect, note = self.tables.gap(a, b, metric, scale)  # scaled where a claim sets a mark
        notes += [note] if note else []
        effect = effect.turned() if turned else effect
        self.findings.append(Finding(metric, effect, f" {against}", notes))

    def verdict(self, at_least: int | None = None) -> Verdict:
        """By the weakest margin of each metric. Raises NotHere if some cannot be compared."""

        def strength(finding: Finding) -> tuple[int, float]:
            """First by what the interval says, then in units of its half."""
            value, low, high = finding.effect
            half = (high - low) / 2
            size = value / half if half > 0 else value
            return FROM_WEAK.index(finding.effect.outcome), size

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
        outcome = decisive.outcome

        listed = "; ".join([*reasons[:2], "..."] if len(reasons) > 2 else reasons)
        left_out = f"{len(reasons)} not compared ({listed})" if reasons else ""
        if outcome != DOES_NOT and reasons:  # not all could be tested
            raise NotHere(left_out)
        texts = "; ".join(map(str, weakest))
        zero = v.including_zero(weakest)
        return verdict(outcome, decisive, texts, zero, *v.notes(weakest), left_out)


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
    margins = Margins(tables)
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
    margins = Margins(tables)
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
    margins = Margins(tables)
    for name in rows:
        row = tables.row(table, name)
        for metric in metrics:
            against = f"below the mark: {_loss(whole, row, metric):.1f} % lost at {name}"
            margins.add(whole, row, metric, against, scale=1 - percent / 100)
    return margins.verdict()


def loses_most(
    tables: Tables, table: int, rows: list[str], reference: str, metric: str, metrics: list[str]
) -> Verdict:
    """In each row, ``metric`` has lost a larger part of the reference's value than ``metrics``.

    The margin is what it lost more than the metric that lost most of the others, in percent.
    """
    whole = tables.row(table, reference)
    gaps: list[Effect] = []
    texts = []
    for name in rows:
        row = tables.row(table, name)
        same_footing(whole, row)
        losses = {m: _loss(whole, row, m) for m in dict.fromkeys([metric, *metrics])}
        if all(loss == 100 for loss in losses.values()):
            raise NotHere(f"nothing is found at {name}: all is lost alike")
        gaps.append(_gap_of_losses(tables, whole, row, metric, losses))
        parts = ", ".join(f"{v.name_of(m)} {loss:.1f} %" for m, loss in losses.items())
        texts.append(f"at {name}: {parts}")
    weakest = min(gaps, key=lambda gap: (FROM_WEAK.index(gap.outcome), gap.value))
    none = "the metrics of one detector are not independent, and none is resampled: no interval"
    note = none if math.isnan(weakest.low) else ""
    zero = v.INCLUDES_ZERO if weakest.open else ""
    return verdict(weakest.outcome, weakest, "; ".join(texts), zero, note)


def _gap_of_losses(
    tables: Tables, whole: pd.Series, row: pd.Series, metric: str, losses: dict[str, float]
) -> Effect:
    """What ``metric`` lost more than the others, in percent of the whole row's values."""
    gap = losses[metric] - max(loss for m, loss in losses.items() if m != metric)
    pair = tables.pair(whole, row)
    if pair is None:
        return Effect(gap)
    reference, left = pair  # (1 + R, 4) each
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may find nothing at all
        lost = 100 * (1 - left[1:] / reference[1:])  # (R, 4)
    own = METRICS.index(metric)
    others = [METRICS.index(m) for m in losses if m != metric]
    resampled = lost[:, own] - lost[:, others].max(1)
    low, high = bootstrap.symmetric_interval(gap, resampled)
    return Effect(gap, float(low), float(high))


def _loss(whole: pd.Series, row: pd.Series, metric: str) -> float:
    """Percent of the reference's value that is lost; NotHere if there is nothing to lose."""
    reference = mean(whole, metric).value
    if reference <= 0:
        raise NotHere(f"{whole['row']}: nothing is found, so nothing can be lost")
    return 100 * (1 - mean(row, metric).value / reference)


def rises(tables: Tables, table: int, rows: list[str], metrics: list[str]) -> Verdict:
    """Each row is above the one before it."""
    margins = Margins(tables)
    for before, after in pairwise(tables.row(table, name) for name in rows):
        for metric in metrics:
            margins.add(after, before, metric, f"from {before['row']} to {after['row']}")
    return margins.verdict()
