"""What was reproduced, beside what the paper printed: paper | here | difference for each metric."""

from __future__ import annotations

import pandas as pd

from openurine_lib.experiments.formatting import SPREAD

REASON = "reason"  # why a published row has no number here
NOT_RUN = "not in this run"


def beside(published: pd.DataFrame, reproduced: pd.DataFrame, on: str = "row") -> pd.DataFrame:
    """Joins a published table and its reproduction by their labels, published rows first and in the paper's order.

    Every numeric column that both have, say ``map50``, becomes ``map50_paper``, ``map50_here`` and
    ``map50_difference`` (here - paper, in the metric's unit); ``map50_std``, where either has it, becomes
    ``map50_paper_std`` and ``map50_here_std``, and so do ``map50_low`` and ``map50_high``, the ends of an interval.
    Other columns of either are kept (the paper's, where both have one).

    No row is dropped: a published row that was not run keeps its numbers, with a blank here and the ``reason`` that
    ``reproduced`` gives in a column of that name (NOT_RUN if it says nothing); a row that the paper does not have
    comes last, with a blank for the paper. Several reproduced rows may answer one published row.

    Raises ValueError if a label column is missing, if published labels repeat, or if no metric is shared.
    """
    _check_labels(published, reproduced, on)
    shared = [c for c in published.columns if c in reproduced.columns and c not in (on, REASON)]
    numeric = [c for c in shared if _is_numeric(published[c]) or _is_numeric(reproduced[c])]
    metrics = [c for c in numeric if not c.endswith(SPREAD)]
    if not metrics:
        raise ValueError(
            f"no metric in both: published has {list(published)}, reproduced has {list(reproduced)}"
        )
    spread = [f"{m}{end}" for m in metrics for end in SPREAD]

    paper = published.rename(columns=_suffixed(metrics, "paper"))
    here = reproduced.drop(columns=[c for c in shared if c not in numeric]).rename(
        columns=_suffixed(metrics, "here")
    )
    position = {label: i for i, label in enumerate(published[on])}
    joined = paper.merge(here, on=on, how="outer", indicator=True, sort=False)
    joined = joined.sort_values(
        on, key=lambda labels: labels.map(position), kind="stable", ignore_index=True
    )

    for m in metrics:
        numbers = [
            pd.to_numeric(joined[f"{m}_{side}"], errors="coerce") for side in ("here", "paper")
        ]
        joined[f"{m}_difference"] = numbers[0] - numbers[1]
    blank = joined[[f"{m}_here" for m in metrics]].isna().all(axis=1)
    said = (
        joined[REASON] if REASON in joined else pd.Series(pd.NA, index=joined.index, dtype="object")
    )
    joined[REASON] = said.fillna("").mask(blank & said.fillna("").eq(""), NOT_RUN)

    ends = [f"{side}{end}" for side in ("paper", "here") for end in ("", *SPREAD)]
    parts = [f"{m}_{part}" for m in metrics for part in (*ends, "difference")]
    others = [c for c in joined if c not in (on, REASON, "_merge", *parts, *spread)]
    return joined[[on, *others, *(p for p in parts if p in joined), REASON]]


def _suffixed(metrics: list[str], side: str) -> dict[str, str]:
    return {f"{m}{end}": f"{m}_{side}{end}" for m in metrics for end in ("", *SPREAD)}


def _is_numeric(column: pd.Series) -> bool:
    """Numbers, or numbers among words (Table 3 has one word in its column of values)."""
    return bool(pd.to_numeric(column, errors="coerce").notna().any())


def _check_labels(published: pd.DataFrame, reproduced: pd.DataFrame, on: str) -> None:
    for name, frame in (("published", published), ("reproduced", reproduced)):
        if on not in frame:
            raise ValueError(f"the {name} table has no column {on!r}, only {list(frame)}")
    repeated = published.loc[published[on].duplicated(), on].tolist()
    if repeated:
        raise ValueError(f"published labels repeat: {repeated}")
