"""95 % intervals: of a mean over folds, of the difference of two, and of shares.

What they assume. Folds count as independent, and so do two rows: the paper prints no number of a single fold, so a
difference cannot be paired, although both rows were scored on the same folds. Pairing would mostly narrow the interval;
that the folds share training patients would widen it. Printed deviations are read as sample deviations (n - 1).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import beta, t

LEVEL = 0.95
NONE = (math.nan, math.nan)


class Mean(NamedTuple):
    """A mean over folds; ``std`` is NaN where the table has none."""

    value: float
    std: float = math.nan
    folds: float = math.nan

    @property
    def spread(self) -> float:
        """Squared standard error; NaN without a deviation over two folds or more."""
        return self.std**2 / self.folds if self.folds >= 2 else math.nan

    def times(self, factor: float) -> Mean:
        return Mean(self.value * factor, self.std * abs(factor), self.folds)


def of_mean(a: Mean) -> tuple[float, float]:
    """Student's interval of one mean."""
    if math.isnan(a.spread):
        return NONE
    half = t.ppf((1 + LEVEL) / 2, a.folds - 1) * math.sqrt(a.spread)
    return a.value - half, a.value + half


def of_difference(a: Mean, b: Mean) -> tuple[float, float]:
    """Welch's interval of a - b: the two deviations need not be equal."""
    both = a.spread + b.spread
    if math.isnan(both):
        return NONE
    gap = a.value - b.value
    if both == 0:
        return gap, gap
    freedom = both**2 / (a.spread**2 / (a.folds - 1) + b.spread**2 / (b.folds - 1))
    half = t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(both)
    return gap - half, gap + half


def of_share(percent: float, n: float) -> tuple[float, float]:
    """Jeffreys' interval of a share of n, in percent. n counts what may be taken as independent.

    Also for a mean of several shares of each of n patients: such a mean varies less than a single share of the same
    size does, so the interval is rather too wide than too narrow.
    """
    if not n > 0:
        return NONE
    hits = percent / 100 * n
    low, high = beta.interval(LEVEL, hits + 0.5, n - hits + 0.5)
    return 100 * float(low) if hits > 0 else 0.0, 100 * float(high) if hits < n else 100.0
