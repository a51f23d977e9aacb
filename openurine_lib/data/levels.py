"""From counts to the five levels of Table 8: the cut-offs, and the field that they are for.

Both are data (``config/cutoffs.yaml``), since the paper gives neither and laboratories differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from openurine_lib.config import CONFIG

LEVELS = ("none", "rare", "few", "moderate", "many")  # the scale of the clinical validation
CUTOFFS = Path(str(CONFIG / "cutoffs.yaml"))


class BadCutoffs(ValueError):
    """A cut-off file that cannot be used; the message names the file and what is wrong in it."""


def read_cutoffs(path: Path = CUTOFFS) -> dict[str, list[float]]:
    """Component -> its four rising cut-offs (mean count per HPF). Raises BadCutoffs."""
    entries = _entry(path, "components", "a mapping component -> [rare, few, moderate, many]")
    for component, cuts in entries.items():
        numbers = cuts if isinstance(cuts, list) and all(map(_is_number, cuts)) else []
        if len(numbers) != len(LEVELS) - 1:
            what = "needs four numbers [rare, few, moderate, many]"
        # [0, ...]: the first is above 0
        elif not all(a < b for a, b in zip([0, *numbers], numbers, strict=False)):
            what = "cut-offs must be above 0 and rise"
        else:
            continue
        raise BadCutoffs(f"{path}: {component}: {what}, has {cuts!r}")
    return {str(component): [float(c) for c in cuts] for component, cuts in entries.items()}


def hpf_um2(path: Path = CUTOFFS) -> float:
    """Area of a high-power field, um2: a circle of diameter field number / objective.

    Raises BadCutoffs.
    """
    entry = _entry(path, "hpf", "objective (e.g. 40) and field_number_mm (e.g. 20)")
    objective: Any = entry.get("objective")
    field_number: Any = entry.get("field_number_mm")
    if not all(_is_number(n) and 0 < n < math.inf for n in (objective, field_number)):
        what = f"needs objective and field_number_mm, numbers above 0, has {entry!r}"
        raise BadCutoffs(f"{path}: hpf: {what}")
    # mm -> um; the part of the slide that one sees through the objective
    return math.pi / 4 * (1000 * field_number / objective) ** 2


def sources(path: Path = CUTOFFS) -> str:
    """What the file says about where its cut-offs and its field come from."""
    content = _read(path)
    field = content.get("hpf", {}).get("source", "not given")
    return f"{content.get('source', 'not given')} High-power field: {field}"


def cutoff_table(cutoffs: dict[str, list[float]], components: Sequence[str]) -> pd.DataFrame:
    """The cut-offs of some components, for reading: a row a component, a column a level."""
    columns = [f"{level} from" for level in LEVELS[1:]]
    return pd.DataFrame([cutoffs[c] for c in components], index=list(components), columns=columns)


def levels(means: pd.DataFrame, cutoffs: dict[str, list[float]]) -> pd.DataFrame:
    """[group, component, level, count] from mean counts (a row a group, a column a component).

    ``level``, 0-4, is the number of cut-offs that the mean reached. Raises BadCutoffs for a
    component without cut-offs.
    """
    absent = ", ".join(repr(c) for c in means if c not in cutoffs)
    if absent:
        raise BadCutoffs(f"no cut-offs for {absent}; add them to {CUTOFFS.name}")
    by_group = means.rename_axis("group").reset_index()
    long = by_group.melt("group", var_name="component", value_name="count")
    long.insert(2, "level", level_of(long, "count", cutoffs))
    return long


def level_of(frame: pd.DataFrame, column: str, cutoffs: dict[str, list[float]]) -> np.ndarray:
    """Levels (N,) of the counts in a column, by the cut-offs of each row's ``component``."""
    cuts = np.array([cutoffs[c] for c in frame["component"]], float)
    cuts = cuts.reshape(-1, len(LEVELS) - 1)  # (N, 4), also for no rows
    return (frame[column].to_numpy(float)[:, None] >= cuts).sum(axis=1)  # (N, 1) >= (N, 4)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        needs = "needs `components:` and `hpf:`; it is not YAML"
        raise BadCutoffs(f"{path}: {needs}: {error}") from error


def _entry(path: Path, key: str, what: str) -> dict[str, Any]:
    content = _read(path)
    entry = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entry, dict):
        raise BadCutoffs(f"{path}: needs `{key}:`, {what}")
    return entry


def _is_number(value: Any) -> bool:
    # True is an int in Python
    return isinstance(value, int | float) and not isinstance(value, bool)
