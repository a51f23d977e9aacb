"""What each part of the paper's method adds, in one sentence a part, with an interval.

A part is judged by two rows of Table 4 that differ in it alone. Both had as many passes over the
fields; what a part costs on top (heads, a pretraining) stands beside, in minutes of training
where one device trained both. Slices cost no training. For pretraining and six heads there is a
second comparison, in which the plain detector had their minutes as well.

The interval is of the patients or slides that were drawn. What another training would give is not
in it, and that may be more: one row, trained twice on one fold, differed by 8 points of mAP50 (see
docs/measured.md). So two trainings decide something only if every fold says the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from openurine_lib.experiments.intervals import Intervals
from openurine_lib.experiments.methods import OURS, method, predict_key, train_key
from openurine_lib.experiments.run import Run
from openurine_lib.experiments.steps import trained

#: part -> the row without it, the row with it
PARTS = {
    "slices": ("yolo12m", "yolo12m-sahi"),
    "self-supervised pretraining": ("yolo12m-sahi", "yolo12m-sahi-ssl"),
    "six heads": ("yolo12m-sahi", "yolo12m-sahi-multi"),
    "pretraining and six heads together": ("yolo12m-sahi", OURS),
    "pretraining and six heads together, at equal computing": ("yolo12m-sahi-longer", OURS),
    "all three together": ("yolo12m", OURS),
    "finds at a cut left out": (OURS, "ours-uncut"),
    "drawn fields before real ones": ("yolo12m-sahi-multi", "recommended"),
    "drawn fields before real ones, one head": ("yolo12m-sahi-longer", "recommended-one-head"),
    "one pass at the slices' scale": ("recommended", "recommended-at-once"),
    "a second look at each field": ("recommended", "recommended-two-looks"),
}
HELPS, HURTS, UNDECIDED, NOT_RUN = "helps", "hurts", "undecided", "not run"
METRIC = "map50"
IN_WORDS = {HELPS: "a gain", HURTS: "a loss", UNDECIDED: "undecided"}


def table4_gains(intervals: Intervals, both: pd.DataFrame) -> pd.DataFrame:
    """Points of mAP50 that each of PARTS adds, in the paper and here.

    intervals: of the run; what they have resampled for another table is not resampled again.
    both: Table 4 with the columns method, map50_paper and map50_here (percent). Columns: part,
    without and with (methods), paper, here, low and high (of ``here``: 95 %, from resampling the
    groups of the common folds), by_fold (what each of them says, as a text), minutes_without and
    minutes_with (of training), verdict. A part whose two rows are one row in this run
    (``recommended`` and six heads, on drawn fields) is not run.
    """
    of = both.drop_duplicates("method").set_index("method")
    run, p = intervals.run, intervals.run.profile
    rows = []
    for part, (without, has) in PARTS.items():
        row: dict[str, Any] = {"part": part, "without": without, "with": has}
        row["paper"] = of.loc[has, f"{METRIC}_paper"] - of.loc[without, f"{METRIC}_paper"]
        rows_alike = predict_key(method(has), p) == predict_key(method(without), p)
        found = (math.nan,) * 3 if rows_alike else intervals.difference(has, without)
        row |= dict(zip(("here", "low", "high"), found, strict=True))
        folds = [] if rows_alike else intervals.difference_by_fold(has, without)
        row["by_fold"] = ", ".join(f"{round(points, 1) + 0:+.1f}" for points in folds)
        minutes = _minutes(run, without, has)
        row |= dict(zip(("minutes_without", "minutes_with"), minutes, strict=True))
        one_training = train_key(method(has), p) == train_key(method(without), p)
        row["verdict"] = verdict(*found, () if one_training else folds)
        rows.append(row)
    return pd.DataFrame(rows)


def verdict(here: float, low: float, high: float, by_fold: Sequence[float] = ()) -> str:
    """HELPS or HURTS if the interval is on one side of 0, else UNDECIDED; NOT_RUN without a value.

    NaN stands for a number that there is not. by_fold: the differences of two trainings on each
    fold; UNDECIDED if they are not all on the side of ``here``.
    """
    if math.isnan(here):
        return NOT_RUN
    if not all(points * here > 0 for points in by_fold):
        return UNDECIDED
    if low > 0:
        return HELPS
    return HURTS if high < 0 else UNDECIDED


def sentences(gains: pd.DataFrame) -> Iterator[str]:
    """One sentence a part, from ``table4_gains`` (also as it is read back from a file)."""
    for row in gains.itertuples():
        name = str(row.part).capitalize()
        asked = not math.isnan(row.paper)
        paper = f"in the paper {row.paper:+.1f}" if asked else "not in the paper"
        if row.verdict == NOT_RUN:
            yield f"{name}: not run here ({paper}{' points of mAP50' * asked})."
            continue
        ends = "no interval" if math.isnan(row.low) else f"[{row.low:+.1f}, {row.high:+.1f}]"
        folds = f" (by fold {row.by_fold})" if "," in str(row.by_fold) else ""
        what = IN_WORDS[str(row.verdict)]
        yield f"{name}: {row.here:+.1f} points of mAP50 here {ends}{folds}, {what}; {paper}."


def _minutes(run: Run, *names: str) -> list[float]:
    """Of each method's training on the first fold, with the pretraining that it started from.

    NaN if one is not on record, and all NaN if they ran on different devices: an hour of a
    processor is another cost than an hour of a GPU.
    """
    minutes, devices = [], set()
    for name in names:
        m = method(name)
        record = trained(run, m, run.profile.folds[0])
        parts = [record, record.get("pretraining", {})] if m.ssl else [record]
        minutes.append(sum(float(part.get("minutes", math.nan)) for part in parts))
        devices |= {str(part["device"]) for part in parts if "device" in part}
    return minutes if len(devices) <= 1 else [math.nan] * len(names)
