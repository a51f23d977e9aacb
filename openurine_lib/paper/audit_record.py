"""One comparison as data, and the two that recur: a number against a number, and a list that should be empty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ROUNDED = 0.005  # what printing a percentage to two decimals can hide
ROUNDED_MEAN = (
    2 * ROUNDED
)  # in a mean: the mean is rounded, and so are the numbers that it is taken of
ADDS_UP, DOES_NOT, OBSERVATION = "adds up", "does not add up", "observation"


@dataclass(frozen=True)
class Check:
    """``holds`` is None for an observation: worth knowing, and nothing that the paper says contradicts it."""

    id: str
    where: str
    claim: str
    published: float | str
    computed: float | str
    holds: bool | None
    computation: str
    tolerance: float = 0.0

    @property
    def verdict(self) -> str:
        return OBSERVATION if self.holds is None else ADDS_UP if self.holds else DOES_NOT


def equal(
    id: str,
    where: str,
    claim: str,
    published: float,
    computed: float,
    computation: str,
    tolerance: float = 0.0,
) -> Check:
    """Holds if the two numbers differ by the tolerance at most."""
    holds = (
        abs(float(published) - float(computed)) <= tolerance + 1e-9
    )  # 1e-9: floating point, not rounding in print
    return Check(id, where, claim, published, computed, holds, computation, tolerance)


def none(id: str, where: str, claim: str, offenders: Iterable[str], computation: str) -> Check:
    """Holds if there are no offenders."""
    found = ", ".join(offenders)
    return Check(id, where, claim, "none", found or "none", not found, computation)


def as_text(value: float | str) -> str:
    """Counts as they are, percentages to two decimals as the paper prints them."""
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value)
