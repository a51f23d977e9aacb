"""Can a convention explain the precision of 79.6 % at 40 px (Table 6)?

Ultralytics counts a class without a detection as precise (100 %), as long as some detection of it
has a lower confidence. A detector that finds few classes then has a high mean precision. The paper
prints means over classes alone, so only the possible numbers of undetected classes can be computed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from openurine_lib.published import table

CLASSES = 39


def undetected_classes(precision: float, recall: float, classes: int = CLASSES) -> pd.DataFrame:
    """What printed means (percent) allow, if so many classes count as 100 without a detection.

    A row for every possible number: [undetected, detected, and the mean precision and recall of the
    detected classes]. A mean cannot lie outside of 0 to 100.
    """
    undetected = np.arange(classes)
    detected = classes - undetected
    rows = pd.DataFrame({
        "undetected": undetected,
        "detected": detected,
        "precision": (classes * precision - 100 * undetected) / detected,
        "recall": classes * recall / detected,
    })  # fmt: skip
    return rows[rows["precision"].between(0, 100) & rows["recall"].between(0, 100)]


def at_size(size: str = "40") -> pd.DataFrame:
    """``undetected_classes`` of a row of Table 6."""
    row = table(6).set_index("row").loc[size]
    return undetected_classes(row["precision"], row["recall"])


def as_at(size: str = "80", of: str = "40") -> pd.Series:
    """The row of ``at_size(of)`` whose detected classes are as precise as Table 6's at ``size``."""
    rows = at_size(of)
    precise = table(6).set_index("row").loc[size, "precision"]
    return rows.loc[(rows["precision"] - precise).abs().idxmin()]
