"""The detector that is used where none is named: the best that comes with this project.

THE RULE: of the results in ``carried/`` that have weights and a record of what they find
(``validation.json``), the one that has seen fields of the most cameras; of equals, the one with the
highest mAP50 on its held-out fields. A field from a laboratory that nobody has asked is like none
that was trained on, so cameras come first. To replace it, carry a better one (``workflow/carry.py
--weights``): nothing else names it.

In a checkout it lies in ``carried/``. An installed package holds a copy of it, which ``setup.py``
puts into ``openurine_lib/default/`` while a wheel is built, so that it is stored once. The build
imports this module, which therefore needs nothing but Python.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "default"
CARRIED = PACKAGE.parent / "carried"
WEIGHTS, RECORD, METRICS = "weights.safetensors", "validation.json", "metrics.csv"
CARD = "README.md"  # a forge shows it where the folder is opened
INSTALLED_FILES = (WEIGHTS, RECORD, METRICS, CARD)


class NoWeights(ValueError):
    """No detector comes with this installation."""


def path() -> Path:
    """The weights file. Raises NoWeights."""
    folder = INSTALLED if (INSTALLED / WEIGHTS).is_file() else best(CARRIED)
    if folder is None:
        raise NoWeights(
            "no detector comes with this installation; name one (--weights), or install from a "
            "checkout that has carried/"
        )
    return folder / WEIGHTS


def named(name: str) -> Path:
    """The weights file of a result in ``carried/``, by its run, row and fold. Raises NoWeights."""
    weights = CARRIED / name / WEIGHTS
    if not weights.is_file():
        raise NoWeights(f"{weights}: not there; a training starts from it, so use a checkout")
    return weights


def best(carried: Path) -> Path | None:
    """The folder that THE RULE chooses; None if nothing qualifies."""
    folders = [file.parent for file in sorted(carried.glob(f"*/*/*/{WEIGHTS}"))]
    complete = [f for f in folders if (f / RECORD).is_file() and (f / METRICS).is_file()]
    return max(complete, key=lambda folder: (cameras(folder), map50(folder)), default=None)


def cameras(folder: Path) -> int:
    """Of how many laboratories the drawn fields were; 0 if the record does not say."""
    return int(json.loads((folder / RECORD).read_text(encoding="utf-8")).get("cameras", 0))


def map50(folder: Path) -> float:
    """The mean of AP50 over the classes with true boxes, 0..1, of a carried result."""
    with (folder / METRICS).open(encoding="utf-8", newline="") as file:
        found = [float(row["ap50"]) for row in csv.DictReader(file) if row["ap50"]]
    known = [ap for ap in found if not math.isnan(ap)]
    return sum(known) / len(known) if known else 0.0
