"""What was reproduced, beside what the paper printed: paper | here | difference for each metric."""

from __future__ import annotations

import pandas as pd

from openurine_lib.experiments.formatting import SPREAD

REASON = "reason"  # why a published row has no number here
NOT_RUN = "not in this run"


def beside(published: pd.DataFrame, reproduced: pd.DataFrame, on: str = "row") -> pd.DataFrame:
    """Joins a published table and its reproduction by the labels in the column ``on``.

    Every numeric column that both have, say ``map50``, becomes ``map50_paper``, ``map50_here`` and
    ``map50_difference`` (here - paper, in the metric's unit). Where either has ``map50_std``,
    ``map50_low`` or ``map50_high``, they become ``map50_paper_std``, ``map50_here_std`` and so on.
    Other columns of either are kept (the paper's, where both have one).

    Published rows come first, in the paper's order, and no row is dropped. A published row that was
    not run keeps its numbers, with a blank here and the ``reason`` that ``reproduced`` gives in a
    column of that name (else NOT_RUN). A row that the paper does not have comes last, with a blank
    for the paper. Several reproduced rows may answer one published row.

    Raises ValueError where a label column is missing, published labels repeat, or no metric is
    shared.
    """
    _check_labels(published, reproduced, on)
    shared = [c for c in published if c in reproduced and c not in (on, REASON)]
    numeric = [c for c in shared if _has_numbers(published[c]) or _has_numbers(reproduced[c])]
    metrics = [c for c in numeric if not c.endswith(SPREAD)]
    if not metrics:
        raise ValueError(
            f"no metric in both: published has {list(published)}, reproduced has {list(reproduced)}"
        )
    paper = published.rename(columns=_sided(metrics, "paper"))  # map50 -> map50_paper
    words = [c for c in shared if c not in numeric]  # of these the paper's stay
    here = reproduced.drop(columns=words).rename(columns=_sided(metrics, "here"))
    # the paper's order; rows that the paper does not have come last, in their own
    labels = dict.fromkeys([*published[on], *reproduced[on]])
    position = {label: i for i, label in enumerate(labels)}
    joined = paper.merge(here, on=on, how="outer", sort=False)  # outer: rows of either side stay
    joined = joined.sort_values(on, key=lambda c: c.map(position), kind="stable", ignore_index=True)
    for m in metrics:
        # coerce: words among the numbers (Table 3) have no difference
        numbers = joined[[f"{m}_here", f"{m}_paper"]].apply(pd.to_numeric, errors="coerce")
        joined[f"{m}_difference"] = numbers[f"{m}_here"] - numbers[f"{m}_paper"]
    blank = joined[[f"{m}_here" for m in metrics]].isna().all(axis=1)
    reason = joined[REASON].fillna("") if REASON in joined else pd.Series("", index=joined.index)
    joined[REASON] = reason.mask(blank & reason.eq(""), NOT_RUN)

    ends = [f"{side}{end}" for side in ("paper", "here") for end in ("", *SPREAD)]
    parts = [f"{m}_{part}" for m in metrics for part in (*ends, "difference")]
    others = [c for c in joined if c not in (on, REASON, *parts)]
    return joined[[on, *others, *(p for p in parts if p in joined), REASON]]


def _sided(metrics: list[str], side: str) -> dict[str, str]:
    """New names of a table's columns: ``map50`` -> ``map50_here``, ``map50_std`` -> ..."""
    return {f"{m}{end}": f"{m}_{side}{end}" for m in metrics for end in ("", *SPREAD)}


def _has_numbers(column: pd.Series) -> bool:
    """True also for numbers among words (Table 3 has one word in its column of values)."""
    return bool(pd.to_numeric(column, errors="coerce").notna().any())


def _check_labels(published: pd.DataFrame, reproduced: pd.DataFrame, on: str) -> None:
    for name, frame in (("published", published), ("reproduced", reproduced)):
        if on not in frame:
            raise ValueError(f"the {name} table has no column {on!r}, only {list(frame)}")
    repeated = published.loc[published[on].duplicated(), on].tolist()
    if repeated:
        raise ValueError(f"published labels repeat: {repeated}")
