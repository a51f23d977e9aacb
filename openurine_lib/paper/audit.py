"""The paper's numbers checked against themselves: sums, means, tables against tables, tables against sentences.

Needs nothing but the published tables. A check is a small record (record.py): what the paper says stands in ``claim``,
in other words than the paper's, and every verdict is computed. Metrics are in percent.
"""

from __future__ import annotations

import pandas as pd

from openurine_lib.paper import audit_tables, audit_text
from openurine_lib.paper.audit_record import ADDS_UP, DOES_NOT, OBSERVATION, Check, as_text

__all__ = ["ADDS_UP", "DOES_NOT", "OBSERVATION", "Check", "checks", "frame"]

PARTS = (
    *(
        audit_tables.totals,
        audit_tables.class_averages,
        audit_tables.best_row,
        audit_tables.class_rows,
        audit_tables.clinical,
        audit_tables.same_rows,
    ),
    *(audit_text.heads, audit_text.input_sizes, audit_text.classes, audit_text.protocol),
)


def checks() -> list[Check]:
    """All checks: first the tables' own arithmetic, then what the text says of them."""
    return [check for part in PARTS for check in part()]


def frame() -> pd.DataFrame:
    """All checks as a table, one a row, numbers as text with the digits that the paper prints."""
    return pd.DataFrame(
        {
            "check": c.id,
            "where": c.where,
            "claim": c.claim,
            "published": as_text(c.published),
            "computed": as_text(c.computed),
            "tolerance": f"{c.tolerance:g}",
            "verdict": c.verdict,
            "computation": c.computation,
        }
        for c in checks()
    )
