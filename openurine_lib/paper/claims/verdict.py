"""What a claim is, what a test says of it, and the 95 % intervals of printed effects.

What the intervals of printed numbers assume. Folds count as independent, and so do two rows: the
paper prints no number of a single fold, so a difference cannot be paired, although both rows were
scored on the same folds. Pairing would mostly narrow the interval; that the folds share training
patients would widen it. Printed deviations are read as sample deviations (n - 1).

The intervals of a run are paired, and over patients (sources.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scipy.stats import beta, t

HOLDS, DOES_NOT, UNDECIDED = "holds", "does not hold", "undecided"
CANNOT = "cannot be tested here"
VERDICTS = (HOLDS, DOES_NOT, UNDECIDED, CANNOT)  # those that are counted
BY_CONSTRUCTION = "by construction"  # true of every run, whatever its detector does: not counted
INCLUDES_ZERO = "the interval includes zero"
NO_NUMBER = "—"
NAMES = {"map50": "mAP50", "map50_95": "mAP50-95"}  # as readers know them
LEVEL = 0.95


class BadClaims(ValueError):
    """An entry of claims.yaml that cannot be used; the message names its id."""


class NotHere(Exception):
    """Why a claim cannot be tested on the tables at hand."""


class NoSuchRow(NotHere):
    """A row or column that a table does not have. In the paper's tables: a slip in claims.yaml."""


@dataclass(frozen=True)
class Claim:
    """An entry of ``config/claims.yaml``: a claim in our words, where it stands, and its test."""

    id: str
    claim: str
    where: str
    test: str
    arguments: dict[str, Any] = field(default_factory=dict)
    unit: str = "points"  # of effect and interval; points: percentage points


class Effect(NamedTuple):
    """A number with the ends of its 95 % interval; they are NaN where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def outcome(self) -> str:
        """By the interval, where an effect above zero supports the claim."""
        if self.low > 0:
            return HOLDS
        return DOES_NOT if self.high < 0 else UNDECIDED  # also without an interval: NaN

    def within(self, tolerance: float) -> str:
        """The outcome of a claim that the effect is zero, give or take ``tolerance``."""
        if self.low >= -tolerance and self.high <= tolerance:
            return HOLDS
        return DOES_NOT if self.low > tolerance or self.high < -tolerance else UNDECIDED

    @property
    def open(self) -> bool:
        """Whether the interval includes zero."""
        return self.low <= 0 <= self.high

    def turned(self) -> Effect:
        return Effect(-self.value, -self.high, -self.low)

    def minus(self, x: float) -> Effect:
        return Effect(self.value - x, self.low - x, self.high - x)

    def text(self, without: str = "") -> str:
        """``+4.47 [-1.20, 10.14]``; ``without`` stands for a missing interval."""
        if math.isnan(self.value):
            return NO_NUMBER
        interval = without if math.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{round(self.value, 2) + 0:+.2f}{interval}"  # + 0: no "-0.00"


class Mean(NamedTuple):
    """A mean over folds; ``std`` is NaN where the table has none."""

    value: float
    std: float = math.nan
    folds: float = math.nan

    @property
    def variance(self) -> float:
        """Squared standard error; NaN without a deviation over two folds or more."""
        return self.std**2 / self.folds if self.folds >= 2 else math.nan  # of n folds

    def times(self, factor: float) -> Mean:
        return Mean(self.value * factor, self.std * abs(factor), self.folds)

    def minus(self, other: Mean) -> Effect:
        """The difference with Welch's interval: the two deviations need not be equal."""
        gap = self.value - other.value
        variance = self.variance + other.variance
        if math.isnan(variance) or variance == 0:  # 0: both are exact
            return Effect(gap, gap, gap) if variance == 0 else Effect(gap)
        # Welch and Satterthwaite's degrees of freedom
        parts = (mean.variance**2 / (mean.folds - 1) for mean in (self, other))  # n - 1 each
        half = t.ppf((1 + LEVEL) / 2, variance**2 / sum(parts)) * math.sqrt(variance)
        return Effect(gap, gap - half, gap + half)

    def effect(self) -> Effect:
        """With Student's interval: that of the difference from a zero without deviation."""
        return self.minus(Mean(0.0, 0.0, self.folds))  # Welch's is then Student's


def share(percent: float, n: float) -> Effect:
    """A share of n in percent, with Jeffreys' interval. n counts what may be taken as independent.

    Also for a mean of several shares of each of n patients: such a mean varies less than a single
    share of the same size does, so the interval is rather too wide than too narrow.
    """
    if not n > 0:
        return Effect(percent)
    hits = percent / 100 * n  # need not be whole
    # Jeffreys' prior: half a hit and half a miss
    low, high = beta.interval(LEVEL, hits + 0.5, n - hits + 0.5)
    # nothing and all are ends by definition
    low = 100 * float(low) if hits > 0 else 0.0
    high = 100 * float(high) if hits < n else 100.0
    return Effect(percent, low, high)


class Finding(NamedTuple):
    """The effect in one metric: what it was set against, and what to know of it."""

    metric: str
    effect: Effect
    against: str
    notes: list[str]

    def __str__(self) -> str:
        return f"{name_of(self.metric)} {self.effect.text()}{self.against}"


@dataclass(frozen=True)
class Verdict:
    """``effect`` with its 95 % interval (NaN where there is none; ``why`` then says so)."""

    outcome: str
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    why: str = ""


def verdict(outcome: str, effect: Effect, *why: str) -> Verdict:
    """A verdict; the reasons that are not empty are joined."""
    return Verdict(outcome, *effect, ". ".join(filter(None, why)))


def including_zero(findings: Iterable[Finding]) -> str:
    """Names the metrics whose interval includes zero; empty if there is none."""
    names = [name_of(finding.metric) for finding in findings if finding.effect.open]
    return f"{INCLUDES_ZERO}: {', '.join(names)}" if names else ""


def notes(findings: Iterable[Finding]) -> dict[str, None]:
    """What to know of the findings, each note once."""
    return dict.fromkeys(note for finding in findings for note in finding.notes)


def name_of(metric: str) -> str:
    return NAMES.get(metric, metric)
