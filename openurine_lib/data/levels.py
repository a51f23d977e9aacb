"""From counts to the five levels of Table 8: the cut-offs, and the area of the high-power field that they are for.

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

LEVELS = (
    "none",
    "rare",
    "few",
    "moderate",
    "many",
)  # the five-level scale of the paper's clinical validation
CUTOFFS = Path(str(CONFIG / "cutoffs.yaml"))


class BadCutoffs(ValueError):
    """A cut-off file that cannot be used."""


def read_cutoffs(path: Path = CUTOFFS) -> dict[str, list[float]]:
    """Component -> its four rising cut-offs (mean count per HPF). Raises BadCutoffs naming file and component."""
    entries = _entry(path, "components", "a mapping component -> [rare, few, moderate, many]")
    for component, cuts in entries.items():
        if (
            not isinstance(cuts, list)
            or not all(map(_is_number, cuts))
            or len(cuts) != len(LEVELS) - 1
        ):
            raise BadCutoffs(
                f"{path}: {component}: needs four numbers [rare, few, moderate, many], has {cuts!r}"
            )
        if not all(a < b for a, b in zip([0, *cuts], cuts, strict=False)):
            raise BadCutoffs(
                f"{path}: {component}: cut-offs must be above 0 and rise, has {cuts!r}"
            )
    return {str(component): [float(c) for c in cuts] for component, cuts in entries.items()}


def hpf_um2(path: Path = CUTOFFS) -> float:
    """Area of a high-power field in square micrometres: a circle of diameter field number / objective.

    Raises BadCutoffs naming the file.
    """
    entry = _entry(path, "hpf", "objective (e.g. 40) and field_number_mm (e.g. 20)")
    sizes: list[Any] = [entry.get("objective"), entry.get("field_number_mm")]
    if not all(_is_number(s) and 0 < s < math.inf for s in sizes):
        raise BadCutoffs(
            f"{path}: hpf: needs objective and field_number_mm, numbers above 0, has {entry!r}"
        )
    objective, field_number = sizes
    return math.pi / 4 * (1000 * field_number / objective) ** 2


def sources(path: Path = CUTOFFS) -> str:
    """What the file says about where its cut-offs and its field come from."""
    said = _read(path)
    return f"{said.get('source', 'not given')} High-power field: {said.get('hpf', {}).get('source', 'not given')}"


def table(cutoffs: dict[str, list[float]], components: Sequence[str]) -> pd.DataFrame:
    """The cut-offs of some components, for reading: a row a component, a column a level."""
    columns = [f"{level} from" for level in LEVELS[1:]]
    return pd.DataFrame([cutoffs[c] for c in components], index=list(components), columns=columns)


def levels(means: pd.DataFrame, cutoffs: dict[str, list[float]]) -> pd.DataFrame:
    """[group, component, level, count] from mean counts (a row a group, a column a component).

    ``level``, 0-4, is the number of cut-offs that the mean reached. Raises BadCutoffs for a component without cut-offs.
    """
    absent = [c for c in means if c not in cutoffs]
    if absent:
        raise BadCutoffs(
            f"no cut-offs for {', '.join(map(repr, absent))}; add them to {CUTOFFS.name}"
        )
    long = (
        means.rename_axis("group")
        .reset_index()
        .melt("group", var_name="component", value_name="count")
    )
    return long.assign(level=level_of(long, "count", cutoffs))[
        ["group", "component", "level", "count"]
    ]


def level_of(frame: pd.DataFrame, column: str, cutoffs: dict[str, list[float]]) -> np.ndarray:
    """Levels (N,) of the counts in a column, by the cut-offs of each row's ``component``."""
    cuts = np.array([cutoffs[c] for c in frame["component"]], float).reshape(
        -1, len(LEVELS) - 1
    )  # (N, 4)
    return (frame[column].to_numpy(float)[:, None] >= cuts).sum(axis=1)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadCutoffs(
            f"{path}: needs `components:` and `hpf:`; it is not YAML: {error}"
        ) from error


def _entry(path: Path, key: str, what: str) -> dict[str, Any]:
    content = _read(path)
    entry = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entry, dict):
        raise BadCutoffs(f"{path}: needs `{key}:`, {what}")
    return entry


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
