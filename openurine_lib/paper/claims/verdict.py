"""A claim of the paper as data, and what a test says of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

HOLDS, DOES_NOT, CANNOT = "holds", "does not hold", "cannot be tested here"
NOISE = "within fold noise"
NAMES = {
    "precision": "precision",
    "recall": "recall",
    "map50": "mAP50",
    "map50_95": "mAP50-95",
}  # as readers know them


class BadClaims(ValueError):
    """An entry of claims.yaml that cannot be used; the message names its id."""


class NotHere(Exception):
    """Why a claim cannot be tested on the tables at hand."""


class NoSuchRow(NotHere):
    """A row or a column that a table does not have. In the paper's own tables: a slip in claims.yaml."""


@dataclass(frozen=True)
class Claim:
    """One entry of ``config/claims.yaml``: a claim in our words, where it stands, and the test with its arguments."""

    id: str
    claim: str
    where: str
    test: str
    arguments: dict[str, Any] = field(default_factory=dict)
    unit: str = "points"  # of effect and interval; points: percentage points


@dataclass(frozen=True)
class Verdict:
    """``effect`` with its 95 % interval (NaN where there is none; ``why`` then says so)."""

    outcome: str
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    why: str = ""


def number(effect: float, low: float, high: float, without: str = "") -> str:
    """An effect as text: ``+4.47 [-1.20, 10.14]``; ``without``: what to add where there is no interval."""
    if math.isnan(effect):
        return "—"
    return f"{round(effect, 2) + 0:+.2f}" + (
        without if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    )
