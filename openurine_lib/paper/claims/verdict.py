"""What a claim is, what a test says of it, and the 95 % intervals of effects.

What the intervals assume. Folds count as independent, and so do two rows: the paper prints no
number of a single fold, so a difference cannot be paired, although both rows were scored on the
same folds. Pairing would mostly narrow the interval; that the folds share training patients would
widen it. Printed deviations are read as sample deviations (n - 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scipy.stats import beta, t

HOLDS, DOES_NOT, CANNOT = "holds", "does not hold", "cannot be tested here"
NOISE = "within fold noise"
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
    def noisy(self) -> bool:
        return self.low <= 0 <= self.high

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


def verdict(holds: bool, effect: Effect, *why: str) -> Verdict:
    """A verdict from a yes or no; the reasons that are not empty are joined."""
    return Verdict(HOLDS if holds else DOES_NOT, *effect, ". ".join(filter(None, why)))


def noise(findings: Iterable[Finding]) -> str:
    """Names the metrics whose interval includes zero; empty if there is none."""
    names = [name_of(finding.metric) for finding in findings if finding.effect.noisy]
    return f"{NOISE}: {', '.join(names)}" if names else ""


def notes(findings: Iterable[Finding]) -> dict[str, None]:
    """What to know of the findings, each note once."""
    return dict.fromkeys(note for finding in findings for note in finding.notes)


def name_of(metric: str) -> str:
    return NAMES.get(metric, metric)
